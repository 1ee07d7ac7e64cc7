"""Cells side by side in processes of their own, with the cores divided among them.

A round fits as many cells as there are processes; then each process in turn predicts, alone and with all cores, so that what a table
says of prediction is what a run without ``--jobs`` measures. Fits share the machine, and their cells say so. The parent alone writes.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.disk import beside

from bench.cells.encodings import Encodings
from bench.cells.runner import CellResult, Runner
from bench.data.dataset import Data
from bench.executors.interrupts import unheard
from bench.recipes.build import Resources
from bench.recipes.suite import ModelSpec
from bench.store.run_folder import Cell

_PATIENCE = 5.0  # seconds a process gets to end by itself
_BEGUN = "begun"  # what a process says when it has loaded its libraries and the clock of a time limit may start


@dataclass(frozen=True)
class Job:
    """What every process needs to know. The pixels are mapped from their file, not sent."""

    data: Data  # with `images` left out
    pixels: tuple[str, int, tuple[int, ...]]  # file, offset, shape
    digest: str
    cache: Path
    resources: Resources
    seed: int
    models: dict[str, ModelSpec]
    jobs: int
    scratch: Path


class ProcessExecutor:
    """Processes that compute cells, as many at a time as there are `jobs`.

    Parameters
    ----------
    encodings
        Of the parent: what a round needs is encoded here first, once and with all cores.
    scratch
        Folder where models wait until the parent takes them.
    timeout
        Seconds that a fit, and a prediction, may take; then the process is ended and the cell has failed.
    """

    def __init__(
        self,
        jobs: int,
        models: dict[str, ModelSpec],
        data: Data,
        encodings: Encodings,
        seed: int,
        scratch: Path,
        *,
        timeout: float | None = None,
    ) -> None:
        images = data.images
        if not isinstance(images, np.memmap):
            raise TypeError("images must be mapped from a file")
        place = (str(images.filename), int(images.offset), images.shape)
        bare = replace(data, images=np.empty((0, 1, 1), np.uint8), held_out=None)
        resources = replace(encodings.resources, on_epoch=None)
        self.job = Job(bare, place, encodings.digest, encodings.cache.parent, resources, seed, models, jobs, scratch)
        self.data = data
        self.encodings = encodings
        self.timeout = timeout
        self.processes = [_Process(self.job) for _ in range(jobs)]

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.end()

    def computed(
        self, cells: list[Cell], starts: Callable[[Cell], None], epoch: Callable[[dict[str, float]], None]
    ) -> Iterator[tuple[Cell, CellResult]]:
        """Give every cell when it is done."""
        for first in range(0, len(cells), self.job.jobs):
            together = cells[first : first + self.job.jobs]
            for cell in together:
                starts(cell)
                self._prepare(cell)
            yield from self._round(together, epoch)

    def _prepare(self, cell: Cell) -> None:
        """Encode, and take distances, here: with all cores, and for the same bytes whatever the number of jobs."""
        runner = Runner(
            cell, self.job.models[cell.model], self.data, self.encodings, self.encodings.resources, self.job.seed
        )
        with suppress(Exception):  # the process meets the same error and makes a record of it
            runner.prepare()

    def _round(self, cells: list[Cell], epoch: Callable[[dict[str, float]], None]) -> Iterator[tuple[Cell, CellResult]]:
        busy = dict(zip(cells, self.processes, strict=False))
        for cell, process in busy.items():
            process.ask(("fit", cell))
        waiting = dict(busy)
        failed: dict[Cell, CellResult] = {}
        ends: dict[Cell, float] = {}
        while waiting:
            ready = wait([process.pipe for process in waiting.values()], self._left(ends))
            for cell, process in list(waiting.items()):
                if process.pipe not in ready:
                    if self._left({cell: ends[cell]} if cell in ends else {}) == 0:
                        failed[cell] = self._too_long(cell, process)
                        del waiting[cell], ends[cell]
                    continue
                answer = self._answer(cell, process)
                if answer == _BEGUN:
                    ends[cell] = time.monotonic() + (self.timeout or 0)
                    continue
                if isinstance(answer, dict):
                    epoch(answer)
                    continue
                ends.pop(cell, None)
                if answer is not None:
                    failed[cell] = answer
                del waiting[cell]
        for cell, process in busy.items():
            if cell in failed:
                yield cell, failed[cell]
                continue
            process.ask(("predict", cell))
            answer = self._answer(cell, process) if process.pipe.poll(self.timeout) else self._too_long(cell, process)
            if not isinstance(answer, CellResult):
                raise RuntimeError(f"{cell.name}: the process gave no result")
            yield cell, answer

    def _left(self, ends: dict[Cell, float]) -> float | None:
        """Seconds until the first of these times; None without a limit."""
        return None if self.timeout is None or not ends else max(0.0, min(ends.values()) - time.monotonic())

    def _too_long(self, cell: Cell, process: _Process) -> CellResult:
        """End a process that takes too long; another takes its place."""
        process.end(patience=0)
        return self._failed(cell, process, f"it took longer than --timeout {self.timeout:g} (seconds)")

    def _failed(self, cell: Cell, process: _Process, why: str) -> CellResult:
        self.processes[self.processes.index(process)] = _Process(self.job)
        spec = self.job.models[cell.model]
        return Runner(cell, spec, self.job.data, self.encodings, self.job.resources, self.job.seed).failure(why)

    def _answer(self, cell: Cell, process: _Process) -> Any:
        """What a process says; a process that died leaves a failed cell, and another takes its place."""
        try:
            answer = process.pipe.recv()
        except (EOFError, OSError):
            code = process.end()
            why = f"its process ended with signal {-code}" if code < 0 else f"its process ended with code {code}"
            hint = " (out of memory? --jobs 1 needs less)" if code == -signal.SIGKILL else ""
            return self._failed(cell, process, why + hint)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Process:
    """One process and the pipe to it."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, job, os.getpid()), daemon=True)
        with unheard():
            self.process.start()
        other.close()

    def ask(self, what: tuple[str, Cell]) -> None:
        with suppress(OSError):  # a process that died says so when its answer is read
            self.pipe.send(what)

    def end(self, patience: float = _PATIENCE) -> int:
        """End the process and return its exit code."""
        self.pipe.close()
        self.process.join(min(0.1, patience))
        self.process.terminate()
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode or 0


