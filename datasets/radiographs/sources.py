"""From a folder, a table, a manifest or a card to a listing: which images there are, what they show, and whose they are.

Layouts are recognised by themselves; a card.toml in the folder decides where it is there. Nothing outside of the data folder is
opened unless `Hints.allow_outside` says so.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from radiographs import layouts
from radiographs.cards import Card, known_cards, read_card
from radiographs.listing import Hints, Listing, SourceError, limited
from radiographs.read import SUFFIXES
from radiographs.tables import read_table
from radiographs.walk import find_pictures

__all__ = ["Hints", "Listing", "SourceError", "limited", "open_source"]

SYNTHETIC_MARK = "SYNTHETIC.txt"  # stands in folders that the phantom wrote


def open_source(path: Path, hints: Hints | None = None) -> Listing:
    """List the images of a data folder, a CSV table, a manifest.parquet or a card file.

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
    if not path.is_dir():
        raise SourceError(f"{path}: is neither a file nor a folder")
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise SourceError(f"{path}: cannot be listed ({error.strerror})") from None
    if not entries:
        raise SourceError(f"{path}: the folder is empty")
    if (path / "card.toml").is_file():
        return _open_card(path / "card.toml", hints)
    if (path / "train.csv").is_file() and set(read_table(path / "train.csv").columns) >= set(layouts.KAGGLE_COLUMNS):
        card = known_cards()["phantom" if (path / SYNTHETIC_MARK).is_file() else "unifesp"]
        return layouts.kaggle(path, card, hints)
    if any(path.glob("*/XR_*/patient*")) or any(path.glob("XR_*/patient*")):
        return layouts.paths(path, known_cards()["mura"], hints)
    tables = [e for e in entries if e.suffix.lower() in (".csv", ".tsv") and e.is_file() and not e.name.startswith(".")]
    if len(tables) == 1:
        return layouts.table(path, tables[0], _plain_card(path), hints)
    if len(tables) > 1:
        raise SourceError(
            f"{path}: holds {len(tables)} tables ({', '.join(t.name for t in tables[:4])}): give one of them as --data"
        )
    return _pictures(path, known_cards().get(path.name.lower(), _plain_card(path)), hints)


def _pictures(path: Path, card: Card, hints: Hints) -> Listing:
    """A folder of pictures alone: labelled by their DICOM headers where all are DICOM, else by their folders."""
    found = find_pictures(path, allow_outside=hints.allow_outside)
    if found.files and not any(file.suffix.lower() in SUFFIXES for file in found.files):
        return layouts.dicom_tree(path, card.model_copy(update={"at_least_one": True}), hints, found)
    return layouts.folders(path, card, hints)


def _open_file(path: Path, hints: Hints) -> Listing:
    kind = path.suffix.lower()
    if kind == ".toml":
        return _open_card(path, hints)
    if kind in (".csv", ".tsv"):
        return layouts.table(path.parent, path, _plain_card(path), hints)
    if kind == ".parquet":
        return layouts.manifest(path, _plain_card(path.parent), hints)
    raise SourceError(f"{path}: give a folder of images, a .csv table, a manifest (.parquet) or a card (.toml)")


def _open_card(path: Path, hints: Hints) -> Listing:
    card, root = read_card(path), path.parent
    if card.layout == "table":
        if not card.table:
            raise SourceError(f"{path}: table: a card with the layout 'table' names its CSV file")
        if not (root / card.table).resolve().is_relative_to(root.resolve()):
            raise SourceError(f"{path}: table: {card.table!r} is not a path inside {root}")
        return layouts.table(root, root / card.table, card, hints)
    if card.layout == "dicom":
        return layouts.dicom_tree(root, card, hints, find_pictures(root, allow_outside=hints.allow_outside))
    if card.layout == "paths" and not card.pattern:
        raise SourceError(
            f"{path}: pattern: a card with the layout 'paths' gives one with (?P<label>...) and (?P<group>...)"
        )
    return {"kaggle": layouts.kaggle, "folders": layouts.folders, "paths": layouts.paths}[card.layout](
        root, card, hints
    )


def _plain_card(path: Path) -> Card:
    name = path.stem if path.is_file() else path.resolve().name
    return Card(name=name or "data", title=name or "data", group="patient")


def _suggest(path: Path) -> str:
    close = difflib.get_close_matches(str(path), known_cards(), n=1)
    return f"; did you mean --data {close[0]}?" if close else ""
