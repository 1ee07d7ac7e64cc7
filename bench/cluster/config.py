"""What ``--scheduler`` and ``--cluster`` ask for, checked before anything is loaded or computed."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from radiographs.text import read_toml

from bench.errors import UserError

_ADDRESS = re.compile(r"^(tcp|tls|ws|wss)://[^\s/]+:\d+$")
_LOCAL = re.compile(r"^local(?::(\d+))?$")


class ClusterLostError(Exception):
    """The scheduler is gone, or its jobs end too soon; the message says which. Finished cells are in the run folder."""


class Queue(BaseModel):
    """Jobs of a batch system, each of which is a worker. Other keys are passed to the dask-jobqueue class unchanged."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: Literal["slurm", "pbs", "lsf", "sge", "htcondor"]
    jobs: int = Field(ge=1)
    cores: int = Field(ge=1)
    memory: str = Field(pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")
    walltime: str | None = None
    queue: str | None = None
    interface: str | None = None  # of the network on which jobs reach the scheduler
    gpus: Literal[0, 1] = 0

    @property
    def is_alone(self) -> bool:
        """Whether the scheduler can only be reached from its own machine: the file names no network."""
        options = self.extra.get("scheduler_options") or {}
        return self.interface is None and not {"host", "interface"} & {*options}

    @property
    def extra(self) -> dict[str, Any]:
        """Keys passed on to dask-jobqueue."""
        return dict(self.model_extra or {})


@dataclass(frozen=True)
class Plan:
    """Where cells are computed: by a scheduler that runs already, by processes of this machine, or by jobs of a batch system."""

    address: str | None = None
    local: int = 0
    queue: Queue | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages required."""
        return ("distributed", "dask_jobqueue") if self.queue else ("distributed",)


def parse_plan(scheduler: str | None, cluster: str | None, *, jobs: int, cores: int) -> Plan | None:
    """Return where cells are computed; None for here.

    Parameters
    ----------
    scheduler, cluster : str or None
        Values of the options, None if not given.
    jobs : int
        Value of ``--jobs``.
    cores : int
        Of this machine: ``--cluster local`` gives two to a worker.

    Returns
    -------
    Plan or None

    Raises
    ------
    UserError
        If they are invalid; the line names option, file or key.
    """
    if scheduler is None and cluster is None:
        return None
    if scheduler is not None and cluster is not None:
        raise UserError("--scheduler and --cluster: give one of them")
    if jobs > 1:
        raise UserError(f"--jobs {jobs}: on a cluster each worker computes one cell at a time: leave out --jobs")
    plan = _scheduler(scheduler) if scheduler is not None else _cluster(str(cluster), cores)
    for package in plan.packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--scheduler, --cluster: {package} is not installed: pip install 'xraybench[cluster]'")
    return plan


def _scheduler(address: str) -> Plan:
    if not _ADDRESS.match(address):
        raise UserError(
            f"--scheduler {address}: is not an address: give one such as tcp://HOST:8786 or tls://HOST:8786"
        )
    return Plan(address=address)


def _cluster(text: str, cores: int) -> Plan:
    if found := _LOCAL.match(text):
        workers = int(found[1]) if found[1] else max(1, cores // 2)
        if not 1 <= workers <= cores:
            raise UserError(f"--cluster {text}: this machine has {cores} cores: give 1 to {cores} workers")
        return Plan(local=workers)
    if not text.endswith(".toml"):
        raise UserError(f"--cluster {text}: give local, local:N, or a .toml file")
    return Plan(queue=read_queue(Path(text)))


def read_queue(path: Path) -> Queue:
    """Read a file that describes the jobs of a batch system.

    Raises
    ------
    UserError
        If there is no such file, it is not TOML, or a key is missing or wrong.
    """
    try:
        return Queue.model_validate(read_toml(path))
    except OSError as error:
        raise UserError(f"--cluster {path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {key}: {first['msg']}; the keys are described in docs/cluster.md") from None
