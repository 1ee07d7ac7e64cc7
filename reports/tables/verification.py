"""Check a published table against the stored predictions: every number is recomputed."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pandas as pd

from reports.comparison.pairwise import TestSettings
from reports.runs.results import Results, ResultsError
from reports.runs.rows import columns_of
from reports.scores.evaluation import Evaluation
from reports.tables.export import csv_text, latex_text, markdown_escaped
from reports.tables.paper import paper_tables
from reports.tables.parsing import LABEL, Grid, from_csv, from_latex, from_markdown
from reports.tables.readable import table_as_markdown
from reports.tables.run_tables import all_tables

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
READABLE_KEYS = {
    "summary": 1,
    "timing": 1,
    "pairwise": 2,
    "per_class": 1,
}  # leading columns that name a row, in tables for people
RELATIVE = 1e-9
_NO_TABLE = "is not a table of `bench report`"


@dataclass(frozen=True)
class TableCheck:
    """Result of checking a table.

    Attributes
    ----------
    checked : int
        Number of cells that were compared.
    wrong : tuple of str
        A line for each cell, row or column that differs from the run.
    unchecked : tuple of str
        A line for each row or column that the file leaves out, and for text that is not from the report.
    """

    checked: int
    wrong: tuple[str, ...]
    unchecked: tuple[str, ...] = ()


def check_table(evaluation: Evaluation, path: Path, settings: TestSettings) -> TableCheck:
    """Recompute a table of `bench report` and compare all that is in the file: rows, columns, bold type, caption.

    Rows and columns may be in another order; those left out are listed. Numbers in a CSV file may be rounded, to two digits or more.

    Raises
    ------
    ResultsError
        If the file cannot be read or is not a table of `bench report`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(
            f"{path}: cannot be read as a table ({getattr(error, 'strerror', None) or 'not text'})"
        ) from None
    tables = all_tables(evaluation, settings)
    if path.suffix == ".csv":
        there = from_csv(text, path)
        name = _named(path, there, {name: columns_of(tables[name]) for name in CSV_KEYS if name in tables}, CSV_KEYS)
        return _compare(path.name, there, from_csv(csv_text(tables[name]), path), CSV_KEYS[name])
    if path.suffix == ".md":
        return _check_markdown(evaluation.results, path, text, tables)
    return _check_latex(evaluation, path, text, tables, settings)


def _check_markdown(results: Results, path: Path, text: str, tables: dict[str, pd.DataFrame]) -> TableCheck:
    there = from_markdown(text)
    ours = {name: from_markdown(table_as_markdown(name, tables[name], results)) for name in CSV_KEYS if name in tables}
    keys = {
        name: tuple(grid.columns[: READABLE_KEYS[name]])
        for name, grid in ours.items()
        if name in ("summary", "pairwise")
    }
    keys = {name: tuple(markdown_escaped(key.replace("_", " ")) for key in CSV_KEYS[name]) for name in ours} | keys
    name = _named(path, there, {name: grid.columns for name, grid in ours.items()}, keys)
    return _compare(path.name, there, ours[name], keys[name])


def _check_latex(
    evaluation: Evaluation, path: Path, text: str, tables: dict[str, pd.DataFrame], settings: TestSettings
) -> TableCheck:
    found = LABEL.search(text)
    if path.suffix != ".tex" or not found or found.group(1) not in READABLE_KEYS:
        raise ResultsError(
            f"{path}: {_NO_TABLE}: those are .csv and .md files, and .tex files with \\label{{tab:NAME}} for NAME in {', '.join(READABLE_KEYS)}"
        )
    name = found.group(1)
    ours = next((t for t in paper_tables(evaluation, tables, settings) if t.name == name), None)
    if ours is None:
        raise ResultsError(f"{path}: this run has no table {name!r}: no cell is finished")
    again = from_latex(latex_text(ours.text, ours.caption, "tab:again", wide=ours.wide, styles=ours.styles), path)
    return _compare(path.name, from_latex(text, path), again, tuple(again.columns[: READABLE_KEYS[name]]))


