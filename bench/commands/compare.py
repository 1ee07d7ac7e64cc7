"""The command ``bench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UserError
from bench.terminal.console import out


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders; the first is the base.")],
    alpha: Annotated[float, typer.Option(help="Intervals cover 1 - alpha.")] = 0.05,
) -> None:
    """Show what differs between runs (data, splits, parameters, versions, hardware), and how the scores changed."""
    from bench.inspection.compare import compare as print_comparison
    from reports.comparison.pairwise import TestSettings

    if len(folders) < 2:
        raise UserError("bench compare: give two run folders or more")
    print_comparison(folders, TestSettings(alpha), out)
