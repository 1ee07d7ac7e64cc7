"""Cells side by side in processes of their own, with the cores divided among them.

A round fits as many cells as there are processes; then each process in turn predicts, alone and with all cores, so that what a table
says about prediction is what a run without ``--jobs`` measures. Fits share the machine, and their cells say so. The parent alone writes.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

import numpy as np
from radiographs.disk import beside

from bench.cells.encodings import Encodings
from bench.cells.experiment import DetachedExperiment, Experiment
from bench.cells.record import CellResult
from bench.cells.runner import Fitted, Runner
from bench.cells.threads import using_threads
from bench.executors.interrupts import unheard
from bench.store.run_folder import Cell
from bench.terminal.progress import Progress

_PATIENCE = 5.0  # seconds a process gets to exit by itself
_BEGUN = "begun"  # sent by a process once its libraries are loaded and the time limit may start
_FITTED = "fitted"


@dataclass(frozen=True)
class _Setup:
    """What every process needs. The pixels are mapped from their file, not sent."""

    experiment: DetachedExperiment
    pixels: tuple[str, int]  # file and offset
    cache: Path
    jobs: int
    scratch: Path


class ProcessExecutor:
    """Computes several cells at a time, each in a process of its own.

    Parameters
    ----------
    experiment : Experiment
        Its images must be mapped from a file. What a round needs is encoded here first, once and with all cores.
    jobs : int
        Number of processes.
    scratch : Path
        Folder where models wait until the parent takes them.
    progress : Progress
    timeout : float or None
        Seconds that a fit, and a prediction, may take; then the process is ended and the cell has failed.

    Raises
    ------
    TypeError
        If the images are not mapped from a file.
    """

    def __init__(
        self, experiment: Experiment, jobs: int, scratch: Path, progress: Progress, *, timeout: float | None = None
    ) -> None:
        images = experiment.data.images
        if not isinstance(images, np.memmap):
            raise TypeError("images must be mapped from a file")
        pixels, cache = (str(images.filename), int(images.offset)), experiment.encodings.cache.parent
        self.setup = _Setup(experiment.detached(), pixels, cache, jobs, scratch)
        self.experiment = experiment
        self.progress = progress
        self.timeout = timeout
        self._processes: list[_Process] = []

    def run(self, cells: Sequence[Cell]) -> Generator[tuple[Cell, CellResult]]:
        """Give every cell with its result, round by round."""
        try:
            self._processes += [_Process(self.setup) for _ in range(min(self.setup.jobs, len(cells)))]
            for first in range(0, len(cells), self.setup.jobs):
                together = cells[first : first + self.setup.jobs]
                for cell in together:
                    self.progress.cell_starts(cell)
                    self._prepare(cell)
                yield from self._round(together)
        finally:
            for process in self._processes:
                process.end()
            self._processes.clear()

    def _prepare(self, cell: Cell) -> None:
        """Encode, and compute distances, here: with all cores, and the same bytes for any number of jobs."""
        with suppress(Exception):  # the process meets the same error and makes a record of it
            self.experiment.runner(cell).prepare()

    def _round(self, cells: Sequence[Cell]) -> Generator[tuple[Cell, CellResult]]:
        busy = dict(zip(cells, self._processes, strict=False))
        for cell, process in busy.items():
            process.send("fit", cell)
        failed = self._wait_for_fits(busy)
        for cell, process in busy.items():
            yield cell, failed[cell] if cell in failed else self._prediction(cell, process)

    def _wait_for_fits(self, busy: Mapping[Cell, _Process]) -> dict[Cell, CellResult]:
        """Wait until every cell is fitted; return those that failed."""
        waiting, deadlines, failed = dict(busy), dict[Cell, float](), dict[Cell, CellResult]()
        while waiting:
            ready = wait([process.pipe for process in waiting.values()], self._seconds_left(deadlines.values()))
            for cell, process in list(waiting.items()):
                if process.pipe in ready:
                    answer = self._answer(cell, process)
                elif self._seconds_left([deadlines[cell]] if cell in deadlines else []) == 0:
                    answer = self._late(process, cell)
                else:
                    continue
                if answer == _BEGUN:
                    deadlines[cell] = time.monotonic() + (self.timeout or 0)
                elif isinstance(answer, dict):
                    self.progress.epoch(answer)
                else:
                    deadlines.pop(cell, None)
                    del waiting[cell]
                    if isinstance(answer, CellResult):
                        failed[cell] = answer
        return failed

    def _prediction(self, cell: Cell, process: _Process) -> CellResult:
        process.send("predict", cell)
        answer = self._answer(cell, process) if process.pipe.poll(self.timeout) else self._late(process, cell)
        if not isinstance(answer, CellResult):
            raise RuntimeError(f"{cell.name}: the process gave no result")
        return answer

    def _seconds_left(self, deadlines: Iterable[float]) -> float | None:
        """Seconds until the first of these times; None without a limit."""
        times = list(deadlines)
        return None if self.timeout is None or not times else max(0.0, min(times) - time.monotonic())

    def _late(self, process: _Process, cell: Cell) -> CellResult:
        """Kill a process that takes too long; another takes its place."""
        process.end(patience=0)
        return self._failure(cell, process, f"it took longer than --timeout {self.timeout:g} (seconds)")

    def _failure(self, cell: Cell, process: _Process, reason: str) -> CellResult:
        self._processes[self._processes.index(process)] = _Process(self.setup)
        return self.experiment.runner(cell).failure(reason)

    def _answer(self, cell: Cell, process: _Process) -> Any:
        """Return what a process sent; one that died leaves a failed cell, and another takes its place."""
        try:
            answer = process.pipe.recv()
        except (EOFError, OSError):
            code = process.end()
            reason = f"its process ended with signal {-code}" if code < 0 else f"its process ended with code {code}"
            hint = " (out of memory? --jobs 1 needs less)" if code == -signal.SIGKILL else ""
            return self._failure(cell, process, reason + hint)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Process:
    """One process and the pipe to it."""

    def __init__(self, setup: _Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, setup, os.getpid()), daemon=True)
        with unheard():
            self.process.start()
        other.close()

    def send(self, command: Literal["fit", "predict"], cell: Cell) -> None:
        """Send a command; a dead process is noticed when its answer is read."""
        with suppress(OSError):
            self.pipe.send((command, cell))

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


def _serve(pipe: Connection, setup: _Setup, parent: int) -> None:
    """Fit, then predict when it is this process's turn, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it, and ends us
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    file, offset = setup.pixels
    detached = setup.experiment
    images = np.memmap(file, np.uint8, "r", offset, detached.shape)
    cores = detached.resources.threads
    resources = replace(detached.resources, threads=max(1, cores // setup.jobs), on_epoch=pipe.send)
    encodings = Encodings(images, detached.digest, setup.cache, resources)
    experiment = detached.attach(images, encodings, resources)
    current: tuple[Runner, Fitted] | None = None
    with suppress(EOFError, OSError):
        while True:
            command, cell = pipe.recv()
            try:
                if command == "fit" or current is None:
                    pipe.send(_BEGUN)
                    current = None  # free its memory
                    with using_threads(resources.threads):
                        runner = experiment.runner(cell, jobs=setup.jobs)
                        fitted = runner.fit()
                    current = None if isinstance(fitted, CellResult) else (runner, fitted)
                    pipe.send(fitted if isinstance(fitted, CellResult) else _FITTED)
                else:
                    with using_threads(cores):
                        pipe.send(_with_model_on_disk(current[0].predict(current[1]), setup.scratch))
            except Exception as error:  # noqa: BLE001 - such as a wrong suite: the parent raises it
                pipe.send(error)


def _with_model_on_disk(result: CellResult, scratch: Path) -> CellResult:
    """Return the result with its model in a folder, from which the parent takes it."""
    if result.save is None:
        return result
    folder = beside(scratch / "model")
    folder.mkdir()
    result.save(folder)
    return replace(result, save=MoveModel(folder))


@dataclass(frozen=True)
class MoveModel:
    """Moves a model's files from where a process left them to where they belong."""

    folder: Path

    def __call__(self, target: Path) -> None:
        """Move the files into a folder."""
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        shutil.rmtree(self.folder)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, perhaps killed: nobody would collect the result."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
