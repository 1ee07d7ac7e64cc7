"""From a folder or a table to a listing: which files there are, what they show, and whose they are.

Three layouts are recognised by themselves: Kaggle's UNIFESP layout (train.csv with SOPInstanceUID and Target), one sub-folder
per class, and a CSV table with a file, a label and perhaps a group column. Nothing outside the data folder is ever opened.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from radiographs.cards import Card, Columns, known_cards, read_card
from radiographs.read import SUFFIXES

SYNTHETIC_MARK = "SYNTHETIC.txt"  # stands in folders that the phantom wrote
_KAGGLE_COLUMNS = {"SOPInstanceUID", "Target"}
_SEPARATORS = (";", "\t", ",")


class SourceError(ValueError):
    """Data that cannot be used as asked; one line that names the path or key and the way out."""


@dataclass(frozen=True)
class Listing:
    """Images to read, in the order of their names."""

    root: Path
    card: Card
    layout: str
    items: pd.DataFrame  # image_id, file (relative to root), labels (list of str, as shown), group
    grouped: bool  # whether the groups are known, or each image had to be its own
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hints:
    """What the user said about a table; None where nothing was said."""

    file: str | None = None
    label: str | None = None
    group: str | None = None
    separator: str | None = None

    def columns(self, default: Columns) -> Columns:
        """Return the columns of a card with the user's words put over them."""
        return default.model_copy(update={k: v for k, v in asdict(self).items() if v is not None})


def open_source(path: Path, hints: Hints | None = None) -> Listing:
    """List the images of a data folder, a CSV table or a card file.

    Raises
    ------
    SourceError
        If nothing is there, nothing is recognised, a column is missing or a row is wrong.
    """
    hints = hints or Hints()
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder{_suggest(path)}")
    if path.is_file():
        return _open_file(path, hints)
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise SourceError(f"{path}: cannot be listed ({error.strerror})") from None
    if not entries:
        raise SourceError(f"{path}: the folder is empty")
    if (path / "card.toml").is_file():
        return _open_card(path / "card.toml", hints)
    if (path / "train.csv").is_file() and set(_read_table(path / "train.csv").columns) >= _KAGGLE_COLUMNS:
        card = known_cards()["phantom" if (path / SYNTHETIC_MARK).is_file() else "unifesp"]
        return _kaggle(path, card)
    tables = [e for e in entries if e.suffix.lower() in (".csv", ".tsv") and e.is_file()]
    if len(tables) == 1:
        return _table(path, tables[0], _plain_card(path), hints)
    if len(tables) > 1:
        raise SourceError(
            f"{path}: holds {len(tables)} tables ({', '.join(t.name for t in tables[:4])}): give one of them as --data"
        )
    return _folders(path, known_cards().get(path.name.lower(), _plain_card(path)))


def _open_file(path: Path, hints: Hints) -> Listing:
    if path.suffix.lower() == ".toml":
        return _open_card(path, hints)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _table(path.parent, path, _plain_card(path), hints)
    raise SourceError(f"{path}: give a folder of images, a .csv table or a card (.toml)")


def _open_card(path: Path, hints: Hints) -> Listing:
    card = read_card(path)
    if card.layout == "kaggle":
        return _kaggle(path.parent, card)
    if card.layout == "folders":
        return _folders(path.parent, card)
    if not card.table:
        raise SourceError(f"{path}: table: a card with the layout 'table' names its CSV file")
    return _table(path.parent, _inside(path.parent, card.table, f"{path}: table"), card, hints)


def _kaggle(root: Path, card: Card) -> Listing:
    """Kaggle's layout: train.csv, images anywhere below as <SOPInstanceUID>-c.png, metadata.csv if it is there."""
    table_path = root / "train.csv"
    table = _read_table(table_path)
    _require(table, sorted(_KAGGLE_COLUMNS), table_path)
    by_uid = {_uid_of(f): f.relative_to(root).as_posix() for f in _image_files(root)}
    patients = _patients(root / "metadata.csv")
    uids = table["SOPInstanceUID"].str.strip()
    _refuse_repeats(uids, table_path)
    labels = _labels(table["Target"], " ", card, table_path)
    items = pd.DataFrame({"image_id": uids, "file": uids.map(by_uid), "labels": labels, "group": uids.map(patients)})
    notes = []
    absent = items["file"].isna()
    if absent.all():
        raise SourceError(f"{root}: none of the {len(items)} images of train.csv is there as <SOPInstanceUID>-c.png")
    if absent.any():
        items.loc[absent, "file"] = uids[absent] + "-c.png"
        notes.append(f"{absent.sum()} images of train.csv have no file (such as {items['file'][absent].iloc[0]})")
    unlabelled = len(by_uid) - int((~absent).sum())
    if unlabelled:
        notes.append(f"{unlabelled} image files are not in train.csv and are left alone")
    return _finish(root, card, "kaggle", items, notes)


