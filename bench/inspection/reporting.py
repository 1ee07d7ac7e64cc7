"""``bench report`` and ``bench cite``: which report suits the folders, and which files were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from bench.errors import UserError
from reports.comparison.pairwise import TestSettings
from reports.figures.files import parse_formats
from reports.runs.results import load


@dataclass(frozen=True, kw_only=True)
class Formats:
    """What a report is written as.

    Attributes
    ----------
    html, csv, md, latex : bool
        A page; tables as CSV, Markdown or LaTeX. CSV comes with the page, and by default.
    figures : str or None
        Formats of figures for a paper, such as "pdf,svg".
    """

    html: bool = False
    csv: bool = False
    md: bool = False
    latex: bool = False
    figures: str | None = None

    def options(self) -> dict[str, Any]:
        """Return the formats as the writers of reports take them."""
        alone = not (self.md or self.latex or self.figures)
        return {
            "html": self.html,
            "csv": self.csv or self.html or alone,
            "md": self.md,
            "latex": self.latex,
            "figures": parse_formats(self.figures),
        }


def write_report(
    folders: Sequence[Path], formats: Formats, settings: TestSettings, out: Path | None, console: Console
) -> None:
    """Write the report of a run, of runs of several data sets, or of a study.

    Parameters
    ----------
    folders : sequence of Path
        Run folders, or one study's folder; none for the latest run below runs/.
    formats : Formats
        What to write.
    settings : TestSettings
        When a difference is claimed.
    out : Path, optional
        Folder for the report of several data sets; that of one run or study is written below its own folder.
    console : Console
        Where to print.

    Raises
    ------
    UserError
        If there is no run, or `out` is given for one run.
    reports.runs.results.ResultsError
        If a folder is not a run folder, or damaged.
    """
    if out is not None and len(folders) < 2:
        raise UserError("--out: is for several data sets; the report of one run or study is written to RUN/report")
    options = formats.options()
    if len(folders) > 1:
        from reports.pages.across import write_across

        words, paths = write_across(
            [load(folder) for folder in folders], out or Path("report"), **options, settings=settings
        )
        console.print(escape("\n".join(words)))
    elif folders and (folders[0] / "study.json").is_file():
        from reports.studies.report import write_study

        words, paths = write_study(folders[0], **options, settings=settings)
        console.print(escape("\n".join(words)))
    else:
        from reports.pages.report import write
        from reports.pages.terminal import summary_table

        results = load(folders[0] if folders else _latest_run())
        console.print(summary_table(results, console.width))
        paths = write(results, **options, settings=settings)
    _print_paths(paths, console)


def print_citations(folder: Path | None, console: Console, notes: Console) -> None:
    """Print BibTeX of the software, or of everything that a run used; write the run's citations, and name the files.

    Parameters
    ----------
    folder : Path or None
        Run folder; None for the software alone.
    console : Console
        Where to print BibTeX, and nothing else, so that it can be redirected into a file.
    notes : Console
        Where to print the names of files.
    """
    from reports.citation.bibliography import bibtex
    from reports.pages.report import write_citations

    if folder is None:
        console.out(bibtex(None), highlight=False)
        return
    results = load(folder)
    console.out(bibtex(results), highlight=False)
    for path in write_citations(results, TestSettings()):
        notes.print(f"wrote {escape(str(path))}")


def _print_paths(paths: Sequence[Path], console: Console) -> None:
    """Name the files, but only count the figures."""
    drawn = [path for path in paths if path.parent.name == "figures"]
    for path in paths[: len(paths) - len(drawn)]:
        console.print(f"wrote {escape(str(path))}")
    if drawn:
        console.print(f"wrote {len(drawn) - 1} figures and their captions in {escape(str(drawn[0].parent))}")


def _latest_run() -> Path:
    runs = sorted(Path("runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise UserError("no run below runs/: give a run folder, or start with: bench run --all")
    return runs[-1].parent
