"""One check of a whole data set: files, labels, duplicates, shortcuts, suspicious pictures, and a given split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from radiographs.audit.duplicates import Pair
from radiographs.audit.findings import LEVELS, Finding, Row
from radiographs.audit.labels import lost_classes, odd_labels, shown
from radiographs.audit.pictures import suspicious
from radiographs.audit.shortcuts import EXCESS, facts, shortcut_accuracies
from radiographs.listing import Listing
from radiographs.patients import Studies, join_studies

_CODED = re.compile(r"(D\d{3}): (.*)", re.DOTALL)  # a note of a listing that is a finding
MAX_PER_SET = 12  # identical files of which all pairs are compared


@dataclass(frozen=True)
class Audit:
    """What a check found.

    Attributes
    ----------
    name, layout : str
    n_images, n_groups, n_excluded : int
    classes : DataFrame
        class, n_images, n_groups.
    label_sets : dict of int
        Label set as text -> images.
    findings : tuple of Finding
        Errors first; only those with cases.
    """

    name: str
    layout: str
    n_images: int
    n_groups: int
    n_excluded: int
    classes: pd.DataFrame
    label_sets: dict[str, int]
    findings: tuple[Finding, ...]

    def count(self, level: str) -> int:
        """Return the number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "name": self.name,
            "layout": self.layout,
            "n_images": self.n_images,
            "n_groups": self.n_groups,
            "n_excluded": self.n_excluded,
            "classes": self.classes.to_dict("records"),
            "label_sets": self.label_sets,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check(
    listing: Listing,
    manifest: pd.DataFrame,
    images: np.ndarray,
    near: list[Pair],
    *,
    folds: int = 5,
    splits: pd.DataFrame | None = None,
    refusal: str = "",
) -> Audit:
    """Check for everything that codes.toml names.

    Parameters
    ----------
    listing : Listing
    manifest : DataFrame
        Of every listed image, as `radiographs.pixels.load_pixels` gives it: groups hold a patient's studies, duplicates are not joined.
    images : array, shape (n_usable, side, side)
        uint8, preprocessed.
    near : list of Pair
        Near-duplicates, by rows of the usable images.
    folds : int
        Number of folds that the classes should fill.
    splits : DataFrame, optional
        Published splits, to be searched for duplicates across parts.
    refusal : str
        Why a run on these data would be refused; empty if it would not.
    """
    usable = manifest[manifest["status"] == "ok"].reset_index(drop=True)
    cases: dict[str, list[Row]] = defaultdict(list)
    if refusal:
        cases["D004"].append(Row((), refusal))
    for find in (_files, _labels, _pictures):
        for code, row in find(listing, manifest, usable, images, folds):
            cases[code].append(row)
    for code, row in _duplicates(usable, near, splits):
        if code != "D023" or listing.grouped:
            cases[code].append(row)
    findings = [Finding(code, tuple(rows)) for code, rows in sorted(cases.items())]
    sets = usable["labels"].map(_words).value_counts()
    return Audit(
        name=listing.card.title or listing.card.name,
        layout=listing.layout,
        n_images=len(usable),
        n_groups=int(usable["group"].nunique()),
        n_excluded=int((manifest["status"] != "ok").sum()),
        classes=_classes(usable).assign(**{"class": lambda table: table["class"].map(shown)}),
        label_sets={str(name): int(n) for name, n in sets.items()},
        findings=tuple(sorted(findings, key=lambda finding: (LEVELS.index(finding.level), finding.code))),
    )


Found = Iterator[tuple[str, Row]]


def _classes(usable: pd.DataFrame) -> pd.DataFrame:
    by_class = usable.explode("labels").groupby("labels")
    counts = {"n_images": by_class["image_id"].nunique(), "n_groups": by_class["group"].nunique()}
    return pd.DataFrame(counts).rename_axis("class").reset_index()


def _files(listing: Listing, manifest: pd.DataFrame, usable: pd.DataFrame, _images: np.ndarray, _folds: int) -> Found:
    for row in manifest[manifest["status"] != "ok"].to_dict("records"):
        yield "D001", Row((), f"{row['file']}: {row['reason']}")
    first = usable[(usable["frames"] > 1) & (usable["frame"] == 0) & ~usable["image_id"].str.contains("#")]
    for file, frames in zip(first["file"], first["frames"], strict=True):
        yield "D003", Row((), f"{file}: {frames} frames")
    for file, remark in zip(usable["file"], usable["remark"], strict=True):
        if remark:
            yield "D006", Row((), f"{file}: {remark}")
    for note in listing.notes:
        if found := _CODED.fullmatch(note):
            yield found[1], Row((), found[2])


