"""``bench splits``: the folds of a data set as a file that others can use, without running anything."""

from __future__ import annotations

from pathlib import Path

from radiographs.sources import Hints
from radiographs.splits import SplitsError, write_splits
from rich.console import Console
from rich.text import Text

from bench import environment
from bench.data import prepare
from bench.recipes.suite import load_suite
from bench.terminal.progress import Progress


def publish_splits(
    data: str, hints: Hints, out: Path, *, folds: int, repeats: int, seed: int, limit: int | None, console: Console
) -> None:
    """Make the splits that ``bench run`` would make, and write them.

    Raises
    ------
    SourceError, SplitsError
        If the data cannot be used or split as asked, or the file cannot be written.
    """
    if out.suffix.lower() not in (".parquet", ".csv", ".json"):
        raise SplitsError(f"--out {out}: splits are written to .parquet, .csv or .json files")
    progress, cache = Progress(console), environment.cache_folder()
    listing = prepare.find_data(data, hints, cache, progress)
    suite = load_suite("quick", {})
    suite = suite.model_copy(update={"cv": suite.cv.model_copy(update={"folds": folds, "repeats": repeats})})
    prepared = prepare.prepare(listing, suite, cache, limit=limit, splits_file=None, seed=seed, progress=progress)
    progress.note(prepare.describe_dataset(prepared))
    for note in prepared.notes:
        progress.note(f"  note: {note}")
    write_splits(prepared.data.splits, out)
    console.print(
        Text(
            f"wrote {out}: {folds} folds x {repeats}, seed {seed}, SHA-256 {prepared.data.splits_digest}. Use it with: bench run --splits {out}"
        )
    )
