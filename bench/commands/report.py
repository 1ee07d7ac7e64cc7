"""The commands on finished runs: ``bench report``, ``verify``, ``compare`` and ``cite``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bench.errors import UserError
from bench.terminal.console import err, out


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN ...]",
            help="Run folder, or a study's; or one run for each of several data sets. Default: the latest below runs/.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="report.html: one file that opens offline.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Tables as CSV.")] = False,
    md: Annotated[bool, typer.Option("--md", help="Tables as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Tables as LaTeX (booktabs).")] = False,
    reference: Annotated[
        str | None, typer.Option(help="Hold every model against this one too.", show_default=False)
    ] = None,
    alpha: Annotated[float, typer.Option(help="Claim a difference where the adjusted p is below.")] = 0.05,
    rope: Annotated[float, typer.Option(help="Differences within ± this mean nothing in practice.")] = 0.01,
    figures: Annotated[
        str | None, typer.Option(help="Figures for a paper: pdf,svg,png. At the width of one column or two.")
    ] = None,
    output: Annotated[Path, typer.Option("--out", help="Folder for the report of several data sets.")] = Path("report"),
) -> None:
    """Turn a run folder into tables, curves and one HTML file. CSV tables come with the page, and without any option.

    With runs of several data sets: ranks of the models they share, with the tests that fit.
    """
    from reports.comparison.pairwise import TestSettings
    from reports.figures.files import parse_formats
    from reports.runs.results import load

    settings = TestSettings(alpha, rope, reference)
    formats = {"html": html, "csv": csv or html or not (md or latex or figures), "md": md, "latex": latex}
    formats["figures"] = parse_formats(figures)
    if folders and len(folders) > 1:
        from reports.pages.across import write_across

        words, paths = write_across([load(folder) for folder in folders], output, **formats, settings=settings)
        out.print(escape("\n".join(words)))
    elif folders and (folders[0] / "study.json").is_file():
        from reports.studies.report import write_study

        words, paths = write_study(folders[0], **formats, settings=settings)
        out.print(escape("\n".join(words)))
    else:
        from reports.pages.report import write
        from reports.pages.terminal import summary_table

        results = load(folders[0] if folders else _latest_run())
        out.print(summary_table(results, out.width))
        paths = write(results, **formats, settings=settings)
    drawn = [path for path in paths if path.parent.name == "figures"]
    for path in paths[: len(paths) - len(drawn)]:
        out.print(f"wrote {escape(str(path))}")
    if drawn:
        out.print(f"wrote {len(drawn) - 1} figures and their captions in {escape(str(drawn[0].parent))}")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    table: Annotated[
        Path | None,
        typer.Argument(metavar="[TABLE]", help="A .csv, .md or .tex table of bench report.", show_default=False),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="As it was for the report.", show_default=False)] = None,
    alpha: Annotated[float, typer.Option(help="As it was for the report.")] = 0.05,
    rope: Annotated[float, typer.Option(help="As it was for the report.")] = 0.01,
    digest: Annotated[str | None, typer.Option(help="Of the folder, as it was published.", show_default=False)] = None,
) -> None:
    """Check a run folder, and compute every number of a published table again. Exit 1 if anything differs, or is not there to be checked."""
    from bench.inspection.verify import verify as check
    from reports.comparison.pairwise import TestSettings

    raise typer.Exit(check(folder, table, TestSettings(alpha, rope, reference), out, digest))


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN ...", help="Run folders; the first is the base.")],
    alpha: Annotated[float, typer.Option(help="Intervals cover 1 - alpha.")] = 0.05,
) -> None:
    """Show what differs between runs (data, splits, parameters, versions, hardware) and what that did to the scores."""
    from bench.inspection.compare import compare as print_comparison
    from reports.comparison.pairwise import TestSettings

    if len(folders) < 2:
        raise UserError("bench compare: give two run folders or more")
    print_comparison(folders, TestSettings(alpha), out)


def cite(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="Run folder. Without: the software alone.", show_default=False),
    ] = None,
) -> None:
    """Print BibTeX of everything that a run used; write it, a methods paragraph and two checklists under RUN/report."""
    from reports.citation.bibliography import bibtex

    if folder is None:
        typer.echo(bibtex(None))
        return
    from reports.comparison.pairwise import TestSettings
    from reports.pages.report import write_citations
    from reports.runs.results import load

    results = load(folder)
    typer.echo(bibtex(results))
    for path in write_citations(results, TestSettings()):
        err.print(f"wrote {escape(str(path))}")


def _latest_run() -> Path:
    runs = sorted(Path("runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise UserError("no run below runs/: give a run folder, or begin with: bench run --all")
    return runs[-1].parent
