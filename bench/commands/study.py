"""The command ``bench study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import ExecutionOptions, NetworkOptions, command_line, with_option_groups
from bench.terminal.console import out


@with_option_groups
def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The plan: docs/studies.md.")],
    output: Annotated[Path | None, typer.Option("--out", help="Folder of the study. Default: studies/NAME.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Print the list of runs and stop.")] = False,
    *,
    network: NetworkOptions,
    execution: ExecutionOptions,
) -> None:
    """Run several data sets, suites, variants and seeds as one plan, with one report. The same command again resumes."""
    from bench.session.request import Request
    from bench.study.session import study_session

    base = Request(command=command_line(), **network.values(), **execution.values())
    raise typer.Exit(study_session(file, output, base, out, dry=dry))
