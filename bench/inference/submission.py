"""Answers as a competition wants them: UNIFESP's ``SOPInstanceUID,Target``, with the numbers of the parts separated by blanks."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from radiographs.cards import known_cards
from radiographs.disk import write_file
from radiographs.formulas import neutral

from bench.inference.package import PackageError
from bench.inference.rows import SEPARATOR

_CARD = "unifesp"
_ENDING = "-c"  # of the competition's file names, after the instance


def class_numbers(classes: Iterable[str]) -> dict[str, str]:
    """Number of each class in the competition.

    Raises
    ------
    PackageError
        If the model knows a class that the competition does not.
    """
    numbers = {name: number for number, name in known_cards()[_CARD].classes.items()}
    unknown = [name for name in classes if name not in numbers]
    if unknown:
        raise PackageError(f"--kaggle: the model has the class {unknown[0]!r}, which UNIFESP's competition does not")
    return numbers


def write_submission(path: Path, tables: Iterable[pd.DataFrame], numbers: dict[str, str]) -> int:
    """Write a submission; return how many files have no answer, and so an empty Target."""
    empty = 0

    def write(fresh: Path) -> None:
        nonlocal empty
        with fresh.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["SOPInstanceUID", "Target"])
            for table in tables:
                for row in table.itertuples():
                    target = " ".join(sorted((numbers[name] for name in row.labels.split(SEPARATOR) if name), key=int))
                    empty += not target
                    writer.writerow([neutral(row.instance or _instance(row.file)), target])

    write_file(path, write)
    return empty


def _instance(file: str) -> str:
    """SOPInstanceUID as the competition's files are called."""
    name = Path(file).name
    for ending in (".png", ".dcm"):
        name = name.removesuffix(ending)
    return name.removesuffix(_ENDING)
