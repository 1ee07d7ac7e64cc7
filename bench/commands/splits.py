"""The command ``bench splits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Source, SourceOptions, with_option_groups
from bench.errors import UserError
from bench.terminal.console import out


@with_option_groups
def splits(
    data: Source,
    output: Annotated[Path, typer.Option("--out", help="File to write: .json, .csv or .parquet.")] = Path(
        "splits.json"
    ),
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    repeats: Annotated[int, typer.Option(help="Repeats with different folds.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed that decides between equally good splits.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use at most this many images, drawn by patient.")] = None,
    *,
    source: SourceOptions,
) -> None:
    """Publish leak-free splits without running anything; bench run --splits FILE uses them."""
    from bench.data.publish import publish_splits

    if folds < 2:
        raise UserError(f"--folds {folds}: give 2 or more")
    publish_splits(data, source.hints(), output, folds=folds, repeats=repeats, seed=seed, limit=limit, console=out)