def _patients(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    table = _read_table(path)
    _require(table, ["SOPInstanceUID", "PatientID"], path)
    return dict(zip(table["SOPInstanceUID"].str.strip(), table["PatientID"].str.strip(), strict=True))


def _folders(root: Path, card: Card) -> Listing:
    """One sub-folder per class, images anywhere below it."""
    rows = [
        (f.as_posix(), [card.classes.get(f.parts[0], f.parts[0])])
        for f in sorted(f.relative_to(root) for f in _image_files(root))
        if len(f.parts) > 1
    ]
    if not rows:
        loose = sum(1 for _ in _image_files(root))
        found = (
            f"holds {loose} images but no sub-folder per class" if loose else f"holds no image ({', '.join(SUFFIXES)})"
        )
        raise SourceError(
            f"{root}: {found} and no table of labels: give a .csv as --data, or sort the images into one folder per class"
        )
    items = pd.DataFrame(rows, columns=["file", "labels"])
    return _finish(root, card, "folders", items.assign(image_id=items["file"], group=None), [])


def _table(root: Path, path: Path, card: Card, hints: Hints) -> Listing:
    """A CSV or TSV with one row per image; files are relative to the table's folder."""
    table = _read_table(path)
    columns = hints.columns(card.columns)
    if table.empty:
        raise SourceError(f"{path}: has a header but no rows")
    _require(table, [c for c in (columns.file, columns.label, columns.group) if c], path)
    file = table[columns.file].str.strip()
    for row, name in enumerate(file, start=2):
        _inside(root, name, f"{path}: row {row}")
    _refuse_repeats(file, path)
    labels = _labels(table[columns.label], columns.separator, card, path)
    group = table[columns.group].str.strip() if columns.group else None
    return _finish(
        root, card, "table", pd.DataFrame({"image_id": file, "file": file, "labels": labels, "group": group}), []
    )


def _finish(root: Path, card: Card, layout: str, items: pd.DataFrame, notes: Iterable[str]) -> Listing:
    """Sort by id and give every group a name that does not give the patient away."""
    items = items.sort_values("image_id", ignore_index=True)
    known = items["group"].notna() & (items["group"] != "")
    own = items["group"].where(known, "image " + items["image_id"])
    codes, _ = pd.factorize(own)
    items["group"] = [f"g{code + 1:06d}" for code in codes]
    notes = list(notes)
    if known.any() and not known.all():
        notes.append(f"{(~known).sum()} images have no {card.group} and are each a group of their own")
    return Listing(root, card, layout, items[["image_id", "file", "labels", "group"]], bool(known.any()), tuple(notes))


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table as text: no label becomes a number, a date or NaN."""
    for encoding in ("utf-8-sig", "latin-1"):
        try:
            with path.open(encoding=encoding) as stream:
                header = stream.readline()
            separator = max(_SEPARATORS, key=header.count)
            return pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, encoding=encoding, skip_blank_lines=True
            )
        except UnicodeDecodeError:
            continue
        except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise SourceError(f"{path}: cannot be read as a table ({' '.join(str(error).split())[:150]})") from None
    raise SourceError(f"{path}: neither UTF-8 nor Latin-1 text")


def _labels(values: pd.Series, separator: str, card: Card, path: Path) -> list[list[str]]:
    """Label sets in the order of the card's classes, duplicates dropped."""
    order = {name: k for k, name in enumerate(card.classes.values())}
    out = []
    for row, value in enumerate(values, start=2):
        parts = [p for p in (q.strip() for q in (value.split(separator) if separator else [value])) if p]
        unknown = [p for p in parts if card.classes and p not in card.classes]
        if unknown:
            raise SourceError(
                f"{path}: row {row}: label {unknown[0]!r} is not one of the {len(card.classes)} classes of {card.name}"
            )
        if not parts and card.at_least_one:
            raise SourceError(f"{path}: row {row}: no label")
        shown = {card.classes.get(p, p) for p in parts}
        out.append(sorted(shown, key=lambda name: (order.get(name, len(order)), name)))
    return out


def _require(table: pd.DataFrame, columns: list[str], path: Path) -> None:
    for column in columns:
        if column not in table.columns:
            close = difflib.get_close_matches(column, table.columns, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SourceError(
                f"{path}: no column {column!r}; it has {', '.join(map(repr, table.columns[:12]))}{hint} (name them with --file-column, --label-column, --group-column)"
            )


def _refuse_repeats(names: pd.Series, path: Path) -> None:
    repeated = names.duplicated()
    if repeated.any():
        raise SourceError(
            f"{path}: row {int(repeated.idxmax()) + 2}: {names[repeated.idxmax()]!r} stands in an earlier row too"
        )


def _inside(root: Path, name: str, where: str) -> Path:
    """Path of a file of the data set, refused where it leads out of the data folder."""
    target = root / name
    if not name or Path(name).is_absolute() or not target.resolve().is_relative_to(root.resolve()):
        raise SourceError(f"{where}: {name!r} is not a path inside {root}")
    return target


def _image_files(root: Path) -> Iterable[Path]:
    """Image files below `root` by suffix, hidden ones and links that lead out passed over."""
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            if not path.is_symlink() or path.resolve().is_relative_to(inside):
                yield path


def _uid_of(path: Path) -> str:
    return path.stem.removesuffix("-c")


def _plain_card(path: Path) -> Card:
    name = path.stem if path.is_file() else path.resolve().name
    return Card(name=name or "data", title=name or "data", group="patient")


def _suggest(path: Path) -> str:
    close = difflib.get_close_matches(str(path), known_cards(), n=1)
    return f"; did you mean --data {close[0]}?" if close else ""


def limited(listing: Listing, limit: int, seed: int) -> Listing:
    """Return at most `limit` images, whole groups drawn by `seed`."""
    if limit < 1:
        raise SourceError(f"--limit {limit}: give 1 or more images")
    if limit >= len(listing.items):
        return listing
    groups = listing.items["group"].unique()
    rank = pd.Series(np.random.default_rng(seed).permutation(len(groups)), index=groups)
    order = listing.items["group"].map(rank).sort_values(kind="stable")
    kept = listing.items.loc[sorted(order.index[:limit])].reset_index(drop=True)
    note = f"--limit {limit}: {len(kept)} of {len(listing.items)} images, drawn by {listing.card.group}"
    return replace(listing, items=kept, notes=(*listing.notes, note))
