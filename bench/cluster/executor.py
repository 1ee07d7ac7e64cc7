"""Cells on workers of a cluster. This process alone encodes, decides what is computed where, and writes.

Each worker computes one cell at a time with all its threads. A cell whose worker dies is queued again, and after three deaths it has
failed. A scheduler that is gone ends the run, which the same command resumes.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import environment
from bench.cells.experiment import Experiment
from bench.cells.record import CellResult
from bench.cluster import versions
from bench.cluster.client import addresses
from bench.cluster.config import ClusterLostError, Plan
from bench.cluster.connect import connected
from bench.cluster.jobs import Jobs
from bench.cluster.supervisor import (
    CellDone,
    CellFailed,
    CellStarted,
    Dispatcher,
    WorkerLost,
    WorkerRejected,
    WorkerSupervisor,
)
from bench.cluster.tasks import Task, TaskBuilder
from bench.cluster.worker import Setup
from bench.errors import UserError, one_line
from bench.recipes.plugins import own_modules
from bench.store.run_folder import Cell
from bench.terminal.progress import Progress

_DEATHS = 3  # of workers over one cell
_POLL = 0.5  # seconds between checks for workers
_PATIENCE = 60.0  # seconds without a worker after which it is reported


class DaskExecutor:
    """Computes cells on workers of Dask distributed.

    Parameters
    ----------
    experiment : Experiment
        With the resources of the workers' heads. What cells share is encoded here, once.
    plan : Plan
    progress : Progress
    timeout : float or None
        Seconds that a fit, and a prediction, may take; then the worker is ended and the cell has failed.
    """

    def __init__(self, experiment: Experiment, plan: Plan, progress: Progress, *, timeout: float | None = None) -> None:
        self.experiment = experiment
        self.plan = plan
        self.progress = progress
        self.timeout = timeout

    def run(self, cells: Sequence[Cell]) -> Generator[tuple[Cell, CellResult]]:
        """Give every cell with its result.

        Raises
        ------
        ClusterLostError
            If the scheduler is gone, or no job of the queue is left.
        UserError
            If no scheduler answers, a worker has other versions, no worker can be used, or a cell says that the suite is wrong.
        """
        if not cells:
            return
        threads, gpu = environment.threads(), bool(environment.gpu())
        with ExitStack() as stack:
            client = stack.enter_context(connected(self.plan, threads=threads, gpu=gpu))
            jobs = Jobs(self.plan.queue, client.cluster, self.progress.note)
            setup = Setup(self.experiment.detached(), own_modules(self.experiment.models))
            dispatcher = Dispatcher(client, secrets.token_hex(4), setup, self.timeout)
            stack.callback(dispatcher.shutdown)
            versions.check_all(client)
            run = _Run(self.experiment, self.plan, self.progress, jobs, dispatcher)
            client.subscribe_topic(f"xraybench-{dispatcher.run}", run.receive)
            yield from run.results(cells)


@dataclass
class _Run:
    """The cells of one run on a cluster: its workers, and what happens to the cells."""

    experiment: Experiment
    plan: Plan
    progress: Progress
    jobs: Jobs
    dispatcher: Dispatcher
    supervisors: dict[str, WorkerSupervisor] = field(default_factory=dict)  # by address
    rejected: dict[str, str] = field(default_factory=dict)  # reason by address
    deaths: Counter[Cell] = field(default_factory=Counter)
    last_seen: float = field(default_factory=time.monotonic)  # a worker

    def results(self, cells: Sequence[Cell]) -> Generator[tuple[Cell, CellResult]]:
        """Give every cell with its result."""
        threading.Thread(target=self._queue_tasks, args=(cells,), daemon=True).start()
        n_left, checked = len(cells), 0.0
        while n_left:
            if time.monotonic() - checked > _POLL:
                self._check_workers()
                checked = time.monotonic()
            try:
                event = self.dispatcher.events.get(timeout=_POLL)
            except queue.Empty:
                continue
            finished = self._handle(event)
            if finished:
                n_left -= 1
                yield finished

    def receive(self, event: tuple[float, dict[str, Any]]) -> None:
        """Handle a worker's report on its cell; called by the client's own thread."""
        message = event[1]
        if message["kind"] == "begun":
            self.dispatcher.begun[message["cell"]] = time.monotonic()
        else:
            self.dispatcher.events.put(message["facts"])

    def _handle(self, event: Any) -> tuple[Cell, CellResult] | None:
        """Act on what happened; return a cell that is finished."""
        match event:
            case CellStarted(cell):
                self.progress.cell_starts(cell)
            case dict() as record:
                self.progress.epoch(record)
            case BaseException() as error:
                raise error
            case WorkerRejected(address, reason):
                self.rejected[address] = f"worker {address}: {reason}"
                self.progress.note(f"worker {address}: {reason}: it gets no cells")
            case WorkerLost(task, where, first):
                self._check_workers()  # if the scheduler is gone, no worker died
                return self._retry(task, where, first=first)
            case (Cell() as cell, CellResult() as result):
                return cell, result
            case CellDone(task, found):
                self.jobs.has_result()
                save = None if found.files is None else ModelFiles(found.files)
                return task.cell, CellResult(found.record, found.predictions, save)
            case CellFailed(cell, reason):
                return cell, self.experiment.runner(cell).failure(reason)
        return None

    def _queue_tasks(self, cells: Sequence[Cell]) -> None:
        """Encode what cells share and queue them; on a local cluster all of it before the first cell, so that encoding has the machine to itself."""
        builder, tasks = TaskBuilder(self.experiment), self.dispatcher.tasks
        ready = []
        for cell in cells:
            try:
                task = builder.build(cell)
            except Exception:  # noqa: BLE001 - the cell meets the same error here and makes a record of it
                self.dispatcher.events.put(self._compute_here(cell))
                continue
            if self.plan.local:
                ready.append(task)
            else:
                tasks.add(task)
        for task in ready:
            tasks.add(task)

    def _compute_here(self, cell: Cell) -> tuple[Cell, CellResult] | Exception:
        here = self.experiment.with_resources(self.experiment.encodings.resources)
        try:
            return cell, here.runner(cell).result()
        except Exception as error:  # noqa: BLE001 - raised where the results are taken
            return error

    def _check_workers(self) -> None:
        """Find the connected workers, and start a supervisor for each new one."""
        client = self.dispatcher.client
        try:
            if client.status != "running":
                raise OSError(f"the connection is {client.status}")
            alive = addresses(client)
        except Exception as error:
            raise ClusterLostError(f"the scheduler is gone ({one_line(error, 200)})") from error
        self.dispatcher.alive = alive
        self.jobs.check()
        self.rejected = {address: reason for address, reason in self.rejected.items() if address in alive}
        for address in sorted(alive):
            supervisor = self.supervisors.get(address)
            if address not in self.rejected and (supervisor is None or not supervisor.is_alive()):
                number = self._free_number(alive)
                self.supervisors[address] = WorkerSupervisor(self.dispatcher, address, number, self._n_workers)
                self.supervisors[address].start()
        self._check_patience(alive)

    def _free_number(self, alive: frozenset[str]) -> int:
        """Smallest number that no living worker has: a restarted worker takes that of the dead one."""
        taken = {each.number for address, each in self.supervisors.items() if address in alive and each.is_alive()}
        return next(k for k in range(1, len(taken) + 2) if k not in taken)

    def _n_workers(self) -> int:
        """Return the number of connected workers; at least the largest number among them."""
        return max([len(self.dispatcher.alive), *(s.number for s in self.supervisors.values() if s.is_alive())])

    def _check_patience(self, alive: frozenset[str]) -> None:
        """Report that no worker is connected, or raise if none can be used."""
        if alive - self.rejected.keys():
            self.last_seen = time.monotonic()
        elif alive:
            raise UserError(f"no worker can be used: {next(iter(self.rejected.values()))}")
        elif time.monotonic() - self.last_seen > _PATIENCE:
            self.last_seen = time.monotonic()
            self.progress.note(
                f"no worker connected: {self.jobs.why_waiting()} (stop with Ctrl-C; the same command resumes the run)"
            )

    def _retry(self, task: Task, where: str, *, first: bool) -> tuple[Cell, CellResult] | None:
        """Queue the cell again; or after three deaths return the record of its failure.

        The end of a job is its cell's fault only if the cell had the whole walltime.
        """
        cell = task.cell
        self.deaths[cell] += self.plan.queue is None or first
        if self.deaths[cell] < _DEATHS:
            self.progress.note(f"{cell.name}: {where} died while computing it: computing it again")
            self.dispatcher.tasks.add(task)
            return None
        limit = self.plan.queue.walltime if self.plan.queue else None
        walltime = f"; or longer than the walltime of a job ({limit})" if limit else ""
        reason = f"its worker died three times (last: {where}): out of memory, perhaps: give each worker more{walltime}"
        return cell, self.experiment.runner(cell).failure(reason)


@dataclass(frozen=True)
class ModelFiles:
    """Writes a model's files as received."""

    files: dict[str, bytes]

    def __call__(self, target: Path) -> None:
        """Write the files to a folder."""
        for name, content in self.files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
