"""The command line. Heavy libraries are imported inside the commands, so that ``bench --help`` is instant."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import NoReturn

import typer

from bench.commands import weights
from bench.commands.audit import audit
from bench.commands.check import check
from bench.commands.cite import cite
from bench.commands.compare import compare
from bench.commands.dictionary import dictionary
from bench.commands.doctor import doctor
from bench.commands.explain import explain
from bench.commands.export import export
from bench.commands.get import get
from bench.commands.list import list_
from bench.commands.phantom import phantom
from bench.commands.predict import predict
from bench.commands.pretrain import pretrain
from bench.commands.report import report
from bench.commands.run import run
from bench.commands.serve import serve
from bench.commands.splits import splits
from bench.commands.study import study
from bench.commands.tune import tune
from bench.commands.verify import verify
from bench.commands.version import version
from bench.errors import DiskError, cause, is_disk_error, is_user_error, one_line
from bench.terminal.console import WarningHandler, err, open_streams, say_error, silence_broken_pipe

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its formatting takes longer to load than everything else combined
    help="Compare classical vision with deep learning on radiographs.",
)
app.command()(run)
app.command(name="list")(list_)
for _command in (tune, study, splits, report, verify, compare, cite, export, predict, audit, explain, serve):
    app.command()(_command)
for _command in (pretrain, dictionary, doctor, version):
    app.command()(_command)

_data = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Check data sets, download them, or simulate one."
)
for _command in (phantom, get, check):
    _data.command()(_command)
app.add_typer(_data, name="data")
app.add_typer(weights.app, name="weights")


def main() -> NoReturn:
    """Run the command line: exit code 0 for success, 1 if some cells failed, 2 for wrong input, 130 if interrupted."""
    # Waiting OpenMP threads sleep instead of spinning: on a shared machine, spinning made XGBoost ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("DO_NOT_TRACK", "true")  # MLflow and the Hugging Face hub would report their use
    # A script's background job starts with SIGINT ignored; a run must still be stoppable.
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
    """Run a command and return its exit code; an error that a user can fix becomes one line on standard error."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        err.print("interrupted")
        return 130
    except BrokenPipeError:
        silence_broken_pipe()
        return 1
    except _usage_error() as error:
        error.show()  # pyright: ignore[reportAttributeAccessIssue] - of Click
        return 2
    except Exception as error:
        if isinstance(error, OSError) and (error.filename or is_disk_error(error)):
            say_error(cause(error))
            return 1 if is_disk_error(error) else 2
        if not is_user_error(error):
            raise
        say_error(one_line(error, 10_000))
        return 1 if isinstance(error, DiskError) else 2


def _usage_error() -> type[Exception]:
    """Return Click's base of all usage errors; newer versions of Typer bring a click of their own."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
