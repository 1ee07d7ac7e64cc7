"""Several data sets as one, to train on all of them: a table of files, labels and patients in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from radiographs.cards import Card
from radiographs.disk import write_whole
from radiographs.sources import Hints, Listing, open_source

from bench.errors import UserError
from bench.study.plan import DataSet

_log = logging.getLogger(__name__)
_SEPARATOR, _TABLE = "|", "images.csv"


def source(data: Sequence[DataSet], name: str, cache: Path) -> tuple[str, Hints]:
    """Path and hints of one data set, or of a table that joins several.

    The table names files by absolute paths and stays in the cache; results have pseudonyms.

    Raises
    ------
    SourceError
        If a data set cannot be listed.
    UserError
        If the table cannot hold a class.
    """
    if len(data) == 1:
        return data[0].path, data[0].hints
    listings = [open_source(Path(each.path), each.hints) for each in data]
    table = pd.concat([_rows(each, listing) for each, listing in zip(data, listings, strict=True)], ignore_index=True)
    text, card = table.to_csv(index=False, lineterminator="\n"), _card([each.card for each in listings], data, name)
    folder = cache / "pools" / hashlib.sha256(f"{text}{card}".encode()).hexdigest()[:16]
    if not (folder / "card.toml").exists():
        write_whole(folder / _TABLE, text)
        write_whole(folder / "card.toml", card)
    return str(folder / "card.toml"), Hints(allow_outside=True)


def _card(cards: Sequence[Card], data: Sequence[DataSet], name: str) -> str:
    """Return the card of all data sets together."""
    facts = {
        "name": name,
        "title": " + ".join(each.name for each in data),
        "synthetic": any(card.synthetic for card in cards),
        "at_least_one": all(card.at_least_one for card in cards),
        "layout": "table",
        "table": _TABLE,
        "licence": "; ".join(dict.fromkeys(card.licence for card in cards)),
        "citation": "\n".join(dict.fromkeys(card.citation for card in cards if card.citation)),
    }
    columns = {"file": "file", "label": "labels", "group": "patient", "separator": _SEPARATOR}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items()]
    return "\n".join([*lines, "[columns]", *(f"{key} = {json.dumps(value)}" for key, value in columns.items())]) + "\n"


def _rows(data: DataSet, listing: Listing) -> pd.DataFrame:
    refused = listing.items["refused"]
    if (refused != "").any():
        left = refused[refused != ""]
        _log.warning("%s: %d images are left out of the pool: %s", data.name, len(left), left.iloc[0])
    items = listing.items[refused == ""]
    for name in {label for labels in items["labels"] for label in labels}:
        if _SEPARATOR in name or name != name.strip():
            raise UserError(f"{data.path}: class {name!r}: give it another name below classes, without {_SEPARATOR!r}")
    return pd.DataFrame(
        {
            "file": [str((listing.root / file).resolve()) for file in items["file"]],
            "labels": items["labels"].map(_SEPARATOR.join),
            "patient": (f"{data.name} " + items["group"]).where(items["known"], ""),
        }
    )
