"""The command ``bench study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

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
    from bench.study.plan import read_study
    from bench.study.session import run_study
    from reports.studies.report import write_study

    base = Request(command=command_line(), **network.values(), **execution.values())
    folder = output or Path("studies") / read_study(file).name
    code = run_study(file, folder, base, out, dry=dry)
    if dry or code == 130:
        raise typer.Exit(code)
    words, paths = write_study(folder, html=True, csv=True)
    out.print(escape("\n" + "\n".join(words)))
    for path in paths:
        out.print(f"wrote {escape(str(path))}")
    raise typer.Exit(code)
