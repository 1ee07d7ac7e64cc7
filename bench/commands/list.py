"""The command ``bench list``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from bench.terminal.console import out


class Kind(StrEnum):
    """What ``bench list`` lists."""

    models = "models"
    datasets = "datasets"
    suites = "suites"
    runs = "runs"


def list_(what: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List models, data sets, suites or runs."""
    from bench.inspection import listing

    getattr(listing, what.value)(out)
