"""Cells on workers of a cluster. This process alone encodes, decides what is computed where, and writes.

Each worker computes one cell at a time with all its threads. A cell whose worker dies is laid back on the pile, and after three deaths it has
failed. A scheduler that is gone ends the run, which the same command goes on with.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment
from bench.cells.encodings import Encodings
from bench.cells.runner import CellResult, Runner
from bench.cluster import versions, worker
from bench.cluster.config import ClusterLostError, Plan
from bench.cluster.connect import connected
from bench.cluster.jobs import Jobs
from bench.cluster.supervisor import Died, Done, Hand, Office, Refused, Spoilt, Started
from bench.cluster.tasks import Tickets
from bench.cluster.worker import Job
from bench.data.dataset import Data
from bench.errors import UserError, one_line
from bench.recipes.build import Resources
from bench.recipes.plugins import own_modules
from bench.recipes.suite import ModelSpec
from bench.store.run_folder import Cell

_DEATHS = 3  # of workers over one cell
_LOOK = 0.5  # seconds between looks at who is there
_PATIENCE = 60.0  # seconds without a worker after which it is said


class DaskExecutor:
    """Workers of a cluster that compute cells; the counterpart of `bench.executors.processes.ProcessExecutor`.

    Parameters
    ----------
    encodings
        Of this process: what cells share is encoded here, once.
    resources
        As the heads get them on the workers.
    timeout
        Seconds that a fit, and a prediction, may take; then the worker is ended and the cell has failed.
    note
        Called with what a person should know.

    Raises
    ------
    UserError
        On entering, if no scheduler answers or a worker has other versions.
    """

    def __init__(
        self,
        plan: Plan,
        models: dict[str, ModelSpec],
        data: Data,
        encodings: Encodings,
        resources: Resources,
        seed: int,
        *,
        timeout: float | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.tickets = Tickets(models, data, encodings, resources, seed)
        self.data, self.encodings, self.resources, self.seed, self.models = data, encodings, resources, seed, models
        self.timeout = timeout
        self.note = note
        self.hands: dict[str, Hand] = {}
        self.refused: dict[str, str] = {}
        self.deaths: Counter[Cell] = Counter()
        self.last_seen = time.monotonic()
        self._stack = ExitStack()

    def __enter__(self) -> DaskExecutor:
        threads, gpu = environment.threads(), bool(environment.gpu())
        with ExitStack() as stack:
            client = stack.enter_context(connected(self.plan, threads=threads, gpu=gpu))
            self.jobs = Jobs(self.plan.queue, client.cluster, self.note)
            self.office = Office(client, secrets.token_hex(4), self._job(), timeout=self.timeout)
            stack.callback(self._dismiss)
            versions.check_all(client)
            client.subscribe_topic(f"xraybench-{self.office.run}", self._heard)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def computed(
        self, cells: list[Cell], starts: Callable[[Cell], None], epoch: Callable[[dict[str, float]], None]
    ) -> Iterator[tuple[Cell, CellResult]]:
        """Give every cell when it is done.

        Raises
        ------
        ClusterLostError
            If the scheduler is gone, or no job of the queue is left.
        UserError
            If no worker can be used, or a cell says that the suite is wrong.
        """
        threading.Thread(target=self._prepare, args=(cells,), daemon=True).start()
        left, looked = len(cells), 0.0
        while left:
            if time.monotonic() - looked > _LOOK:
                self._look()
                looked = time.monotonic()
            match self._next():
                case Started(cell):
                    starts(cell)
                case dict() as record:
                    epoch(record)
                case BaseException() as error:
                    raise error
                case Refused(address, reason):
                    self._refuse(address, reason)
                case Died(ticket, where, fresh):
                    self._look()  # if it was the scheduler that went, nobody died
                    failed = self._died(ticket, where, fresh=fresh)
                    if failed:
                        left -= 1
                        yield ticket.cell, failed
                case (Cell() as cell, CellResult() as result):
                    left -= 1
                    yield cell, result
                case Done(ticket, returned):
                    self.jobs.has_result()
                    left -= 1
                    save = None if returned.files is None else Files(returned.files)
                    yield ticket.cell, CellResult(returned.record, returned.predictions, save)
                case Spoilt(cell, reason):
                    left -= 1
                    yield cell, self._failure(cell, reason)

    def _next(self) -> Any:
        try:
            return self.office.events.get(timeout=_LOOK)
        except queue.Empty:
            return None

    def _prepare(self, cells: list[Cell]) -> None:
        """Encode what cells share and lay them on the pile; on this machine alone before the first, so that encoding has it to itself."""
        office, ready = self.office, []
        for cell in cells:
            try:
                ticket = self.tickets.ticket(cell)
            except Exception:  # noqa: BLE001 - the cell meets the same error here and makes a record of it
                office.events.put(self._here(cell))
                continue
            ready.append(ticket)
            if not self.plan.local:
                office.pile.add(ready.pop())
        for ticket in ready:
            office.pile.add(ticket)

    def _here(self, cell: Cell) -> tuple[Cell, CellResult] | Exception:
        spec = self.models[cell.model]
        try:
            return cell, Runner(cell, spec, self.data, self.encodings, self.encodings.resources, self.seed).result()
        except Exception as error:  # noqa: BLE001 - raised where the results are taken
            return error

    def _look(self) -> None:
        """See who is there, and put a hand to every worker that is new."""
        client = self.office.client
        try:
            if client.status != "running":
                raise OSError(f"the connection is {client.status}")
            there = frozenset(client.nthreads())
        except Exception as error:
            raise ClusterLostError(f"the scheduler is gone ({one_line(error, 200)})") from error
        self.office.alive = there
        self.jobs.look()
        self.refused = {address: why for address, why in self.refused.items() if address in there}
        for address in sorted(there):
            hand = self.hands.get(address)
            if address not in self.refused and (hand is None or not hand.is_alive()):
                self.hands[address] = Hand(self.office, address, self._free_number(there), self._total)
                self.hands[address].start()
        self._wait_for(there)

    def _free_number(self, there: frozenset[str]) -> int:
        """Smallest number that no living worker has: one that is started anew takes that of the dead."""
        taken = {hand.number for address, hand in self.hands.items() if address in there and hand.is_alive()}
        return next(k for k in range(1, len(taken) + 2) if k not in taken)

    def _total(self) -> int:
        """Workers that are there; not less than the largest number among them."""
        return max([len(self.office.alive), *(hand.number for hand in self.hands.values() if hand.is_alive())])

    def _wait_for(self, there: frozenset[str]) -> None:
        if there - self.refused.keys():
            self.last_seen = time.monotonic()
        elif there:
            raise UserError(f"no worker can be used: {next(iter(self.refused.values()))}")
        elif time.monotonic() - self.last_seen > _PATIENCE:
            self.last_seen = time.monotonic()
            self.note(f"no worker is there: {self.jobs.explained()} (Ctrl-C ends; the same command goes on)")

    def _refuse(self, address: str, reason: str) -> None:
        self.refused[address] = f"worker {address}: {reason}"
        self.note(f"worker {address}: {reason}: it gets no cells")

    def _died(self, ticket: Any, where: str, *, fresh: bool) -> CellResult | None:
        """Lay the cell back; or after three deaths the record of its failure.

        The end of a job is its cell's fault only if the cell had the whole walltime.
        """
        cell = ticket.cell
        self.deaths[cell] += self.plan.queue is None or fresh
        if self.deaths[cell] < _DEATHS:
            self.note(f"{cell.name}: {where} died over it: it is computed again")
            self.office.pile.add(ticket)
            return None
        return self._failure(
            cell,
            f"its worker died three times (last: {where}): out of memory, perhaps: give each worker more{_walltime(self.plan)}",
        )

    def _failure(self, cell: Cell, reason: str) -> CellResult:
        spec = self.models[cell.model]
        return Runner(cell, spec, self.data, self.encodings, self.resources, self.seed).failure(reason)

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        """What a worker says of its cell; called by the client's own thread."""
        said = event[1]
        if said["kind"] == "begun":
            self.office.begun[said["cell"]] = time.monotonic()
        else:
            self.office.events.put(said["facts"])

    def _job(self) -> Job:
        bare = replace(self.data, images=np.empty((0, 1, 1), np.uint8), held_out=None)
        resources = replace(self.resources, on_epoch=None)
        shape, digest = self.data.images.shape, self.encodings.digest
        return Job(bare, shape, digest, resources, self.seed, self.models, own_modules(self.models))

    def _dismiss(self) -> None:
        self.office.pile.close()
        if self.office.client.status == "running":
            with suppress(Exception):  # a worker that is gone needs not be told
                self.office.client.run(worker.leave, self.office.run, on_error="ignore")


def _walltime(plan: Plan) -> str:
    limit = plan.queue.walltime if plan.queue else None
    return f"; or longer than the walltime of a job ({limit})" if limit else ""


@dataclass(frozen=True)
class Files:
    """Writes a model's files as they came."""

    files: dict[str, bytes]

    def __call__(self, target: Path) -> None:
        for name, content in self.files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
