"""What runs on a worker: it finds or receives the files that cells need, computes cells one after another, and returns everything in memory.

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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import get_worker
from radiographs.disk import sha256

from bench import environment
from bench.cells.encodings import Encoding, Encodings
from bench.cells.experiment import DetachedExperiment
from bench.cells.record import CellResult, Record
from bench.cells.runner import Runner
from bench.cells.threads import using_threads
from bench.cluster.tasks import FileRef, ShapeOnlyArray, Task, part_name
from bench.errors import UserError
from bench.recipes.build import Resources
from bench.recipes.suite import ModelSpec, Part
from bench.store.run_folder import ModelNotSavedError, save_into


class UnknownRunError(Exception):
    """A worker that does not know the run: it was restarted under the address of one that died."""


@dataclass(frozen=True)
class Setup:
    """What all cells of a run share; `modules` are a user's own, from beside the suite: file name and text."""

    experiment: DetachedExperiment
    modules: dict[str, str]


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker has."""

    threads: int
    gpu: bool


@dataclass(frozen=True)
class WorkerResult:
    """A cell's result, with the files of its model."""

    record: Record
    predictions: pd.DataFrame | None
    files: dict[str, bytes] | None


@dataclass
class _Run:
    """What a worker holds of one run."""

    setup: Setup
    folder: Path
    threads: int
    places: dict[str, Path] = field(default_factory=dict)  # of verified files, by SHA-256


_runs: dict[str, _Run] = {}
_one_at_a_time = threading.Lock()  # whatever number of threads Dask gave the worker: a cell uses them all


