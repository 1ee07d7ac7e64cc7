"""Check a run folder and a published table against the stored predictions: every number is computed again."""

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reports.evaluation import Evaluation
from reports.export import csv_text, latex_text
from reports.pairwise import Level
from reports.paper import paper_tables
from reports.results import Results, ResultsError
from reports.tables import all_tables

CSV_KEYS = {
    "summary": ("model",),
    "pairwise": ("model_a", "model_b", "metric"),
    "mcnemar": ("model_a", "model_b"),
    "holdout": ("model",),
    "learning": ("model", "train_share"),
    "per_class": ("model", "class"),
    "cells": ("model", "repeat", "fold"),
    "fold_balance": ("repeat", "fold", "part", "class"),
    "excluded": ("image_id",),
    "calibration": ("model", "repeat", "fold"),
    "decision_rules": ("model", "repeat", "fold", "rule"),
    "thresholds": ("model", "class"),
    "suspects": ("image_id",),
    "hardest": ("image_id",),
}
LATEX_KEYS = {"summary": 1, "timing": 1, "pairwise": 2, "per_class": 1}  # leading columns that name a row
LABEL = re.compile(r"\\label\{tab:(\w+)\}")
STYLE = re.compile(r"\\textbf\{([^{}]*)\}|\$\^\{\\dagger\}\$")
RELATIVE = 1e-9

Grid = tuple[list[str], dict[tuple[str, ...], list[str]]]  # column names, and cells by the key of their row


@dataclass(frozen=True)
class Finding:
    """What a table was found to be.

    Attributes
    ----------
    checked : int
        Cells that were compared.
    wrong : tuple of str
        A line for each cell, row or column that is not what the run gives.
    """

    checked: int
    wrong: tuple[str, ...]


def check_labels(results: Results) -> list[str]:
    """Compare the truth beside every prediction with the labels of the manifest; a line for each cell that differs."""
    labels = results.manifest.set_index("image_id")["labels"]
    lines = []
    for (model, repeat, fold), frame in results.predictions.items():
        known = labels.reindex(frame["image_id"])
        wrong = sum(
            int((frame[f"truth/{name}"].to_numpy(bool) != [name in row for row in known]).sum())
            for name in results.classes
        )
        if wrong:
            lines.append(
                f"{model}, repeat {repeat}, fold {fold}: {wrong} labels beside its predictions are not the manifest's"
            )
    return lines


def check_table(evaluation: Evaluation, path: Path, level: Level) -> Finding:
    """Compute a table of `bench report` again and compare what is in the file, row by row and column by column.

    Rows and columns may be left out of the file or stand in another order.

    Raises
    ------
    ResultsError
        If the file cannot be read or is no table of `bench report`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(
            f"{path}: cannot be read as a table ({getattr(error, 'strerror', None) or 'not text'})"
        ) from None
    tables = all_tables(evaluation, level)
    if path.suffix == ".csv":
        name = _csv_table(path, text, tables)
        keys = CSV_KEYS[name]
        return _compare(path.name, _from_csv(text, keys), _from_csv(csv_text(tables[name]), keys))
    found = LABEL.search(text)
    if path.suffix != ".tex" or not found or found.group(1) not in LATEX_KEYS:
        raise ResultsError(
            f"{path}: is no table of `bench report`: those are .csv files, and .tex files with \\label{{tab:NAME}} for NAME in {', '.join(LATEX_KEYS)}"
        )
    name = found.group(1)
    ours = next((t for t in paper_tables(evaluation, tables, level) if t.name == name), None)
    if ours is None:
        raise ResultsError(f"{path}: this run gives no table {name!r}: no cell is done")
    again = latex_text(ours.text, ours.caption, "", wide=ours.wide, styles=ours.styles)
    return _compare(path.name, _from_latex(text, LATEX_KEYS[name]), _from_latex(again, LATEX_KEYS[name]))


def _csv_table(path: Path, text: str, tables: dict[str, pd.DataFrame]) -> str:
    """Name of the table that a CSV file is: by its name, else the one with most of its columns."""
    columns = set(next(csv.reader(io.StringIO(text)), []))
    possible = [name for name, keys in CSV_KEYS.items() if set(keys) <= columns and name in tables]
    if not possible:
        raise ResultsError(
            f"{path}: is no table of `bench report`: it lacks the columns that name a row, such as 'model'"
        )
    return path.stem if path.stem in possible else max(possible, key=lambda name: len(columns & set(tables[name])))


def _from_csv(text: str, keys: tuple[str, ...]) -> Grid:
    columns, *rows = csv.reader(io.StringIO(text))
    places = [columns.index(key) for key in keys]
    return columns, {tuple(row[k] for k in places): row for row in rows}


def _from_latex(text: str, n_keys: int) -> Grid:
    """Header and rows between the rules, without bold type and daggers."""
    lines = (STYLE.sub(lambda m: m.group(1) or "", line).strip() for line in text.splitlines())
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line[:-2])]
        for line in lines
        if line.endswith(r"\\") and "&" in line
    ]
    if not rows:
        raise ResultsError("the .tex file has no row of a table")
    return rows[0], {tuple(row[:n_keys]): row for row in rows[1:]}


def _compare(name: str, there: Grid, ours: Grid) -> Finding:
    checked, wrong = 0, []
    columns = [(k, title, ours[0].index(title)) for k, title in enumerate(there[0]) if title in ours[0]]
    wrong += [f"{name}: column {title!r} is not one of the run's table" for title in there[0] if title not in ours[0]]
    for key, row in there[1].items():
        where = f"{name}, {', '.join(key)}"
        if key not in ours[1]:
            wrong.append(f"{where}: the run has no such row")
            continue
        for k, title, place in columns:
            value = row[k] if k < len(row) else ""
            checked += 1
            if not _same(value, ours[1][key][place]):
                wrong.append(
                    f"{where}, {title}: {value or 'nothing'} there, {ours[1][key][place] or 'nothing'} from the predictions"
                )
    return Finding(checked, tuple(wrong))


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    numbers = list(_numbers((one, other)))
    return len(numbers) == 2 and math.isclose(*numbers, rel_tol=RELATIVE, abs_tol=1e-12)


def _numbers(texts: tuple[str, str]) -> Iterator[float]:
    for text in texts:
        try:
            yield float(text)
        except ValueError:
            return
