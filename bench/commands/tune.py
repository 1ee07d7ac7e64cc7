"""The command ``bench tune``. Heavy libraries are imported inside it."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import (
    AllowOutside,
    FileColumn,
    Frames,
    GroupColumn,
    KeepIdentifiers,
    LabelColumn,
    LabelSeparator,
    MaxMegapixels,
    WhichFrames,
    WhichLayout,
    hints,
)
from bench.errors import UserError
from bench.terminal.console import out


def tune(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models of the suite; or --all.", show_default=False)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model of the suite that has a search space.")] = False,
    data: Annotated[
        str | None,
        typer.Option(help="Folder, .csv table, card, or a known data set's name. Default: simulated radiographs."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Suite by name or .toml file. Default: quick without a GPU, standard with one.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=2, help="Budget of every model in every fold; the first trial is the suite's own.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Budget in seconds of fitting and predicting, instead of trials.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Folder for trials and result. Default: tuned/DATA-SUITE.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Folds of the cross-validation (the suites have 5).")] = None,
    repeats: Annotated[int | None, typer.Option(help="Repeats with other folds (the suites have 1).")] = None,
    seed: Annotated[int, typer.Option(help="Decides splits, initial weights, and what is tried.")] = 0,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="Use a published splits file (.parquet, .csv, .json), or folders: the train, val and test folders of the data."
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(help="Share of the patients that no fold sees, as the run that follows will hold out."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every model that has epochs.")] = None,
    device: Annotated[str, typer.Option(metavar="[auto|cpu|cuda]", help="Where networks compute.")] = "auto",
    weights_dir: Annotated[
        Path | None, typer.Option(envvar="XRAYBENCH_WEIGHTS", help="Folder with BACKBONE-*.safetensors or .pth files.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download weights.")] = False,
    limit: Annotated[int | None, typer.Option(help="Use at most so many images, drawn by patient.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE changed in the suite, such as preprocessing.denoise=median."),
    ] = None,
    file_column: FileColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    label_separator: LabelSeparator = None,
    layout: WhichLayout = None,
    frames: WhichFrames = Frames.first,
    allow_outside: AllowOutside = False,
    max_megapixels: MaxMegapixels = 100,
    keep_identifiers: KeepIdentifiers = False,
) -> None:
    """Choose hyper-parameters in each fold, on its validation part alone, with one budget for all models.

    The result is a suite file for bench run. The same command again goes on where it stopped.
    """
    if not models and not all_:
        raise UserError("name models to tune, or give --all; see: bench list models")
    if (trials is None) == (seconds is None):
        raise UserError("give --trials N or --seconds S: the budget of every model in every fold")
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: give auto, cpu or cuda")
    if find_spec("optuna") is None:
        raise UserError("bench tune needs the package optuna: pip install 'xraybench[tune]'")
    from bench.session.run import Request
    from bench.tuning.session import tune_session
    from bench.tuning.study import Budget

    request = Request(
        models=tuple(models or ()),
        data=data,
        suite=suite,
        out=output,
        folds=folds,
        repeats=repeats,
        seed=seed,
        splits=splits,
        holdout=holdout,
        epochs=epochs,
        device=device,
        weights_dir=weights_dir,
        offline=offline,
        limit=limit,
        settings=tuple(settings or ()),
        hints=hints(
            file_column,
            label_column,
            group_column,
            label_separator,
            frames,
            layout=layout,
            allow_outside=allow_outside,
            max_megapixels=max_megapixels,
            keep_identifiers=keep_identifiers,
        ),
        command=shlex.join(["bench", *sys.argv[1:]]),
    )
    raise typer.Exit(tune_session(request, Budget(trials, seconds), out))