def _named(path: Path, there: Grid, known: dict[str, list[str]], keys: dict[str, tuple[str, ...]]) -> str:
    """Name of the table that a file holds: by its name, else the one with most of its columns."""
    columns = set(there.columns)
    possible = [name for name in known if set(keys[name]) <= columns]
    if not possible:
        raise ResultsError(f"{path}: {_NO_TABLE}: it lacks the columns that name a row, such as 'model'")
    return path.stem if path.stem in possible else max(possible, key=lambda name: len(columns & set(known[name])))


def _compare(name: str, there: Grid, ours: Grid, keys: tuple[str, ...]) -> TableCheck:
    """Compare a table with the run's, rows by their key columns."""
    checked, wrong = 0, []
    wrong += [
        f"{name}: column {title!r} is not one of the run's table" for title in _first(there.columns, ours.columns)
    ]
    wrong += [f"{name}: column {title!r} occurs {n} times" for title, n in Counter(there.columns).items() if n > 1]
    left_out = [f"{name}: column {title!r} is left out" for title in _first(ours.columns, there.columns)]
    left_out += [
        f"{name}: text that is not from the report: {words[:200]}" for words in _first(there.beside, ours.beside)
    ]
    left_out += [
        f"{name}: text of the report is left out: {words[:200]}" for words in _first(ours.beside, there.beside)
    ]
    if not set(keys) <= set(there.columns):
        return TableCheck(0, (*wrong, f"{name}: lacks the columns that name a row: {', '.join(keys)}"), tuple(left_out))
    columns = [(k, title, ours.columns.index(title)) for k, title in enumerate(there.columns) if title in ours.columns]
    found, known = _by_key(there, keys), _by_key(ours, keys)
    for key, rows in found.items():
        where = f"{name}, {', '.join(key)}"
        if key not in known:
            wrong.append(f"{where}: the run has no such row")
        elif len(rows) > len(known[key]):
            wrong.append(f"{where}: occurs {len(rows)} times, in the run's table {len(known[key])} times")
        wrong += [
            f"{where}: a row of {len(row)} cells below {len(there.columns)} columns"
            for row in rows
            if len(row) != len(there.columns)
        ]
        for row, own in zip(rows, known.get(key, []), strict=False):
            for k, title, place in columns:
                value = row[k] if k < len(row) else ""
                checked += 1
                if not _same(value, own[place]):
                    wrong.append(
                        f"{where}, {title}: {value or 'nothing'} in the file, {own[place] or 'nothing'} from the predictions"
                    )
    short = {key: len(rows) - len(found.get(key, [])) for key, rows in known.items()}
    left_out += [f"{name}, {', '.join(key)}: the row is left out" for key, n in short.items() if n > 0]
    return TableCheck(checked, tuple(wrong), tuple(left_out))


def _first(some: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return what is among the first and not among the others, each once."""
    return [each for each in dict.fromkeys(some) if each not in others]


def _by_key(grid: Grid, keys: tuple[str, ...]) -> dict[tuple[str, ...], list[list[str]]]:
    """Group rows by their key columns."""
    places = [grid.columns.index(key) for key in keys]
    found: dict[tuple[str, ...], list[list[str]]] = {}
    for row in grid.rows:
        found.setdefault(tuple(row[k] if k < len(row) else "" for k in places), []).append(row)
    return found


def _same(value: str, ours: str) -> bool:
    """Whether two cells are equal: the same text, or the same number, which may be rounded."""
    if value.strip() == ours.strip():
        return True
    try:
        one, other = Decimal(value.strip()), Decimal(ours.strip())
    except InvalidOperation:
        return False
    if not (one.is_finite() and other.is_finite()):
        return False
    return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-12) or _is_rounded(one, other, ours)


def _is_rounded(one: Decimal, other: Decimal, ours: str) -> bool:
    """Whether a number is another one rounded: a fraction, to two decimals or two digits at least."""
    unit = Decimal(1).scaleb(int(one.as_tuple().exponent))
    fine = unit <= Decimal("0.01") or len(one.as_tuple().digits) > 1
    return fine and not ours.strip().lstrip("-").isdigit() and abs(one - other) <= unit / 2
