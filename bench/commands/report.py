"""The command ``bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Alpha, Reference, Rope
from bench.terminal.console import out


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN",
            help="Run folder, or a study's; or one run for each of several data sets. Default: the latest below runs/.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Write report.html: one file that opens offline.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write the tables as CSV.")] = False,
    md: Annotated[bool, typer.Option("--md", help="Write the tables as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Write the tables as LaTeX (booktabs).")] = False,
    reference: Reference = None,
    alpha: Alpha = 0.05,
    rope: Rope = 0.01,
    figures: Annotated[
        str | None, typer.Option(help="Write figures for a paper: pdf,svg,png. One column wide, or two.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report of several data sets. Default: report.")
    ] = None,
) -> None:
    """Turn a run folder into tables, curves and one HTML file. Tables as CSV come with the page, and by default.

    With runs of several data sets: ranks of the models they share, with the tests that apply.
    """
    from bench.inspection.reporting import Formats, write_report
    from reports.comparison.pairwise import TestSettings

    formats = Formats(html=html, csv=csv, md=md, latex=latex, figures=figures)
    write_report(folders or [], formats, TestSettings(alpha, rope, reference), output, out)