async def start_run(run: str, setup: Setup, dask_worker: Any) -> WorkerInfo:
    """Prepare for the cells of a run."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder = Path(dask_worker.local_directory) / f"xraybench-{run}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # pixels of patients are sent there
    modules = folder / "modules"
    modules.mkdir(exist_ok=True)
    for name, text in setup.modules.items():
        (modules / name).write_text(text, encoding="utf-8")
    if setup.modules:
        sys.path.append(str(modules))
    threads = dask_worker.state.nthreads
    _runs[run] = _Run(setup, folder, threads)
    return WorkerInfo(threads, dask_worker.state.total_resources.get("GPU", 0) > 0)


async def missing_files(run: str, files: list[FileRef]) -> list[FileRef]:
    """Return the files that are neither at their place, nor in the cache of this machine, nor were sent before."""
    state = _state(run)
    return [file for file in files if not await asyncio.to_thread(_is_here, state, file)]


async def receive_chunk(run: str, file: FileRef, offset: int, chunk: bytes) -> None:
    """Write a chunk of a file; the last one makes it whole.

    Raises
    ------
    ValueError
        If the whole has another SHA-256.
    """
    part = _state(run).folder / f"{file.sha256}.part"
    with part.open("r+b" if offset else "wb") as stream:
        stream.seek(offset)
        stream.write(chunk)
    if offset + len(chunk) == file.size:
        if await asyncio.to_thread(sha256, part) != file.sha256:
            raise ValueError(f"{file.path}: arrived damaged")
        part.rename(part.with_suffix(""))


def end_run(run: str) -> None:
    """Forget a run and remove what was sent for it."""
    state = _runs.pop(run, None)
    if state:
        shutil.rmtree(state.folder, ignore_errors=True)


async def exit_process() -> None:
    """Kill the process: nothing else stops a cell that takes too long. A nanny starts another."""
    os._exit(1)


def compute(run: str, task: Task, where: str, workers: int) -> WorkerResult:
    """Compute one cell.

    Parameters
    ----------
    run : str
    task : Task
    where : str
        Such as ``worker 2 of 8``, for the record.
    workers : int
        Cells that are computed at the same time.

    Returns
    -------
    WorkerResult
    """
    worker, state = get_worker(), _state(run)

    def report(kind: str, **facts: float) -> None:
        worker.log_event(f"xraybench-{run}", {"cell": task.cell.name, "kind": kind, "facts": facts})

    with _one_at_a_time:
        _import_classes(state.setup.experiment.models[task.cell.model])
        with using_threads(state.threads):
            runner = _runner(state, task, workers, lambda record: report("epoch", **_numbers(record)))
            report("begun")
            result = runner.fit()
            if not isinstance(result, CellResult):
                report("begun")  # the time limit applies to the fit and to the prediction
                result = runner.predict(result)
            found = _with_files(result)
    warning = f"computed on {where} ({environment.processor()}, threads: {state.threads}): its times are that machine's"
    found.record["warnings"] = [*found.record["warnings"], warning]
    return found


def _runner(state: _Run, task: Task, workers: int, on_epoch: Callable[[dict[str, float]], None]) -> Runner:
    detached = state.setup.experiment
    resources = replace(detached.resources, threads=state.threads, on_epoch=on_epoch)
    if task.weights:
        resources = replace(resources, weights_dir=_weights_folder(state, task))
    images: Any = ShapeOnlyArray(detached.shape)
    if task.pixels:
        images = np.memmap(_place(state, task.pixels), np.uint8, "r", 0, detached.shape)
    encodings = ReceivedEncodings(images, state, task, resources)
    return detached.attach(images, encodings, resources).runner(task.cell, jobs=workers)


class ReceivedEncodings(Encodings):
    """Encodings that were made by the process of the run folder: none is computed here."""

    def __init__(self, images: Any, state: _Run, task: Task, resources: Resources) -> None:
        super().__init__(images, state.setup.experiment.digest, state.folder, resources)
        self.task = task
        self.made = {
            key: Encoding(_values(state, info.file, info.shape), info.seconds, info.n_parameters)
            for key, info in task.encodings.items()
        }

    def key(self, part: Part, *, mirrored: bool = False) -> str:
        """Return the content key, as the process that made the encoding knows it."""
        return self.task.keys[part_name(part, mirrored=mirrored)]

    def get(self, part: Part, *, mirrored: bool = False) -> Encoding:
        """Return the encoding of all images, or of their mirror images."""
        return self.made[self.key(part, mirrored=mirrored)]

    def distances(self, part: Part, *, mirror: bool, landmarks: np.ndarray | None = None) -> Encoding:
        """Return the squared distances between all images, or to landmarks."""
        return self.made[self.distances_key(part, mirror=mirror, landmarks=landmarks)]


def _values(state: _Run, file: FileRef | None, shape: tuple[int, ...]) -> Any:
    if file is None:
        return ShapeOnlyArray(shape)
    return np.load(_place(state, file), mmap_mode="r", allow_pickle=False)


def _with_files(result: CellResult) -> WorkerResult:
    """Return the result with its model's files in memory; a model that cannot be saved is a failed cell."""
    if result.save is None:
        return WorkerResult(result.record, result.predictions, None)
    with tempfile.TemporaryDirectory(prefix="xraybench-") as name:
        folder = Path(name)
        try:
            save_into(result.save, folder)
        except ModelNotSavedError as error:
            return WorkerResult(result.failed(str(error)).record, None, None)
        files = {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    return WorkerResult(result.record, result.predictions, files)


def _state(run: str) -> _Run:
    if run not in _runs:
        raise UnknownRunError(run)
    return _runs[run]


def _is_here(state: _Run, file: FileRef) -> bool:
    """Whether a file is here; one outside our own folder is read once to verify it."""
    if file.sha256 in state.places:
        return True
    own = state.folder / file.sha256
    if own.exists():  # verified when it arrived
        state.places[file.sha256] = own
        return True
    for place in _candidates(file):
        with suppress(OSError):
            if place.stat().st_size == file.size and sha256(place) == file.sha256:
                state.places[file.sha256] = place
                return True
    return False


def _candidates(file: FileRef) -> list[Path]:
    places = [Path(file.path)]
    if file.in_cache:
        with suppress(UserError):  # a machine without a cache
            places.append(environment.cache_folder() / file.in_cache)
    return places


def _place(state: _Run, file: FileRef) -> Path:
    if not _is_here(state, file):
        raise UnknownRunError(file.sha256)
    return state.places[file.sha256]


def _weights_folder(state: _Run, task: Task) -> Path:
    """Return a folder with this cell's weights under the name by which they are searched."""
    mark = hashlib.sha256("".join(f"{name}{file.sha256}" for name, file in task.weights.items()).encode()).hexdigest()
    folder = state.folder / "weights" / mark
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in task.weights.items():
        if not (folder / name).exists():
            (folder / name).symlink_to(_place(state, file))
    return folder


def _import_classes(spec: ModelSpec) -> None:
    """Import what the cell needs before its threads are limited: a limit applies to loaded libraries only."""
    for part in (*spec.encoders, spec.head):
        with suppress(Exception):  # the cell meets the same error and makes a record of it
            pkgutil.resolve_name(part.class_)


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in record.items() if isinstance(value, int | float | np.number)}
