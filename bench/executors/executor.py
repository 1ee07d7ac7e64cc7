"""What computes cells: one after another, in processes of this machine, or on workers of a cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from bench.cells.record import CellResult
from bench.store.run_folder import Cell


class Executor(Protocol):
    """Computes cells and yields each with its result as soon as it is done, in any order.

    A cell that fails, takes too long or loses its process gets a record that says so, and the others are computed. Whatever was
    started for the cells has ended when the generator is exhausted or closed.
    """

    def run(self, cells: Sequence[Cell]) -> Generator[tuple[Cell, CellResult]]:
        """Give every cell with its result."""
        ...
