"""Several data sets as one, to train on all of them: a table of files, labels and patients in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from radiographs.disk import write_whole
from radiographs.sources import Hints, open_source

from bench.errors import UserError
from bench.study.plan import DataSet

_SEPARATOR = "|"


def source(data: Sequence[DataSet], name: str, cache: Path) -> tuple[str, Hints]:
    """Path and hints of one data set, or of a table that joins several.

    The table names files by their absolute paths and stays in the cache; results have pseudonyms.

    Raises
    ------
    SourceError
        If a data set cannot be listed.
    UserError
        If a class cannot stand in the table.
    """
    if len(data) == 1:
        return data[0].path, data[0].hints
    table = pd.concat([_rows(each) for each in data], ignore_index=True)
    text = table.to_csv(index=False, lineterminator="\n")
    path = cache / "pools" / hashlib.sha256(text.encode()).hexdigest()[:16] / f"{name}.csv"
    if not path.exists():
        write_whole(path, text)
    return str(path), Hints("file", "labels", "patient", _SEPARATOR, allow_outside=True)


def _rows(data: DataSet) -> pd.DataFrame:
    listing = open_source(Path(data.path), data.hints)
    items = listing.items
    for name in {label for labels in items["labels"] for label in labels}:
        if _SEPARATOR in name or name != name.strip():
            raise UserError(f"{data.path}: class {name!r}: give it another name below classes, without {_SEPARATOR!r}")
    return pd.DataFrame(
        {
            "file": [str((listing.root / file).resolve()) for file in items["file"]],
            "labels": items["labels"].map(_SEPARATOR.join),
            "patient": f"{data.name} " + items["group"],
        }
    )
