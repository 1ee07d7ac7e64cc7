"""What runs on a worker: it finds or is sent what cells need, computes them one after another, and gives everything back in memory.

A worker writes only to the folder that Dask removes with it: images that were lent to a machine do not stay there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pkgutil
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import get_worker
from radiographs.disk import sha256

from bench import environment
from bench.cells.encodings import Encoding, Encodings
from bench.cells.runner import CellResult, Runner
from bench.cluster.tasks import Absent, Content, Ticket, part_name
from bench.data.dataset import Data
from bench.errors import UserError
from bench.executors.processes import using_threads
from bench.recipes.build import Resources
from bench.recipes.suite import ModelSpec, Part
from bench.store.run_folder import ModelNotSavedError, save_into


class NotHiredError(Exception):
    """A worker that knows nothing of the run: it was started anew under the address of one that died."""


@dataclass(frozen=True)
class Job:
    """What all cells of a run share."""

    data: Data  # with `images` left out
    shape: tuple[int, ...]  # of the images
    digest: str
    resources: Resources
    seed: int
    models: dict[str, ModelSpec]
    modules: dict[str, str]  # a user's own code that stands beside the suite: file name and text


@dataclass(frozen=True)
class Hired:
    """What a worker says of itself."""

    threads: int
    gpu: bool
    processor: str


@dataclass(frozen=True)
class Returned:
    """A cell's result, with the files of its model."""

    record: dict[str, Any]
    predictions: pd.DataFrame | None
    files: dict[str, bytes] | None


@dataclass
class _Desk:
    """What a worker holds of one run."""

    job: Job
    folder: Path
    threads: int
    places: dict[str, Path]  # of verified files, by SHA-256


_desks: dict[str, _Desk] = {}
_one_at_a_time = threading.Lock()  # whatever number of threads Dask gave the worker: a cell uses them all


