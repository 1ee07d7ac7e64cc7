"""The command ``bench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import (
    ExecutionOptions,
    ExperimentOptions,
    Models,
    NetworkOptions,
    SourceOptions,
    command_line,
    with_option_groups,
)
from bench.errors import UserError
from bench.terminal.console import out


@with_option_groups
def run(
    models: Models = None,
    all_: Annotated[bool, typer.Option("--all", help="Run every model of the suite.")] = False,
    output: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/DATA-SUITE.")] = None,
    *,
    experiment: ExperimentOptions,
    test: Annotated[
        str | None, typer.Option(help="Data set for a final test of every model: folder, table or card.")
    ] = None,
    network: NetworkOptions,
    execution: ExecutionOptions,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Keep small pictures in the run folder, for the report.")
    ] = True,
    source: SourceOptions,
) -> None:
    """Train and test models on identical, leak-free folds. The same command again resumes: it computes only what is missing."""
    from bench.session.request import Request
    from bench.session.run import run_session

    if not models and not all_:
        raise UserError("name models to run, or give --all; see: bench list models")
    request = Request(
        models=tuple(models or ()),
        out=output,
        test=test,
        pictures=pictures,
        hints=source.hints(),
        command=command_line(),
        **experiment.values(),
        **network.values(),
        **execution.values(),
    )
    raise typer.Exit(run_session(request, out))
