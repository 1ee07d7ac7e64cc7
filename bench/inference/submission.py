"""A submission to UNIFESP's competition: ``SOPInstanceUID,Target``, with the numbers of the body parts separated by blanks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
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
    """Return the number of each class in the competition.

    Parameters
    ----------
    classes : iterable of str
        Classes of a model.

    Returns
    -------
    dict of str to str
        Class -> number.

    Raises
    ------
    PackageError
        If the model has a class that the competition does not have.
    """
    numbers = {name: number for number, name in known_cards()[_CARD].classes.items()}
    unknown = [name for name in classes if name not in numbers]
    if unknown:
        raise PackageError(f"--kaggle: the model has the class {unknown[0]!r}, which UNIFESP's competition does not")
    return numbers


def write_submission(path: Path, tables: Iterable[pd.DataFrame], numbers: dict[str, str]) -> int:
    """Write a submission.

    Parameters
    ----------
    path : Path
        The file to write.
    tables : iterable of DataFrame
        Predictions with the columns file, labels and instance.
    numbers : dict of str to str
        Number of each class: see `class_numbers`.

    Returns
    -------
    int
        How many files have no label, and so an empty Target.
    """
    empty: list[int] = []  # of each table

    def write(fresh: Path) -> None:
        with fresh.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["SOPInstanceUID", "Target"])
            for table in tables:
                rows = list(_rows(table, numbers))
                writer.writerows(rows)
                empty.append(sum(not target for _, target in rows))

    write_file(path, write)
    return sum(empty)


def _rows(table: pd.DataFrame, numbers: dict[str, str]) -> Iterator[tuple[str, str]]:
    columns = [table[name].tolist() for name in ("file", "labels", "instance")]
    for file, labels, instance in zip(*columns, strict=True):
        target = " ".join(sorted((numbers[name] for name in labels.split(SEPARATOR) if name), key=int))
        yield str(neutral(instance or _instance(file))), target


def _instance(file: str) -> str:
    """SOPInstanceUID under which the competition's file is named."""
    name = Path(file).name
    for ending in (".png", ".dcm"):
        name = name.removesuffix(ending)
    return name.removesuffix(_ENDING)
