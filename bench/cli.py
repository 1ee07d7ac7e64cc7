"""The command line. Heavy libraries are imported inside the commands, so that ``bench --help`` is instant."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from bench.commands import data as data_commands
from bench.commands import predict as deploy_commands
from bench.commands import report as report_commands
from bench.commands import weights as weights_command
from bench.commands.audit import audit
from bench.commands.explain import explain
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
from bench.commands.serve import serve
from bench.commands.study import study
from bench.commands.tune import tune
from bench.terminal.console import WarningHandler, err, open_streams, out, say_error, silence_broken_pipe

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its formatting takes longer to load than everything else together
    help="Classical vision against deep learning on radiographs.",
)
app.add_typer(data_commands.app, name="data")
app.add_typer(weights_command.app, name="weights")


class Device(StrEnum):
    """Where networks and boosters compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class What(StrEnum):
    """What ``bench list`` lists."""

    models = "models"
    datasets = "datasets"
    suites = "suites"
    runs = "runs"


@app.command()
def run(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models of the suite; or --all.", show_default=False)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every model of the suite.")] = False,
    data: Annotated[
        str | None,
        typer.Option(help="Folder, .csv table, card, or a known data set's name. Default: simulated radiographs."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Suite by name or .toml file. Default: quick without a GPU, standard with one.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/DATA-SUITE.")] = None,
    folds: Annotated[int | None, typer.Option(help="Folds of the cross-validation (the suites have 5).")] = None,
    repeats: Annotated[int | None, typer.Option(help="Repeats with other folds (the suites have 1).")] = None,
    seed: Annotated[int, typer.Option(help="Decides splits, initial weights, augmentation.")] = 0,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="Use a published splits file (.parquet, .csv, .json), or folders: the train, val and test folders of the data."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every model that has epochs.")] = None,
    device: Annotated[Device, typer.Option(help="Where networks compute.")] = Device.auto,
    weights_dir: Annotated[
        Path | None, typer.Option(envvar="XRAYBENCH_WEIGHTS", help="Folder with BACKBONE-*.safetensors or .pth files.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download weights.")] = False,
    limit: Annotated[int | None, typer.Option(help="Use at most so many images, drawn by patient.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE changed in the suite, such as preprocessing.denoise=median."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Cells fitted side by side, with the cores divided; their fit times are marked.")
    ] = 1,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that a cell may fit, and predict, before it has failed.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Compute cells on the workers of a Dask scheduler, such as tcp://HOST:8786.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="local[:N], or a .toml file for SLURM, PBS, LSF, SGE or HTCondor: docs/cluster.md."),
    ] = None,
    holdout: Annotated[
        float | None, typer.Option(help="Share of the patients that no fold sees, for one last test of every model.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="The same with a data set of its own: folder, table or card.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Keep small pictures in the run folder, for the report.")
    ] = True,
    mlflow: Annotated[
        str | None, typer.Option(help="Log the run to this MLflow server, such as http://HOST:5000.")
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
    """Train and test models on identical, leak-free folds. The same command again does only what is missing."""
    from bench.session.run import Request, run_session

    if not models and not all_:
        raise _wrong("name models to run, or give --all; see: bench list models")
    request = Request(
        models=tuple(models or ()),
        data=data,
        suite=suite,
        out=output,
        folds=folds,
        repeats=repeats,
        seed=seed,
        splits=splits,
        epochs=epochs,
        device=device.value,
        weights_dir=weights_dir,
        offline=offline,
        limit=limit,
        settings=tuple(settings or ()),
        pictures=pictures,
        jobs=jobs,
        timeout=timeout,
        scheduler=scheduler,
        cluster=cluster,
        holdout=holdout,
        test=test,
        mlflow=mlflow,
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
    raise typer.Exit(run_session(request, out))


@app.command(name="list")
def list_(what: Annotated[What, typer.Argument(help="models, datasets, suites or runs")]) -> None:
    """List models, data sets, suites or runs."""
    from bench.inspection import listing

    {
        What.models: listing.models,
        What.datasets: listing.datasets,
        What.suites: listing.suites,
        What.runs: listing.runs,
    }[what](out)


app.command()(tune)
app.command()(study)
app.command()(data_commands.splits)
for _command in (report_commands.report, report_commands.verify, report_commands.compare, report_commands.cite):
    app.command()(_command)
for _command in (deploy_commands.export, deploy_commands.predict, audit, explain, serve):
    app.command()(_command)


@app.command()
def pretrain(
    backbone: Annotated[str, typer.Argument(help="Architecture by name, such as squeezenet1_0 or resnet18.")],
    phantom_: Annotated[bool, typer.Option("--phantom", help="On simulated radiographs (synthetic).")] = False,
    folder: Annotated[Path, typer.Option("--out", help="Weights folder; then use it as --weights-dir.")] = Path(
        "weights"
    ),
    n: Annotated[int, typer.Option("--n", help="Number of images.")] = 4000,
    epochs: Annotated[int, typer.Option(help="At most so many; the best on a tenth of the patients is kept.")] = 10,
    side: Annotated[int, typer.Option(help="Side of the images that the network sees, in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Of the images and of the training.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
) -> None:
    """Train a backbone from random numbers, into a file that --weights-dir finds."""
    from bench.session.pretrain import pretrain_on_phantoms

    if not phantom_:
        raise _wrong("bench pretrain: say what on; there is --phantom")
    if n < 20 or epochs < 1 or not 32 <= side <= 1024:
        raise _wrong(
            f"--n {n} --epochs {epochs} --side {side}: give at least 20 images, 1 epoch, and a side of 32 to 1024"
        )
    path = pretrain_on_phantoms(backbone, folder, n, epochs, side, seed, device.value, out)
    out.print(f"wrote {escape(str(path))}. Next: bench run --all --suite starts --weights-dir {escape(str(folder))}")


@app.command()
def doctor(
    weights_dir: Annotated[
        Path | None, typer.Option(envvar="XRAYBENCH_WEIGHTS", help="Weights folder to look into.")
    ] = None,
) -> None:
    """Show what this machine can do: packages, GPU, threads, cache, weights."""
    from bench.inspection.doctor import examine

    raise typer.Exit(examine(out, weights_dir))


@app.command()
def version() -> None:
    """Show the version."""
    import bench

    out.print(bench.__version__)


def _wrong(message: str) -> typer.Exit:
    say_error(message)
    return typer.Exit(2)


def main() -> NoReturn:
    """Run the command line: exit 0 done, 1 some cells failed, 2 wrong input, 130 interrupted."""
    # Waiting OpenMP threads sleep instead of spinning: on a machine that others use too, spinning made XGBoost ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("DO_NOT_TRACK", "true")  # MLflow and the Hugging Face hub would report their use
    # A script's background job starts with SIGINT ignored; a run can be stopped all the same.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    open_streams()
    logging.basicConfig(handlers=[WarningHandler()], level=logging.WARNING)
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence_broken_pipe()
    sys.exit(code)


def invoke(arguments: list[str]) -> int:
    """Exit code of a command; what a user can mend becomes one line on standard error."""
    from bench.errors import DiskError, cause, is_disk_error, one_line

    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        err.print("interrupted")
        return 130
    except BrokenPipeError:
        silence_broken_pipe()
        return 1
    except Exception as error:
        if isinstance(error, _usage_error()):
            error.show()
            return 2
        if isinstance(error, OSError) and (error.filename or is_disk_error(error)):
            say_error(cause(error))
            return 1 if is_disk_error(error) else 2
        if not _is_user_error(error):
            raise
        say_error(one_line(error, 10_000))
        return 1 if isinstance(error, DiskError) else 2


def _usage_error() -> type[Exception]:
    """Click's base of all usage errors; newer versions of Typer bring a click of their own."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _is_user_error(error: Exception) -> bool:
    """Whether an error is one of the rooms' own, all of which are one line for the user."""
    names = {"UserError", "SourceError", "SplitsError", "CardError", "UnreadableImageError", "ResultsError"}
    names |= {"NotInstalledError", "WeightsUnavailableError"}
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
