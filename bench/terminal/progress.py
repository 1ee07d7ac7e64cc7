"""What the user sees while cells run: one live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

from bench.store.run_folder import Cell

_LAST = 8  # finished cells shown
_LINE = 10_240  # items of an unknown number per line without a terminal


class Progress:
    """Shows the cell now, its epoch, the time so far and left, and the last scores."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None
        self.finished: list[tuple[Cell, dict[str, Any], dict[str, float], float]] = []
        self.now = ""
        self.cells: list[Cell] = []
        self.begun = self.cell_begun = time.perf_counter()

    def note(self, text: str) -> None:
        """Print a permanent line."""
        self.console.print(Text(text))

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show the progress of a number of items; yield a function that takes the number done so far."""
        if not self.console.is_terminal:
            yield _Milestones(self.note, what, total)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with ProgressBar(*columns, console=self.console, transient=True) as progress:
            task: TaskID = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=done)

    @contextmanager
    def counting_open(self, what: str) -> Iterator[Callable[[int], None]]:
        """Show the progress of an unknown number of items; yield a function that takes the number done so far."""
        if not self.console.is_terminal:
            yield lambda done: self.note(f"{what}: {done}") if done % _LINE == 0 else None
            return
        columns = (TextColumn("{task.description}"), TextColumn("{task.completed}"), TimeElapsedColumn())
        with ProgressBar(*columns, console=self.console, transient=True) as progress:
            task: TaskID = progress.add_task(what, total=None)
            yield lambda done: progress.update(task, completed=done)

    @contextmanager
    def running(self, cells: list[Cell], kept: int) -> Iterator[None]:
        """Show the whole run; `kept` cells are in the folder already."""
        self.cells, self.begun = cells, time.perf_counter()
        if kept:
            self.note(f"{kept} cells are in the folder already; {len(cells)} to do")
        if not cells or not self.console.is_terminal:
            yield
            return
        with Live(
            self._picture(), console=self.console, refresh_per_second=4, get_renderable=self._picture
        ) as self.live:
            yield
        self.live = None

    def cell_starts(self, cell: Cell) -> None:
        """Show which cell is computed."""
        self.cell_begun = time.perf_counter()
        self.now = cell.name

    def epoch(self, record: dict[str, float]) -> None:
        """Show one epoch of a network."""
        text = f"epoch {record['epoch']:.0f}/{record['epochs']:.0f}: train loss {record['train_loss']:.3f}, valid loss {record['valid_loss']:.3f}"
        if self.live is None:
            self.note(f"          {self.now}: {text}, {record['seconds']:.0f} s")
        else:
            self.now = f"{self.now.split(' | ')[0]} | {text}"

    def cell_ends(self, cell: Cell, record: dict[str, Any], scores: dict[str, float]) -> None:
        """Show a finished cell."""
        self.finished.append((cell, record, scores, time.perf_counter() - self.cell_begun))
        if self.live is None:
            self.note(f"[{len(self.finished):>3}/{len(self.cells)}] {self._line(*self.finished[-1])} | {self._left()}")

    def _line(self, cell: Cell, record: dict[str, Any], scores: dict[str, float], seconds: float) -> str:
        found = (
            ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            or f"{record['status']}: {record['reason']}"
        )
        return f"{cell.name}: {found} ({seconds:.1f} s)"

    def _left(self) -> str:
        """Elapsed and remaining time; a future cell is assumed to take as long as its model's cells did, else as the mean cell did."""
        spent = time.perf_counter() - self.begun
        if not self.finished:
            return "time left: not known yet"
        lasted = {
            model: [f[3] for f in self.finished if f[0].model == model] for model in {f[0].model for f in self.finished}
        }
        mean = sum(map(sum, lasted.values())) / len(self.finished)
        left = sum(
            sum(lasted.get(c.model, [mean])) / len(lasted.get(c.model, [mean]))
            for c in self.cells[len(self.finished) :]
        )
        return f"{clock_face(spent)} so far, about {clock_face(left)} left"

    def _picture(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for cell, record, scores, seconds in self.finished[-_LAST:]:
            style = {"failed": "red", "skipped": "yellow"}.get(record["status"], "")
            table.add_row(Text(self._line(cell, record, scores, seconds), style=style))
        return Group(
            table,
            Text(f"cell {min(len(self.finished) + 1, len(self.cells))} of {len(self.cells)}: {self.now}", style="bold"),
            Text(self._left(), style="dim"),
        )


class _Milestones:
    """Prints a line after every tenth."""

    def __init__(self, note: Callable[[str], None], what: str, total: int) -> None:
        self.note = note
        self.what = what
        self.total = total
        self.next = 1

    def __call__(self, done: int) -> None:
        if done * 10 >= self.total * self.next:
            self.next = done * 10 // self.total + 1
            self.note(f"{self.what}: {done} of {self.total}")


def clock_face(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock_face(65.2)
    '1:05'
    """
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
