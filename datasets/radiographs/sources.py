"""From a folder, a table, a manifest or a card to a listing: which images there are, what they show, and whose they are.

Layouts are detected; a card.toml in the folder, or `Hints.layout`, overrides the detection. Nothing outside the data folder is
opened unless `Hints.allow_outside` is true.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from radiographs import layouts, splits
from radiographs.cards import Card, known_cards, read_card
from radiographs.listing import Hints, Listing, SourceError, limited
from radiographs.tables import read_table
from radiographs.trees import open_tree
from radiographs.walk import find_pictures, is_side_folder, output_of

__all__ = ["Hints", "Listing", "SourceError", "limited", "open_source"]

_ANSWERS = frozenset(
    {"file", "frame", "status", "verdict", "labels", "confidence"}
)  # columns of what bench predict writes
SYNTHETIC_MARK = "SYNTHETIC.txt"  # marks folders written by the phantom


def open_source(path: Path, hints: Hints | None = None) -> Listing:
    """List the images of a data folder, a CSV table, a manifest.parquet or a card file.

    Raises
    ------
    SourceError
        If the path is missing or not recognised, a column is missing or a row is wrong.
    """
    hints = hints or Hints()
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder{_suggest(path)}")
    if path.is_file():
        return _open_file(path, hints)
    if not path.is_dir():
        raise SourceError(f"{path}: is neither a file nor a folder")
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise SourceError(f"{path}: cannot be listed ({error.strerror})") from None
    if not entries:
        raise SourceError(f"{path}: the folder is empty")
    if "bench" in (what := output_of(entry.name for entry in entries)):
        raise SourceError(f"{path}: is {what}, not data: give the folder of the images, or a manifest.parquet")
    if (path / "card.toml").is_file():
        return _open_card(path / "card.toml", hints)
    card = known_cards().get(path.resolve().name.lower(), _plain_card(path))
    if hints.layout:
        return open_tree(path, card, hints, hints.layout)
    if _is_kaggle(path):
        name = "phantom" if (path / SYNTHETIC_MARK).is_file() else "unifesp"
        return layouts.kaggle(path, known_cards()[name], hints)
    if any(path.glob("*/XR_*/patient*")) or any(path.glob("XR_*/patient*")):
        return layouts.paths(path, known_cards()["mura"], hints)
    tables = _tables(entries)
    if tables:
        return _open_tables(path, tables, card, hints)
    inner = _described_below(entries)
    return open_source(inner, hints) if inner else open_tree(path, card, hints)


def _is_kaggle(path: Path) -> bool:
    table = path / "train.csv"
    return table.is_file() and set(read_table(table).columns) >= set(layouts.KAGGLE_COLUMNS)


def _tables(entries: Sequence[Path]) -> list[Path]:
    """Tables among the entries of a folder, except those that this program wrote."""
    tables = [e for e in entries if e.suffix.lower() in (".csv", ".tsv") and e.is_file() and not e.name.startswith(".")]
    return [table for table in tables if not _is_output(table)]


def _is_output(table: Path) -> bool:
    """Whether a table holds splits, or predictions of a model, which must not become labels."""
    try:
        with table.open("rb") as stream:
            header = stream.readline(10_000).decode("utf-8-sig", "replace").replace('"', "").strip().split(",")
    except OSError:  # reading it reports why
        return False
    return set(header) >= set(splits.COLUMNS) or set(header) >= _ANSWERS


def _open_tables(path: Path, tables: Sequence[Path], card: Card, hints: Hints) -> Listing:
    """List the folder by its one table of images, or by its class folders if no table names an image."""
    plain = _plain_card(path)
    wanted = {hints.columns(plain.columns).file, hints.columns(plain.columns).label}
    described = [table for table in tables if set(read_table(table).columns) >= wanted]
    chosen = described or tables
    if len(described) != 1 and not (hints.file or hints.label or hints.group):
        listing = None if described else _beside_tables(path, tables, card, hints)
        if listing is not None:
            return listing
    otherwise = "" if described else "; if the folders are the classes: --layout folders"
    if len(chosen) > 1:
        names = ", ".join(table.name for table in chosen[:4])
        raise SourceError(f"{path}: holds {len(chosen)} tables ({names}): give one of them as --data{otherwise}")
    try:
        listing = layouts.table(path, chosen[0], plain, hints)
    except SourceError as error:
        raise SourceError(f"{error}{otherwise}") from None
    said = f"D005: labels come from {chosen[0].name}, not from the other tables; otherwise: give one of them as --data"
    return listing if len(tables) == 1 else replace(listing, notes=(said, *listing.notes))


def _beside_tables(path: Path, tables: Sequence[Path], card: Card, hints: Hints) -> Listing | None:
    """List the class folders, or the DICOM tree, beside tables that name no picture; None if one does, or there are no classes."""
    files = find_pictures(path).files
    names, stems = {file.name for file in files}, {file.stem for file in files}
    for table in tables:
        rows = read_table(table)
        for column in rows:
            said = rows[column].str.replace("\\", "/").str.rpartition("/")[2].str.strip()
            numbered = said[said.isin(stems)]
            if said.isin(names).any() or (numbered.nunique() > 1 and 2 * len(numbered) >= len(said)):
                return None
    try:
        listing = open_tree(path, card, hints)
    except SourceError:
        return None
    names = ", ".join(table.name for table in tables[:4])
    return replace(listing, notes=(*listing.notes, f"D002: tables that name no image are ignored: {names}"))


def _described_below(entries: Sequence[Path]) -> Path | None:
    """Return the folder with a card or a table inside folders that hold nothing else; None if there is none."""
    while True:
        real = [e for e in entries if not is_side_folder(e.name) and e.name.lower() not in ("desktop.ini", "thumbs.db")]
        if len(real) != 1 or not real[0].is_dir() or real[0].is_symlink():
            return None
        try:
            entries = sorted(real[0].iterdir())
        except OSError:
            return None
        if (real[0] / "card.toml").is_file() or _tables(entries):
            return real[0]


def _open_file(path: Path, hints: Hints) -> Listing:
    kind = path.suffix.lower()
    if hints.layout and kind != ".toml":
        raise SourceError(
            f"--layout {hints.layout}: {path.name} says what its images show: give the folder, or leave it out"
        )
    if kind == ".toml":
        return _open_card(path, hints)
    if kind in (".csv", ".tsv"):
        return layouts.table(path.parent, path, _plain_card(path), hints)
    if kind == ".parquet":
        return layouts.manifest(path, _plain_card(path.parent), hints)
    raise SourceError(f"{path}: give a folder of images, a .csv table, a manifest (.parquet) or a card (.toml)")


def _open_card(path: Path, hints: Hints) -> Listing:
    card, root = read_card(path), path.parent
    if card.layout == "table" and not hints.layout:
        if not card.table:
            raise SourceError(f"{path}: table: a card with the layout 'table' names its CSV file")
        if not (root / card.table).resolve().is_relative_to(root.resolve()):
            raise SourceError(f"{path}: table: {card.table!r} is not a path inside {root}")
        return layouts.table(root, root / card.table, card, hints)
    if hints.layout or card.layout in ("dicom", "folders"):
        return open_tree(root, card, hints, hints.layout or card.layout)
    if card.layout == "paths" and not card.pattern:
        raise SourceError(
            f"{path}: pattern: a card with the layout 'paths' gives one with (?P<label>...) and (?P<group>...)"
        )
    return {"kaggle": layouts.kaggle, "paths": layouts.paths}[card.layout](root, card, hints)


def _plain_card(path: Path) -> Card:
    name = path.stem if path.is_file() else path.resolve().name
    return Card(name=name or "data", title=name or "data", group="patient")


def _suggest(path: Path) -> str:
    close = difflib.get_close_matches(str(path), known_cards(), n=1)
    return f"; did you mean --data {close[0]}?" if close else ""
