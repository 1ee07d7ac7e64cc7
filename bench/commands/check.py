"""The command ``bench data check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Source, SourceOptions, with_option_groups
from bench.terminal.console import out


@with_option_groups
def check(
    data: Source,
    html: Annotated[Path | None, typer.Option(help="Write the page, with the pictures, to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all findings to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 for warnings as well.")] = False,
    folds: Annotated[int, typer.Option(help="Number of folds that every class should fill.")] = 5,
    splits: Annotated[
        Path | None,
        typer.Option(help="Search for duplicates across the parts of these splits; folders: train, val and test."),
    ] = None,
    *,
    source: SourceOptions,
) -> None:
    """Check a data set before anything is trained on it. Exits with code 1 if there are errors."""
    from bench.data.check import CheckRequest, check_data

    raise typer.Exit(check_data(CheckRequest(data, source.hints(), folds, splits, html, json, strict), out))
