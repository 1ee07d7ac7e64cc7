"""One worker and the thread that supervises it: the next task, the files it lacks, the result, or the loss of the worker."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future

from bench.cluster import versions, worker
from bench.cluster.client import run_everywhere, run_on
from bench.cluster.tasks import FileRef, Task
from bench.cluster.worker import Setup, WorkerResult
from bench.errors import UserError, cause, is_disk_error, one_line
from bench.store.run_folder import Cell

_CHUNK = 8_000_000  # bytes of a file that are sent at a time
_POLL = 0.5  # seconds between checks of whether a worker is still alive
_LOST = ("KilledWorker", "CancelledError", "FutureCancelledError", "UnknownRunError", "CommClosedError")


@dataclass(frozen=True)
class CellStarted:
    """A worker was given a cell."""

    cell: Cell


@dataclass(frozen=True)
class CellDone:
    """A worker gave a result."""

    task: Task
    result: WorkerResult


@dataclass(frozen=True)
class CellFailed:
    """A cell that failed for a reason of its own."""

    cell: Cell
    reason: str


@dataclass(frozen=True)
class WorkerLost:
    """A worker died computing a cell; `first` if that was its first one."""

    task: Task
    worker: str
    first: bool


@dataclass(frozen=True)
class WorkerRejected:
    """A worker that cannot be used."""

    address: str
    reason: str


class TaskQueue:
    """Tasks that may be given out now."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, task: Task) -> None:
        """Append a task: one that killed a worker waits until the others are done."""
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def take(self, *, gpu: bool, is_wanted: Callable[[], bool]) -> Task | None:
        """Wait for a task that can be computed with or without a GPU.

        Parameters
        ----------
        gpu : bool
        is_wanted : callable
            Whether the worker should still get one.

        Returns
        -------
        Task or None
            None when nothing is left to do or the worker should get no more.
        """
        with self._changed:
            while not self._closed and is_wanted():
                fitting = [task for task in self._tasks if gpu or not task.gpu]
                if fitting:
                    chosen = next((task for task in fitting if task.gpu), fitting[0])
                    self._tasks.remove(chosen)
                    return chosen
                self._changed.wait(_POLL)
        return None

    def close(self) -> None:
        """Hand out no more tasks."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass
class Dispatcher:
    """What all supervisors of a run share.

    Attributes
    ----------
    client : Client
    run : str
        Name of the run on the workers.
    setup : Setup
    timeout : float or None
        Seconds that a fit, and a prediction, may take.
    tasks : TaskQueue
    events : SimpleQueue
        What happened, for the executor.
    alive : frozenset of str
        Addresses of the connected workers.
    begun : dict of str to float
        When a cell last reported that it fits or predicts, by its name.
    """

    client: Client
    run: str
    setup: Setup
    timeout: float | None = None
    tasks: TaskQueue = field(default_factory=TaskQueue)
    events: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    alive: frozenset[str] = frozenset()
    begun: dict[str, float] = field(default_factory=dict)

    def call(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Have a worker run a function of this run beside its cells."""
        return run_on(self.client, address, function, self.run, *arguments)

    def is_late(self, cell: Cell) -> bool:
        """Whether a cell has fitted, or predicted, for too long."""
        begun = self.begun.get(cell.name)
        return self.timeout is not None and begun is not None and time.monotonic() - begun > self.timeout

    def shutdown(self) -> None:
        """Hand out no more tasks, and have the workers forget the run."""
        self.tasks.close()
        if self.client.status == "running":
            with suppress(Exception):  # a worker that is gone need not be told
                run_everywhere(self.client, worker.end_run, self.run)


