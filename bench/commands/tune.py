"""The command ``bench tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import (
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
def tune(
    models: Models = None,
    all_: Annotated[bool, typer.Option("--all", help="Tune every model of the suite that has a search space.")] = False,
    trials: Annotated[
        int | None,
        typer.Option(min=2, help="Budget of every model in every fold; the first trial is the suite's own values."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Budget in seconds of fitting and predicting, instead of trials.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Folder for trials and result. Default: tuned/DATA-SUITE.")
    ] = None,
    *,
    experiment: ExperimentOptions,
    network: NetworkOptions,
    source: SourceOptions,
) -> None:
    """Choose hyper-parameters in each fold, on its validation part alone, with one budget for all models.

    The result is a suite file for bench run. The same command again resumes.
    """
    if not models and not all_:
        raise UserError("name models to tune, or give --all; see: bench list models")
    from bench.session.request import Request
    from bench.tuning.request import tune as tune_models

    request = Request(
        models=tuple(models or ()),
        out=output,
        hints=source.hints(),
        command=command_line(),
        **experiment.values(),
        **network.values(),
    )
    raise typer.Exit(tune_models(request, trials, seconds, out))
