"""``bench verify``: does a run folder hold together, and does a published table follow from it?"""

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
    """Check a run folder and, if one is given, every number of a table; return 0 if all of it was checked and is right, else 1.

    Parameters
    ----------
    digest
        Of the folder, as it was published.

    Raises
    ------
    reports.runs.results.ResultsError
        If the run folder or the table cannot be read, or a file does not match its checksum.
    """
    results = load(folder)
    wrong, left_out = contradictions(results), unchecked(results)
    said = [f"{folder}: {len(results.predictions)} prediction files match their checksums"]
    if not wrong:
        said.append(f"labels and splits {results.run['splits']['digest'][:12]} are those that the run says")
    found = folder_digest(results.path)
    said.append(f"digest of the folder: {found}")
    if digest is not None and digest != found:
        wrong.append(f"--digest {digest}: the folder has another: it is not the one that was published")
    if table:
        finding = check_table(evaluate(results), table, settings)
        wrong += finding.wrong
        left_out += finding.unchecked
        none = "" if finding.checked else ": there is no row to compare"
        said.append(f"{table}: {finding.checked} cells computed again, {len(finding.wrong)} differ{none}")
    for line in said:
        console.print(Text(line))
    _list(console, wrong, "", "red")
    _list(console, left_out, "not checked: ", "yellow")
    return 1 if wrong or left_out else 0


def _list(console: Console, lines: list[str], begin: str, style: str) -> None:
    for line in lines[:_MOST]:
        console.print(Text(f"  {begin}{line}", style=style))
    if len(lines) > _MOST:
        console.print(Text(f"  {begin}and {len(lines) - _MOST} more"))