class WorkerSupervisor:
    """Gives tasks to one worker, one after another, for as long as it lives, in a thread of its own.

    Parameters
    ----------
    dispatcher : Dispatcher
    address : str
        Of the worker.
    number : int
        Of the worker in the run, from 1 on.
    n_workers : callable
        Returns the number of workers there are now.
    """

    def __init__(self, dispatcher: Dispatcher, address: str, number: int, n_workers: Callable[[], int]) -> None:
        self.dispatcher = dispatcher
        self.address = address
        self.number = number
        self.n_workers = n_workers
        self.n_done = 0
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"worker {number}")

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def is_alive(self) -> bool:
        """Whether there may be more tasks for the worker."""
        return self.thread.is_alive()

    @property
    def where(self) -> str:
        """Such as ``worker 2 of 8``: reports name no hosts."""
        return f"worker {self.number} of {self.n_workers()}"

    def _run(self) -> None:
        """Supervise the worker until there is nothing more to do or it is gone."""
        try:
            wrong = versions.refusal(self.dispatcher.client, self.address)
            if wrong is None:
                self._supervise()
                return
        except (OSError, worker.UnknownRunError) as error:  # an OSError is a TimeoutError too
            if not (isinstance(error, OSError) and is_disk_error(error)):
                return  # no answer: it is gone, or found again at the next check
            wrong = cause(error)
        except Exception as error:  # noqa: BLE001 - whatever it was is reported, and the others continue
            wrong = f"{type(error).__name__}: {one_line(error, 200)}"
        if self._worker_lives():
            self.dispatcher.events.put(WorkerRejected(self.address, wrong))

    def _supervise(self) -> None:
        dispatcher = self.dispatcher
        info = dispatcher.call(self.address, worker.start_run, dispatcher.setup)
        while task := dispatcher.tasks.take(gpu=info.gpu, is_wanted=self._worker_lives):
            if not self._compute(task):
                return

    def _worker_lives(self) -> bool:
        return self.address in self.dispatcher.alive

    def _compute(self, task: Task) -> bool:
        """Have one cell computed; return whether the worker can be given another."""
        dispatcher = self.dispatcher
        try:
            for file in dispatcher.call(self.address, worker.missing_files, task.files):
                self._send(file)
        except Exception:
            dispatcher.tasks.add(task)  # never started: the worker's fault, not the cell's
            raise
        dispatcher.events.put(CellStarted(task.cell))
        dispatcher.begun.pop(task.cell.name, None)
        future = dispatcher.client.submit(
            worker.compute,
            dispatcher.run,
            task,
            self.where,
            self.n_workers(),
            key=f"{task.cell.name} {dispatcher.run} {time.monotonic_ns()}",
            workers=[self.address],
            allow_other_workers=False,
            resources={"GPU": 1} if task.gpu else None,
            pure=False,
        )
        return self._wait(task, future)

    def _send(self, file: FileRef) -> None:
        with Path(file.path).open("rb") as stream:
            for offset in range(0, max(file.size, 1), _CHUNK):
                self.dispatcher.call(self.address, worker.receive_chunk, file, offset, stream.read(_CHUNK))

    def _wait(self, task: Task, future: Future) -> bool:
        """Wait for a result; return whether the worker can be given another cell."""
        events, ready = self.dispatcher.events, threading.Event()
        future.add_done_callback(lambda _: ready.set())
        while not ready.wait(_POLL):
            if not self._worker_lives():
                future.cancel()
                events.put(self._loss(task))
                return False
            if self.dispatcher.is_late(task.cell):
                self._end_worker(task)
                return False
        try:
            events.put(CellDone(task, future.result()))
        except UserError as error:
            events.put(error)
            return False
        except Exception as error:  # noqa: BLE001 - a worker's death has several types
            return self._report(task, error)
        self.n_done += 1
        return True

    def _report(self, task: Task, error: Exception) -> bool:
        """Report why a cell gave no result: its worker died, cannot write, or the cell itself is to blame."""
        kind = type(error).__name__
        if kind in _LOST:
            self.dispatcher.events.put(self._loss(task))
            return False
        if is_disk_error(error):
            self.dispatcher.events.put(self._loss(task))
            raise error
        self.dispatcher.events.put(CellFailed(task.cell, f"{kind}: {one_line(error)}"))
        return True

    def _loss(self, task: Task) -> WorkerLost:
        return WorkerLost(task, self.where, first=self.n_done == 0)

    def _end_worker(self, task: Task) -> None:
        """End the worker of a cell that takes too long."""
        limit = f"it took longer than --timeout {self.dispatcher.timeout:g} (seconds)"
        self.dispatcher.events.put(CellFailed(task.cell, limit))
        with suppress(Exception):  # it can no longer answer
            run_on(self.dispatcher.client, self.address, worker.exit_process)
