"""The command ``bench verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Run
from bench.terminal.console import out


def verify(
    folder: Run,
    table: Annotated[
        Path | None,
        typer.Argument(metavar="TABLE", help="A .csv, .md or .tex table of bench report.", show_default=False),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="As given to bench report.", show_default=False)] = None,
    alpha: Annotated[float, typer.Option(help="As given to bench report.")] = 0.05,
    rope: Annotated[float, typer.Option(help="As given to bench report.")] = 0.01,
    digest: Annotated[str | None, typer.Option(help="Published digest of the folder.", show_default=False)] = None,
) -> None:
    """Check a run folder, and recompute every number of a published table.

    Exits with code 1 if anything differs or cannot be checked because it is missing.
    """
    from bench.inspection.verify import verify as check
    from reports.comparison.pairwise import TestSettings

    raise typer.Exit(check(folder, table, TestSettings(alpha, rope, reference), out, digest))
