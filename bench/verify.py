"""``bench verify``: does a run folder hold together, and does a published table follow from it?"""

from __future__ import annotations

from pathlib import Path

from radiographs import splits as splitting
from rich.console import Console
from rich.text import Text

from reports.evaluation import evaluate
from reports.pairwise import Level
from reports.results import load
from reports.verification import check_labels, check_table

_MOST = 50  # differences that are listed


def verify(folder: Path, table: Path | None, level: Level, console: Console) -> int:
    """Check digests, labels and, if one is given, every number of a table; return 0 if all is right, else 1.

    Loading checks the checksum of every prediction file.

    Raises
    ------
    reports.results.ResultsError
        If the run folder or the table cannot be read, or a prediction file does not match its checksum.
    """
    results = load(folder)
    wrong = check_labels(results)
    digest = splitting.digest(results.splits)
    if digest != results.run["splits"]["digest"]:
        wrong.append(
            f"splits.parquet has the digest {digest[:12]}, run.json says {results.run['splits']['digest'][:12]}"
        )
    said = [f"{folder}: {len(results.predictions)} prediction files match their checksums"]
    if not wrong:
        said.append(f"labels and splits {digest[:12]} are those that the run says")
    if table:
        finding = check_table(evaluate(results), table, level)
        wrong += finding.wrong
        said.append(f"{table}: {finding.checked} cells computed again, {len(finding.wrong)} differ")
    for line in said:
        console.print(Text(line))
    for line in wrong[:_MOST]:
        console.print(Text(f"  {line}", style="red"))
    if len(wrong) > _MOST:
        console.print(Text(f"  and {len(wrong) - _MOST} more"))
    return 1 if wrong else 0