async def hire(run: str, job: Job, dask_worker: Any) -> Hired:
    """Make ready for the cells of a run."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder = Path(dask_worker.local_directory) / f"xraybench-{run}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # pixels of patients are sent there
    (folder / "modules").mkdir(exist_ok=True)
    for name, text in job.modules.items():
        (folder / "modules" / name).write_text(text, encoding="utf-8")
    if job.modules:
        sys.path.append(str(folder / "modules"))
    threads = dask_worker.state.nthreads
    _desks[run] = _Desk(job, folder, threads, {})
    gpu = dask_worker.state.total_resources.get("GPU", 0) > 0
    name = environment.gpu() if gpu else None
    return Hired(threads, gpu, " and ".join([environment.processor(), *([name] if name else [])]))


async def lacks(run: str, contents: list[Content]) -> list[Content]:
    """Return the files that are neither at their place, nor in the cache of this machine, nor were sent before."""
    desk = _desk(run)
    return [each for each in contents if not await asyncio.to_thread(_found, desk, each)]


async def put(run: str, content: Content, offset: int, piece: bytes) -> None:
    """Take a piece of a file; the last one makes it whole.

    Raises
    ------
    ValueError
        If the whole has another SHA-256.
    """
    desk = _desk(run)
    part = desk.folder / f"{content.sha256}.part"
    with part.open("r+b" if offset else "wb") as stream:
        stream.seek(offset)
        stream.write(piece)
    if offset + len(piece) == content.size:
        if await asyncio.to_thread(sha256, part) != content.sha256:
            raise ValueError(f"{content.path}: arrived damaged")
        part.rename(part.with_suffix(""))


def leave(run: str) -> None:
    """Forget a run and remove what was sent for it."""
    desk = _desks.pop(run, None)
    if desk:
        shutil.rmtree(desk.folder, ignore_errors=True)


async def end() -> None:
    """End the process: nothing else stops a cell that takes too long. A nanny starts another."""
    os._exit(1)


def compute(run: str, ticket: Ticket, where: str, workers: int) -> Returned:
    """Compute one cell.

    Parameters
    ----------
    where
        Such as ``worker 2 of 8``, for the record.
    workers
        Cells that are computed at the same time.
    """
    worker, desk = get_worker(), _desk(run)
    cell, job = ticket.cell, desk.job

    def say(kind: str, **facts: float) -> None:
        worker.log_event(f"xraybench-{run}", {"cell": cell.name, "kind": kind, "facts": facts})

    with _one_at_a_time:
        spec = job.models[cell.model]
        _load(spec)
        with using_threads(desk.threads):
            runner = _runner(desk, ticket, workers, lambda record: say("epoch", **_plain(record)))
            say("begun")
            computed = runner.fitted()
            if computed is None:
                say("begun")  # a time limit holds for the fit and for the prediction
                computed = runner.predicted()
            returned = _returned(computed)
    said = f"computed on {where} ({environment.processor()}, threads: {desk.threads}): its times are that machine's"
    returned.record["warnings"] = [*returned.record["warnings"], said]
    return returned


def _runner(desk: _Desk, ticket: Ticket, workers: int, on_epoch: Callable[[dict[str, float]], None]) -> Runner:
    job = desk.job
    resources = replace(job.resources, threads=desk.threads, on_epoch=on_epoch)
    if ticket.weights:
        resources = replace(resources, weights_dir=_weights_folder(desk, ticket))
    images: Any = Absent(job.shape)
    if ticket.pixels:
        images = np.memmap(_place(desk, ticket.pixels), np.uint8, "r", 0, job.shape)
    encodings = _Lent(images, desk, ticket, resources)
    spec, data = job.models[ticket.cell.model], replace(job.data, images=images)
    return Runner(ticket.cell, spec, data, encodings, resources, job.seed, jobs=workers)


class _Lent(Encodings):
    """Encodings that were made elsewhere: it computes none."""

    def __init__(self, images: Any, desk: _Desk, ticket: Ticket, resources: Resources) -> None:
        super().__init__(images, desk.job.digest, desk.folder, resources)
        self.ticket = ticket
        self.made = {
            key: Encoding(self._values(desk, known.content, known.shape), known.seconds, known.n_parameters)
            for key, known in ticket.known.items()
        }

    def key(self, part: Part, *, mirrored: bool = False) -> str:
        """Content key, as the process that made the encoding knows it."""
        return self.ticket.keys[part_name(part, mirrored=mirrored)]

    def get(self, part: Part, *, mirrored: bool = False) -> Encoding:
        """Encoding of all images, or of their mirror images."""
        return self.made[self.key(part, mirrored=mirrored)]

    def distances(self, part: Part, *, mirror: bool, landmarks: np.ndarray | None = None) -> Encoding:
        """Squared distances between all images, or to landmarks."""
        return self.made[self._distances_key(part, mirror=mirror, landmarks=landmarks)]

    @staticmethod
    def _values(desk: _Desk, content: Content | None, shape: tuple[int, ...]) -> Any:
        if content is None:
            return Absent(shape)
        return np.load(_place(desk, content), mmap_mode="r", allow_pickle=False)


def _returned(computed: CellResult) -> Returned:
    """The result with its model's files in memory; a model that cannot be saved is a failed cell."""
    if computed.save is None:
        return Returned(computed.record, computed.predictions, None)
    with tempfile.TemporaryDirectory(prefix="xraybench-") as name:
        folder = Path(name)
        try:
            save_into(computed.save, folder)
        except ModelNotSavedError as error:
            return Returned(computed.failed(str(error)).record, None, None)
        files = {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    return Returned(computed.record, computed.predictions, files)


def _desk(run: str) -> _Desk:
    if run not in _desks:
        raise NotHiredError(run)
    return _desks[run]


def _found(desk: _Desk, content: Content) -> bool:
    """Whether a file is here; one that is not in our own folder is read once to see that it is the one."""
    if content.sha256 in desk.places:
        return True
    own = desk.folder / content.sha256
    if own.exists():  # verified when it arrived
        desk.places[content.sha256] = own
        return True
    for place in _candidates(content):
        with suppress(OSError):
            if place.stat().st_size == content.size and sha256(place) == content.sha256:
                desk.places[content.sha256] = place
                return True
    return False


def _candidates(content: Content) -> list[Path]:
    places = [Path(content.path)]
    if content.in_cache:
        with suppress(UserError):  # a machine without a cache
            places.append(environment.cache_folder() / content.in_cache)
    return places


def _place(desk: _Desk, content: Content) -> Path:
    if not _found(desk, content):
        raise NotHiredError(content.sha256)
    return desk.places[content.sha256]


def _weights_folder(desk: _Desk, ticket: Ticket) -> Path:
    """A folder that holds this cell's weights under the name by which they are looked for."""
    mark = hashlib.sha256("".join(f"{k}{c.sha256}" for k, c in ticket.weights.items()).encode()).hexdigest()
    folder = desk.folder / "weights" / mark
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ticket.weights.items():
        if not (folder / name).exists():
            (folder / name).symlink_to(_place(desk, content))
    return folder


def _load(spec: ModelSpec) -> None:
    """Import what the cell needs before its threads are limited: a limit holds for libraries that are there."""
    for part in (*spec.encoders, spec.head):
        with suppress(Exception):  # the cell meets the same error and makes a record of it
            pkgutil.resolve_name(part.class_)


def _plain(record: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in record.items() if isinstance(value, int | float | np.number)}
