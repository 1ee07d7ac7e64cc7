"""Tables of labels as strings: nothing becomes a number, a date or NaN, and every error names the row and the value."""

from __future__ import annotations

import difflib
import re
import warnings
from pathlib import Path
from typing import cast

import pandas as pd

from radiographs.cards import Card
from radiographs.listing import SourceError
from radiographs.text import encoding_of, guessed

_SEPARATORS = (";", "\t", ",")
_STATED = re.compile(r"sep=(.|\t)", re.IGNORECASE)
_OUTSIDE = r"^(?:$|/|\\|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)|\x00"


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or TSV as text, in the encoding that `radiographs.text.encoding_of` finds.

    The separator is that of a first line ``sep=;``, as in Excel, else the most frequent one of the header. If the encoding had to
    be guessed, ``attrs["note"]`` of the table says so.
    """
    encoding = "utf-8"
    try:
        encoding = encoding_of(path.read_bytes())
        with path.open(encoding=encoding) as stream:
            header = stream.readline()
            stated = _STATED.fullmatch(header.rstrip("\r\n").strip('"'))
            separator = stated.group(1) if stated else max(_SEPARATORS, key=header.count)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            how = {"dtype": str, "keep_default_na": False, "index_col": False, "skiprows": 1 if stated else 0}
            table = pd.read_csv(path, sep=separator, encoding=encoding, **how)
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not {encoding} text: save it as UTF-8") from None
    except pd.errors.ParserWarning:
        raise SourceError(f"{path}: has rows with more fields than its header") from None
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise SourceError(f"{path}: cannot be read as a table ({' '.join(str(error).split())[:150]})") from None
    if name := guessed(encoding):
        table.attrs["note"] = (
            f"D005: {path.name} is not UTF-8 and was read as {name}; if names look wrong: save it as UTF-8"
        )
    return table


def table_notes(table: pd.DataFrame) -> list[str]:
    """Return a note for the user on how a table was read."""
    return [table.attrs["note"]] if "note" in table.attrs else []


def label_sets(values: pd.Series, separator: str, card: Card, path: Path) -> list[list[str]]:
    """Label sets in the order of the card's classes, duplicates dropped; each distinct string is parsed once."""
    codes, texts = pd.factorize(values)
    order = {name: k for k, name in enumerate(card.classes.values())}
    sets = []
    for code, text in enumerate(texts):
        parts: list[str] = [p for p in (q.strip() for q in (text.split(separator) if separator else [text])) if p]
        unknown = [p for p in parts if card.classes and p not in card.classes]
        if unknown or (not parts and card.at_least_one):
            row = int((codes == code).argmax()) + 2
            wrong = (
                f"label {unknown[0]!r} is not one of the {len(card.classes)} classes of {card.name}"
                if unknown
                else "no label"
            )
            raise SourceError(f"{path}: row {row}: {wrong}")
        shown = {card.classes.get(p, p) for p in parts}
        sets.append(sorted(shown, key=lambda name: (order.get(name, len(order)), name)))
    return [sets[code] for code in codes]


def require(table: pd.DataFrame, columns: list[str], path: Path) -> None:
    """Refuse a table that lacks a column, naming those it has."""
    for column in columns:
        if column not in table.columns:
            close = difflib.get_close_matches(column, table.columns, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SourceError(
                f"{path}: no column {column!r}; it has {', '.join(map(repr, table.columns[:12]))}{hint} (name them with --file-column, --label-column, --group-column)"
            )


def refuse_repeats(names: pd.Series, path: Path) -> None:
    """Refuse a table in which a name occurs twice."""
    repeated = names.duplicated()
    if repeated.any():
        raise SourceError(f"{path}: row {cast('int', repeated.idxmax()) + 2}: names the same image as an earlier row")


def refuse_outside(names: pd.Series, path: Path, root: Path) -> None:
    """Refuse names that lead outside the data folder; links are checked when a file is opened."""
    outside = names.str.contains(_OUTSIDE, regex=True)
    if outside.any():
        row = cast("int", outside.idxmax())
        raise SourceError(f"{path}: row {row + 2}: is not a path inside {root} (--allow-outside)")
