"""From a plan to a client of Dask distributed, and the shutdown of whatever was started for it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dask import config as dask_config
from distributed import Client, Nanny, Scheduler, SpecCluster

from bench.cluster.client import run_everywhere
from bench.cluster.config import Plan, Queue
from bench.cluster.jobs import submit
from bench.errors import UserError, one_line
from bench.executors.interrupts import handlers_kept, unheard

_ANSWER = 15  # seconds in which a scheduler must answer
_HERE = "127.0.0.1"
_NO_PAGE = {"dashboard": False, "dashboard_address": f"{_HERE}:0"}  # Dask listens there anyway
# Memory is the models' own and the data is mapped from files: Dask can spill none of it, and a worker that it paused would never resume.
_NO_LIMITS = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause", "terminate")}
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # deaths are counted here, by cell
    "distributed.comm.timeouts.connect": f"{_ANSWER}s",
    "distributed.deploy.lost-worker-timeout": "60s",  # a worker that died needs a while to come back
    **_NO_LIMITS,
}


@contextmanager
def connected(plan: Plan, *, threads: int, gpu: bool) -> Iterator[Client]:
    """Give a client; a cluster made for it is shut down with it.

    Parameters
    ----------
    plan : Plan
    threads : int
        Cores of this machine, which the workers of ``local:N`` divide.
    gpu : bool
        Whether this machine has a GPU: then the first of these workers has it.

    Raises
    ------
    UserError
        If no scheduler answers, or the batch system's class rejects the file's settings.
    """
    with ExitStack() as stack:
        stack.enter_context(dask_config.set(_SETTINGS))
        stack.enter_context(_quiet())
        place: Any = plan.address
        if plan.address:
            check_reachable(plan.address)
        if plan.local:
            place = stack.enter_context(_local(plan.local, threads, gpu=gpu))
        elif plan.queue:
            place = stack.enter_context(_batch(plan.queue))
        try:
            client = Client(place, timeout=_ANSWER, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise _no_answer(plan.address, error) from None
        stack.callback(client.close, timeout=2)
        yield client


def check_reachable(address: str) -> None:
    """Fail at once if no scheduler is running; Dask would retry for a long time.

    Raises
    ------
    UserError
        If nothing listens at the address.
    """
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
    except OSError as error:
        raise _no_answer(address, error) from None


def _no_answer(address: str | None, error: Exception) -> UserError:
    return UserError(
        f"--scheduler {address}: no scheduler answers ({_reason(error)}): start one there with: dask scheduler"
    )


def declares_gpu(plan: Plan, *, threads: int, gpu: bool) -> bool:
    """Whether cells will find a GPU; a running scheduler is asked for the resources of its workers."""
    if plan.local:
        return gpu
    if plan.queue:
        return plan.queue.gpus > 0
    with connected(plan, threads=threads, gpu=gpu) as client:
        return any(run_everywhere(client, _has_gpu))


def _has_gpu(dask_worker: Any) -> bool:
    return dask_worker.state.total_resources.get("GPU", 0) > 0


def _local(workers: int, threads: int, *, gpu: bool) -> SpecCluster:
    share = max(1, threads // workers)
    options = {"nthreads": share, "host": _HERE, "memory_limit": 0, **_NO_PAGE}
    options |= {"silence_logs": logging.CRITICAL, "env": _environment(share)}
    first = {"resources": {"GPU": 1}} if gpu else {}
    specs = {k: {"cls": Nanny, "options": {**options, **(first if k == 0 else {})}} for k in range(workers)}
    scheduler = {"cls": Scheduler, "options": {"host": _HERE, "port": 0, **_NO_PAGE}}
    try:
        with unheard():
            level: Any = logging.CRITICAL  # Dask expects a level although its default is False
            return SpecCluster(workers=specs, scheduler=scheduler, silence_logs=level, name="xraybench")
    except RuntimeError as error:  # killed before it could register
        raise UserError(
            f"--cluster local:{workers}: a worker could not be started ({_reason(error)}): run the same command again"
        ) from None


@contextmanager
def _batch(queue: Queue) -> Iterator[Any]:
    with handlers_kept():  # this package makes Ctrl-C a silent end with exit code 0
        import dask_jobqueue

    names = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF", "sge": "SGE", "htcondor": "HTCondor"}
    kind = getattr(dask_jobqueue, f"{names[queue.kind]}Cluster")
    try:
        with unheard():
            cluster = kind(**batch_options(queue), scheduler_options=scheduler_options(queue), silence_logs="critical")
    except (TypeError, ValueError, RuntimeError) as error:  # the last where no such network is found
        raise UserError(f"--cluster: {kind.__name__}: {_reason(error)}") from None
    with cluster:
        submit(cluster, queue.jobs)
        yield cluster


def scheduler_options(queue: Queue) -> dict[str, Any]:
    """Return where the scheduler of a batch system listens: on the network that the file names, else on this machine alone; without a page unless one is asked for."""
    given = dict(queue.extra.get("scheduler_options") or {})
    page = {} if "dashboard_address" in given else _NO_PAGE
    return {**page, **({"host": _HERE} if queue.is_alone else {}), **given}


def batch_options(queue: Queue) -> dict[str, Any]:
    """Return the arguments of the class of dask-jobqueue: one worker in a job, with all its cores; other keys of the file are added."""
    options: dict[str, Any] = {"cores": queue.cores, "memory": queue.memory, "processes": 1}
    given = {"walltime": queue.walltime, "queue": queue.queue, "interface": queue.interface}
    options |= {name: value for name, value in given.items() if value is not None}
    lines = [f"export {name}={value}" for name, value in _environment(queue.cores).items()]
    lines += [f"export DASK_{key.upper().replace('.', '__')}=False" for key in _NO_LIMITS]
    extra = {name: value for name, value in queue.extra.items() if name != "scheduler_options"}
    options["job_script_prologue"] = [*lines, *extra.pop("job_script_prologue", [])]
    options["worker_extra_args"] = ["--no-dashboard", "--dashboard-address", f"{_HERE}:0"]
    options["worker_extra_args"] += ["--host", _HERE] if queue.is_alone else []
    options["worker_extra_args"] += extra.pop("worker_extra_args", [])
    if queue.gpus:
        options["worker_extra_args"] += ["--resources", "GPU=1"]
        _ask_for_gpu(queue, options, extra)
    return options | extra


def _ask_for_gpu(queue: Queue, options: dict[str, Any], extra: dict[str, Any]) -> None:
    """Add the batch system's own words for a GPU; PBS has no line for it alone."""
    if queue.kind == "pbs":
        options["resource_spec"] = f"select=1:ncpus={queue.cores}:mem={queue.memory.replace(' ', '')}:ngpus=1"
    elif queue.kind == "htcondor":
        options["job_extra_directives"] = {"request_gpus": "1", **extra.pop("job_extra_directives", {})}
    else:
        words = {"slurm": "--gres=gpu:1", "lsf": '-gpu "num=1"', "sge": "-l gpu=1"}
        options["job_extra_directives"] = [words[queue.kind], *extra.pop("job_extra_directives", [])]


def _environment(threads: int) -> dict[str, str]:
    """Dask starts workers with one thread for BLAS and OpenMP; a cell has all threads of its worker."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**{name: str(threads) for name in names}, "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's own log: what matters is reported by this program."""
    logger = logging.getLogger("distributed")
    names = [n for n in logging.root.manager.loggerDict if n.startswith("distributed.")]
    loggers = [logger, *map(logging.getLogger, names)]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


def _reason(error: BaseException) -> str:
    return one_line(error, 200)
