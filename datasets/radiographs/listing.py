"""What a source lists: image ids, files, label sets and groups, before any picture is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from radiographs.cards import Card, Columns
from radiographs.patients import identify, join_studies
from radiographs.read import MAX_PIXELS

PSEUDONYM = r"x[0-9a-f]{20}"  # name of an image whose file name may identify somebody
_DEFAULTS = {"frame": 0, "expected": "", "part": "", "refused": ""}
COLUMNS = ("image_id", "file", "labels", "group", "frame", "expected", "known", "part", "refused")
SOURCE_ONLY = ("expected", "known", "part", "refused")  # of no use to results


class SourceError(ValueError):
    """Data that cannot be used as requested; one line that names the path or key and the way out."""


@dataclass(frozen=True)
class Listing:
    """Images to read, in the order of their names.

    Attributes
    ----------
    root : Path
        The data folder.
    card : Card
    layout : str
    items : DataFrame
        image_id; file (relative to root); labels (list of str, as shown); group (a pseudonym); frame (of a DICOM file, from 0);
        expected (the file's SHA-256 if the source states one, else empty); known (whether the group is a patient that the source
        names); part ("train", "valid" or "test" of a split that the folders are, else empty); refused (why the image must not be used
        though it may be readable, else empty).
    grouped : bool
        Whether the groups are known, or each image is its own.
    notes : tuple of str
        Notes for the user; findings of `radiographs.audit` begin with their code.
    allow_outside : bool
        Whether files may be outside root.
    max_pixels : int
        Of one file, above which it is not decoded.
    private : bool
        Whether names of files and images may identify somebody, and must not leave the listing.
    """

    root: Path
    card: Card
    layout: str
    items: pd.DataFrame
    grouped: bool
    notes: tuple[str, ...] = ()
    allow_outside: bool = False
    max_pixels: int = MAX_PIXELS
    private: bool = False


@dataclass(frozen=True)
class Hints:
    """The user's hints on a source; None where not given.

    Attributes
    ----------
    file, label, group, separator : str, optional
        Columns of a table, and the separator between several labels.
    layout : {"folders", "dicom"} or None
        Where pictures without a table get their labels: from their folders, or from their DICOM headers.
    frames : {"first", "each"}
        Of DICOM files with several frames: the first one, or an image for each.
    allow_outside : bool
        Whether files may be outside the data folder.
    max_pixels : int
        Of one file, above which it is not decoded.
    keep_identifiers : bool
        Whether images keep the names of their files in results, whatever the card says.
    classes : mapping or None
        Other names for classes, as shown; an empty name leaves the class out.
    """

    file: str | None = None
    label: str | None = None
    group: str | None = None
    separator: str | None = None
    frames: str = "first"
    allow_outside: bool = False
    max_pixels: int = MAX_PIXELS
    keep_identifiers: bool = False
    classes: Mapping[str, str] | None = None
    layout: str | None = None

    def columns(self, default: Columns) -> Columns:
        """Return the columns of a card, overridden by the user's hints."""
        said = {
            name: value for name, value in asdict(self).items() if name in Columns.model_fields and value is not None
        }
        return default.model_copy(update=said)


def finish(root: Path, card: Card, layout: str, items: pd.DataFrame, notes: Iterable[str], hints: Hints) -> Listing:
    """Sort by id, or by its hash where names are private, and number the patients in that order, which reveals nothing.

    Parameters
    ----------
    items : DataFrame
        image_id, file, labels, group (a patient, or empty); study if a table names it; frame, expected, part and refused where they are known.
    """
    private = not (card.public or hints.keep_identifiers)
    items = items.sort_values("image_id", ignore_index=True, key=_hashes if private else None)
    patients = identify(items["group"], card.group)
    notes = [*notes, *patients.notes]
    known = patients.keys != ""
    groups = patients.keys.where(known, "image\0" + items["image_id"])
    if "study" in items:
        studies = join_studies(groups, items["study"].fillna(""), known)
        groups, notes = studies.groups, [*notes, *studies.notes]
    codes, _ = pd.factorize(groups)
    items["group"] = "g" + pd.Series(codes + 1).astype(str).str.zfill(6)
    items["known"] = known
    for name, default in _DEFAULTS.items():
        items[name] = items[name].fillna(default) if name in items else default
    if hints.classes:
        items, said = _renamed(items, hints.classes, root)
        items, notes = items.reset_index(drop=True), notes + said
    known, used = items["known"], items["refused"] == ""
    if known.any() and not known[used].all():
        notes.append(
            f"D011: {int((~known & used).sum())} images have no {card.group}; each is a group of its own, or belongs to its study's"
        )
    return Listing(
        root,
        card,
        layout,
        items[list(COLUMNS)],
        bool(known.any()),
        tuple(notes),
        hints.allow_outside,
        hints.max_pixels,
        private,
    )


def _renamed(items: pd.DataFrame, classes: Mapping[str, str], root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Rename classes; images without remaining labels are left out. Also return notes for the user."""
    found = {label for labels in items["labels"] for label in labels}
    unknown = sorted(set(classes) - found)
    if unknown:
        raise SourceError(
            f"{root}: classes: no image has the class {unknown[0]!r}; available: {', '.join(sorted(found)[:30])}"
        )
    renamed = pd.Series(
        [list(dict.fromkeys(n for each in labels if (n := classes.get(each, each)))) for labels in items["labels"]],
        index=items.index,
        dtype=object,
    )
    dropped = (renamed.map(len) == 0) & (items["labels"].map(len) > 0)
    if dropped.all():
        raise SourceError(f"{root}: classes: no image is left")
    said = f"{int(dropped.sum())} images have only classes that are left out"
    return items.assign(labels=renamed)[~dropped], [said] if dropped.any() else []


def _hashes(names: pd.Series) -> pd.Series:
    """Return a sort key that is the same everywhere but not alphabetical, which would reveal names."""
    return names.map(lambda name: hashlib.sha256(str(name).encode()).hexdigest())


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
