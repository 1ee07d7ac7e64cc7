"""One worker and the thread that looks after it: the next cell, what the cell lacks, the result, or the worker's death."""

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
from bench.cluster.tasks import Content, Ticket
from bench.cluster.worker import Job, Returned
from bench.errors import UserError, cause, is_disk_error
from bench.store.run_folder import Cell

_PIECE = 8_000_000  # bytes of a file that are sent at a time
_LOOK = 0.5  # seconds between looks at whether a worker is still alive


@dataclass(frozen=True)
class Started:
    """A worker was given a cell."""

    cell: Cell


@dataclass(frozen=True)
class Done:
    """A worker gave a result."""

    ticket: Ticket
    returned: Returned


@dataclass(frozen=True)
class Spoilt:
    """A cell that has failed for a reason that lies in it."""

    cell: Cell
    reason: str


@dataclass(frozen=True)
class Died:
    """A worker died over a cell; `fresh` if that was its first one."""

    ticket: Ticket
    worker: str
    fresh: bool


@dataclass(frozen=True)
class Refused:
    """A worker that cannot be used."""

    address: str
    reason: str


class Pile:
    """Cells that may be given out now."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, ticket: Ticket) -> None:
        """Lay a cell on the pile, below the others: one that killed a worker waits until they are done."""
        with self._changed:
            self._tickets.append(ticket)
            self._changed.notify_all()

    def take(self, *, gpu: bool, go_on: Callable[[], bool]) -> Ticket | None:
        """Wait for a cell that can be computed with or without a GPU; None when there is no more to do or the worker is not to go on."""
        with self._changed:
            while not self._closed and go_on():
                fitting = [t for t in self._tickets if gpu or not t.gpu]
                if fitting:
                    chosen = next((t for t in fitting if t.gpu), fitting[0])
                    self._tickets.remove(chosen)
                    return chosen
                self._changed.wait(_LOOK)
        return None

    def close(self) -> None:
        """Give out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass
class Office:
    """What all hands share."""

    client: Client
    run: str
    job: Job
    pile: Pile = field(default_factory=Pile)
    events: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    alive: frozenset[str] = frozenset()
    begun: dict[str, float] = field(default_factory=dict)  # when a cell last said that it fits or predicts, by name
    timeout: float | None = None

    def ask(self, address: str, function: Callable, *arguments: Any) -> Any:
        """Have a worker run a function beside its cells."""
        return self.client.run(function, self.run, *arguments, workers=[address])[address]


class Hand(threading.Thread):
    """Gives cells to one worker, one after another, for as long as it lives."""

    def __init__(self, office: Office, address: str, number: int, total: Callable[[], int]) -> None:
        super().__init__(daemon=True, name=f"worker {number}")
        self.office = office
        self.address = address
        self.number = number
        self.total = total
        self.done = 0

    @property
    def where(self) -> str:
        """Such as ``worker 2 of 8``: reports name no hosts."""
        return f"worker {self.number} of {self.total()}"

    def run(self) -> None:
        """Look after the worker until there is nothing more to do or it is gone."""
        try:
            wrong = versions.refusal(self.office.client, self.address)
            if wrong is None:
                hired = self.office.ask(self.address, worker.hire, self.office.job)
                while ticket := self.office.pile.take(gpu=hired.gpu, go_on=self._lives):
                    if not self._give(ticket):
                        return
                return
        except (OSError, TimeoutError, worker.NotHiredError) as error:
            if not is_disk_error(error):
                return  # it does not answer: it is gone, or the next look finds it again
            wrong = cause(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the others go on; it is said
            wrong = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if self._lives():
            self.office.events.put(Refused(self.address, wrong))

    def _lives(self) -> bool:
        return self.address in self.office.alive

    def _give(self, ticket: Ticket) -> bool:
        """Have one cell computed; whether the worker can be given another."""
        office = self.office
        try:
            for content in office.ask(self.address, worker.lacks, ticket.contents):
                self._send(content)
        except Exception:
            office.pile.add(ticket)  # it was not begun: nobody's fault but the worker's
            raise
        office.events.put(Started(ticket.cell))
        office.begun.pop(ticket.cell.name, None)
        future = office.client.submit(
            worker.compute,
            office.run,
            ticket,
            self.where,
            self.total(),
            key=f"{ticket.cell.name} {office.run} {time.monotonic_ns()}",
            workers=[self.address],
            allow_other_workers=False,
            resources={"GPU": 1} if ticket.gpu else None,
            pure=False,
        )
        return self._wait(ticket, future)

    def _send(self, content: Content) -> None:
        with Path(content.path).open("rb") as stream:
            for offset in range(0, max(content.size, 1), _PIECE):
                self.office.ask(self.address, worker.put, content, offset, stream.read(_PIECE))

    def _wait(self, ticket: Ticket, future: Future) -> bool:
        office, ready = self.office, threading.Event()
        future.add_done_callback(lambda _: ready.set())
        while not ready.wait(_LOOK):
            if not self._lives():
                future.cancel()
                office.events.put(self._death(ticket))
                return False
            if self._is_late(ticket.cell):
                return self._end(ticket)
        try:
            office.events.put(Done(ticket, future.result()))
            self.done += 1
            return True
        except UserError as error:
            office.events.put(error)
        except Exception as error:  # noqa: BLE001 - the worker's death comes as one of several
            return self._fault(ticket, error)
        return False

    def _fault(self, ticket: Ticket, error: Exception) -> bool:
        """What became of a cell that gave no result: its worker died, cannot write, or the cell itself is to blame."""
        kind = type(error).__name__
        if kind in ("KilledWorker", "CancelledError", "FutureCancelledError", "NotHiredError", "CommClosedError"):
            self.office.events.put(self._death(ticket))
            return False
        if is_disk_error(error):
            self.office.events.put(self._death(ticket))
            raise error
        self.office.events.put(Spoilt(ticket.cell, f"{kind}: {' '.join(str(error).split())[:500]}"))
        return True

    def _death(self, ticket: Ticket) -> Died:
        return Died(ticket, self.where, fresh=self.done == 0)

    def _is_late(self, cell: Cell) -> bool:
        begun = self.office.begun.get(cell.name)
        return None not in (self.office.timeout, begun) and time.monotonic() - begun > self.office.timeout

    def _end(self, ticket: Ticket) -> bool:
        limit = f"it took longer than --timeout {self.office.timeout:g} (seconds)"
        self.office.events.put(Spoilt(ticket.cell, limit))
        with suppress(Exception):  # it cannot answer any more
            self.office.client.run(worker.end, workers=[self.address])
        return False