def _serve(pipe: Connection, job: Job, parent: int) -> None:
    """Life of a process: fit, and when it is its turn predict, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends us
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    file, offset, shape = job.pixels
    data = replace(job.data, images=np.memmap(file, np.uint8, "r", offset, shape))
    cores = job.resources.threads
    resources = replace(job.resources, threads=max(1, cores // job.jobs), on_epoch=pipe.send)
    encodings = Encodings(data.images, job.digest, job.cache, resources)
    runner = None
    with suppress(EOFError, OSError):
        while True:
            what, cell = pipe.recv()
            try:
                if what == "fit" or runner is None:
                    pipe.send(_BEGUN)
                    with using_threads(resources.threads):
                        runner = Runner(
                            cell, job.models[cell.model], data, encodings, resources, job.seed, jobs=job.jobs
                        )
                        pipe.send(runner.fitted())
                else:
                    with using_threads(cores):
                        pipe.send(_saved(runner.predicted(), job.scratch))
            except Exception as error:  # noqa: BLE001 - a wrong suite, say: the parent raises it
                pipe.send(error)


def _saved(computed: CellResult, scratch: Path) -> CellResult:
    """The result with its model in a folder, from which the parent takes it."""
    if computed.save is None:
        return computed
    folder = beside(scratch / "model")
    folder.mkdir()
    computed.save(folder)
    return replace(computed, save=Moved(folder))


@dataclass(frozen=True)
class Moved:
    """Brings a model's files from where a process left them to where they belong."""

    folder: Path

    def __call__(self, target: Path) -> None:
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        shutil.rmtree(self.folder)


@contextmanager
def using_threads(n: int) -> Iterator[None]:
    """So many threads for everything that has threads of its own."""
    import sys

    from threadpoolctl import threadpool_limits

    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(n))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(n)
        if "numba" in sys.modules:
            sys.modules["numba"].set_num_threads(min(n, sys.modules["numba"].config.NUMBA_NUM_THREADS))
        yield


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, killed perhaps: nobody would ask for the result."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