def _labels(listing: Listing, manifest: pd.DataFrame, usable: pd.DataFrame, _images: np.ndarray, folds: int) -> Found:
    classes = _classes(usable)
    for row in classes.to_dict("records"):
        if row["n_groups"] < folds:
            text = f"{shown(row['class'])}: {row['n_images']} images of {row['n_groups']} groups for {folds} folds"
            yield "D010", Row((), text)
    for name, n in lost_classes(manifest["labels"], usable["labels"]):
        yield "D013", Row((), f"{shown(name)}: none of its {n} images can be used")
    for code, words in odd_labels(dict(zip(classes["class"], classes["n_images"], strict=True))):
        yield code, Row((), words)
    studies = studies_of(listing, manifest)
    for note in studies.notes:
        yield "D026", Row((), note.removeprefix("D026: "))
    if not listing.grouped:
        joined = (studies.groups != listing.items["group"]).any()
        whose = "the images of a study share a group" if joined else "each its own group"
        yield "D011", Row((), f"{len(usable)} images, {whose}")
        return
    parts = usable.explode("labels").groupby("group")["labels"].nunique()
    if (parts > 1).any():
        yield "D012", Row((), f"{(parts > 1).sum()} of {len(parts)}, with up to {parts.max()} classes")


def studies_of(listing: Listing, manifest: pd.DataFrame) -> Studies:
    """Join the studies that headers name to the patients that the source names."""
    return join_studies(listing.items["group"], manifest["study"], listing.items["known"])


def _pictures(
    _listing: Listing, _manifest: pd.DataFrame, usable: pd.DataFrame, images: np.ndarray, _folds: int
) -> Found:
    for code, row, words in suspicious(usable, images):
        labels = _words(usable["labels"].iloc[row])
        yield code, Row((usable["image_id"].iloc[row],), f"{usable['file'].iloc[row]} ({labels}): {words}")
    labels = usable["labels"].map("; ".join)
    for name, (accuracy, base) in shortcut_accuracies(facts(usable), labels, usable["group"]).items():
        if accuracy > base + EXCESS:
            yield "D030", Row((), f"{name}: accuracy {accuracy:.2f}, against {base:.2f} for the most frequent label")


def _duplicates(usable: pd.DataFrame, near: list[Pair], splits: pd.DataFrame | None) -> Found:
    parts = _parts(splits)
    same = {
        (a, b)
        for rows in usable.groupby("pixels_sha256").indices.values()
        for a, b in combinations(rows[:MAX_PER_SET], 2)
    }
    for a, b in sorted(same):
        yield from _pair(usable, a, b, "the same pixels", ("D020", "D021"), parts)
    for pair in near:
        if (pair.a, pair.b) not in same:
            yield from _pair(usable, pair.a, pair.b, f"similarity {pair.likeness:.2f}", ("D022", "D024"), parts)


def _pair(
    usable: pd.DataFrame, a: int, b: int, words: str, codes: tuple[str, str], parts: Callable[[str], list[str]]
) -> Found:
    one, other = usable.iloc[a], usable.iloc[b]
    labels = [_words(row["labels"]) for row in (one, other)]
    row = Row(
        (one["image_id"], other["image_id"]), f"{one['file']} ({labels[0]}) and {other['file']} ({labels[1]}): {words}"
    )
    yield codes[0], row
    if set(one["labels"]) != set(other["labels"]):
        yield codes[1], row
    if one["group"] != other["group"]:
        yield "D023", row
    if any(x != y for x, y in zip(parts(one["image_id"]), parts(other["image_id"]), strict=False)):
        yield "D025", row


def _words(labels: list[str]) -> str:
    return "; ".join(map(shown, labels))


def _parts(splits: pd.DataFrame | None) -> Callable[[str], list[str]]:
    """Part of an image in every repeat and fold, in one order."""
    if splits is None:
        return lambda _: []
    ordered = splits.sort_values(["repeat", "fold"])
    known = {str(name): rows.tolist() for name, rows in ordered.groupby("image_id", sort=False)["part"]}
    return lambda image: known.get(image, [])
