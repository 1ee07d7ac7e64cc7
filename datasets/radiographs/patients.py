"""Patients of images: which values name a patient and which do not, several spellings of one patient, and studies."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radiographs.audit.duplicates import Pair, merge_groups

MOST_PATIENTS = 5  # of one StudyInstanceUID; with more it was written by an anonymiser and is not a study
_NOBODY = re.compile(
    r"n/?a|n\.a\.?|#n/a|nan|none|null|nil|undefined|missing|unk(nown)?|unbekannt|inconnu|desconhecido|desconocido"
    r"|not?[ _-]?(available|known|given|applicable|stated|id|name|patient|patient[ _-]?id)"
    r"|anon|anonym|anonymous|anonymi[sz]ed|anonymous[ _^-]*(anonymous|patient)|(patient|unknown|no)[ _^-]*anonymous|unknown[ _-]?patient"
    r"|de-?identified|deid|removed|redacted|deleted|hidden|blank|empty|x{3,}|[-_.?*#/\\ ^]+"
)
_DOUBTFUL = re.compile(
    r"0+|-1|-?9{3,}|123(4(5\d*)?)?|test|patient|id|dummy|default|name"
)  # which may name somebody too
_MANY, _TIMES = 10, 5  # images of a doubtful value, and how often as many as of the next, from which on it names nobody
_NUMBER = re.compile(r"0*(\d+)(?:\.0+)?")  # as spreadsheets write whole numbers


@dataclass(frozen=True)
class Patients:
    """Patient of each image.

    Attributes
    ----------
    keys : Series of str
        Equal for one patient in any spelling; empty if unknown.
    notes : tuple of str
        Notes for the user, with the code of the finding.
    """

    keys: pd.Series
    notes: tuple[str, ...]


def identify(values: pd.Series, noun: str = "patient") -> Patients:
    """Determine which patient each value means.

    Parameters
    ----------
    values : Series of str
        As in a table or a header; missing or empty if there is none.
    noun : str
        What a group is called.
    """
    texts = values.fillna("").astype(str)
    keys = texts.map({text: one_spelling(text) for text in texts.unique()})
    nobody = keys.isin(_nobodies(keys))
    notes = []
    if nobody.any():
        words = ", ".join(sorted({repr(text.strip()[:20]) for text in texts[nobody].unique()})[:5])
        notes.append(f"D017: {int(nobody.sum())} images have a {noun} that identifies nobody: {words}")
    keys = keys.mask(nobody, "")
    named = keys[keys != ""]
    if named.nunique() == 1 and len(named) > max(1, len(keys) / 2):
        notes.append(f"D017: {len(named)} images have the same {noun}, and there is no other: it identifies nobody")
        keys = keys.mask(keys != "", "")
    spellings = texts[keys != ""].str.strip().groupby(keys[keys != ""]).nunique()
    if (spellings > 1).any():
        several = int((spellings > 1).sum())
        notes.append(f"D018: {several} {noun}s are spelled in several ways, and count as one each")
    return Patients(keys, tuple(notes))


def identify_all(values: Sequence[str]) -> list[str]:
    """Return what `identify` makes of each value, without its notes."""
    return identify(pd.Series(values, dtype=str)).keys.tolist()


def _nobodies(keys: pd.Series) -> set[str]:
    """Return the values that identify nobody, by their wording, or because no patient can have so many images."""
    sizes = keys[keys != ""].value_counts()
    words = {key for key in sizes.index if _NOBODY.fullmatch(key)}
    doubtful = {key for key in sizes.index if _DOUBTFUL.fullmatch(key)}
    others = sizes[[key for key in sizes.index if key not in words | doubtful]]
    enough = max(_MANY, _TIMES * int(others.max()) if len(others) else 0)
    return words | {key for key in doubtful if sizes[key] >= enough}


def one_spelling(text: str) -> str:
    """Return the normal form of a value, which all its spellings share.

    >>> one_spelling(" P 7") == one_spelling("p  7"), one_spelling("007.0")
    (True, '7')
    """
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    plain = " ".join(unicodedata.normalize("NFKC", plain.casefold()).split())
    number = _NUMBER.fullmatch(plain)
    return number[1] if number else plain


@dataclass(frozen=True)
class Studies:
    """Groups of images with the studies joined, and oddities of the studies.

    Attributes
    ----------
    groups : Series of str
    joined : tuple of str
        Studies that hold images of several known patients, whose groups are joined.
    unbelievable : tuple of str
        Studies that are ignored: one for everything, or one of more than `MOST_PATIENTS` patients.
    """

    groups: pd.Series
    joined: tuple[str, ...]
    unbelievable: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """Notes for the user, with the code of the finding."""
        joined, not_believed = len(self.joined), len(self.unbelievable)
        notes = [f"D026: {joined} {_studies(joined)} images of several patients, who share a group"] if joined else []
        if not_believed:
            notes.append(
                f"D026: {not_believed} {_studies(not_believed)} images of everybody, or of more than {MOST_PATIENTS} patients, and is ignored"
            )
        return notes


def _studies(n: int) -> str:
    return "StudyInstanceUID stands on" if n == 1 else "StudyInstanceUIDs stand each on"


def join_studies(groups: pd.Series, studies: pd.Series, known: pd.Series) -> Studies:
    """Join the images of a study into one group.

    Parameters
    ----------
    groups : Series of str
    studies : Series of str
        Empty where none is known.
    known : Series of bool
        Whether the group of an image is a known patient, or its own.
    """
    patients = groups[known].groupby(studies[known]).nunique().drop("", errors="ignore")  # of each study
    named = studies[studies != ""]
    unbelievable = set(patients.index[patients > MOST_PATIENTS])
    if named.nunique() == 1 and groups[named.index].nunique() > 1 and len(named) > MOST_PATIENTS:
        unbelievable.add(named.iloc[0])
    rows = pd.Series(np.arange(len(groups)))[(studies != "").to_numpy() & ~studies.isin(unbelievable).to_numpy()]
    first = rows.groupby(studies.to_numpy()[rows]).transform("first")
    pairs = [Pair(int(a), int(b), 1.0) for a, b in zip(first, rows, strict=True) if a != b]
    joined = tuple(str(study) for study in patients.index[patients > 1] if study not in unbelievable)
    return Studies(merge_groups(groups, pairs), joined, tuple(sorted(map(str, unbelievable))))
