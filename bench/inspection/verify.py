"""``bench verify``: whether a run folder is consistent, and whether a published table follows from it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench.inspection.consistency import contradictions, folder_digest, unchecked
from reports.comparison.pairwise import TestSettings
from reports.runs.results import load
from reports.scores.evaluation import evaluate
from reports.tables.verification import check_table

_MOST = 50  # differences that are listed


def verify(
    folder: Path, table: Path | None, settings: TestSettings, console: Console, digest: str | None = None
) -> int:
    """Check a run folder and, if one is given, every number of a table.

    Parameters
    ----------
    folder : Path
        Run folder.
    table : Path or None
        A table of ``bench report``.
    settings : TestSettings
        As it was for the report.
    console : Console
        Where to print.
    digest : str, optional
        Published digest of the folder.

    Returns
    -------
    int
        0 if everything was checked and is correct, else 1.

    Raises
    ------
    reports.runs.results.ResultsError
        If the run folder or the table cannot be read, or a file does not match its checksum.
    """
    results = load(folder)
    wrong, left_out = contradictions(results), unchecked(results)
    lines = [f"{folder}: {len(results.predictions)} prediction files match their checksums"]
    if not wrong:
        lines.append(f"labels and splits {results.run['splits']['digest'][:12]} are those of the run")
    found = folder_digest(results.path)
    lines.append(f"digest of the folder: {found}")
    if digest is not None and digest != found:
        wrong.append(f"--digest {digest}: the digest differs: this is not the folder that was published")
    if table:
        finding = check_table(evaluate(results), table, settings)
        wrong += finding.wrong
        left_out += finding.unchecked
        note = "" if finding.checked else ": no row to compare"
        lines.append(f"{table}: {finding.checked} values recomputed, {len(finding.wrong)} differ{note}")
    for line in lines:
        console.print(Text(line))
    _list(console, wrong, "", "red")
    _list(console, left_out, "not checked: ", "yellow")
    return 1 if wrong or left_out else 0


def _list(console: Console, lines: list[str], begin: str, style: str) -> None:
    for line in lines[:_MOST]:
        console.print(Text(f"  {begin}{line}", style=style))
    if len(lines) > _MOST:
        console.print(Text(f"  {begin}and {len(lines) - _MOST} more"))
