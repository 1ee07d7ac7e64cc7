"""The command ``bench data get``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.terminal.console import out


def get(
    name: Annotated[str, typer.Argument(help="Known data set (bench list datasets), or a card file.")],
    output: Annotated[Path | None, typer.Option("--out", help="Folder to make. Default: the data set's name.")] = None,
) -> None:
    """Download a data set if its licence allows; otherwise print the steps to get it."""
    from bench.data.download import get_data

    raise typer.Exit(get_data(name, output, out))
