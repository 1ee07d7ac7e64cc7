"""What is odd about the names of classes: duplicates in another spelling, lists given as one label, and values that are not classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from radiographs.class_folders import are_identifiers
from radiographs.patients import one_spelling

LONGEST = 200  # characters of a class name
_SHOWN = 60
_LIST = re.compile(r"\s*[\[({].*[\])}]\s*", re.DOTALL)
_STRONG, _WEAK = ("|", ";"), (",", "/", "+", "&", " ")  # separators; the latter occur in names of classes too
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?\s*(y|yrs?|years?|m|months?|d|days?|cm|mm|kg|%)?", re.IGNORECASE)
_COUNTED, _MANY_NUMBERS = (
    10,
    30,
)  # number of classes that numbers may plausibly be; not counting from 0 or 1, and counting
_ALONE, _FEW = (
    2,
    5,
)  # images per class, on average, below which labels are names of images; or of patients, if they look so


def shown(label: str) -> str:
    """Return a label in one line of bounded length."""
    text = "".join(c if c.isprintable() else " " for c in label[: _SHOWN + 1])
    return text if len(label) <= _SHOWN else f"{text[:_SHOWN]}... ({len(label):,} characters)"


def odd_labels(sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield code and text for whatever is odd about classes.

    Parameters
    ----------
    sizes : mapping of str to int
        Images of each class.
    """
    names = sorted(sizes)
    for twins in _twins(names):
        yield "D014", " and ".join(f"{_exactly(name, twins)} ({sizes[name]} images)" for name in twins)
    for name in names:
        if _holds_several(name, sizes):
            yield "D015", f"{shown(name)!r} ({sizes[name]} images) reads as a list of labels"
        if len(name) > LONGEST:
            yield "D016", f"{shown(name)!r} is too long for the name of a class"
    if _are_measured(names):
        yield (
            "D016",
            f"{len(names)} classes are all numbers ({', '.join(map(shown, names[:5]))}, ...): they seem to be measurements",
        )
    elif len(names) > _COUNTED and sum(sizes.values()) < _ALONE * len(names):
        yield "D016", f"{len(names)} classes for {sum(sizes.values())} labels: they seem to name images or patients"
    elif len(names) > 1 and are_identifiers(names) and sum(sizes.values()) < _FEW * len(names):
        yield (
            "D016",
            f"{len(names)} classes have names like patients, exams or dates ({', '.join(map(shown, names[:3]))}, ...)",
        )


def lost_classes(listed: pd.Series, usable: pd.Series) -> list[tuple[str, int]]:
    """Return the classes of which no image can be used, with the number of images listed; both are label sets."""
    sizes = listed.explode().value_counts()
    left = set(usable.explode())
    return sorted((str(name), int(n)) for name, n in sizes.items() if name not in left)


def _twins(names: Sequence[str]) -> list[list[str]]:
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(" ".join(re.split(r"[\s_-]+", one_spelling(name[:LONGEST]))), []).append(name)
    return [twins for twins in spellings.values() if len(twins) > 1]


def _exactly(name: str, twins: Sequence[str]) -> str:
    """Quote a name so that it is distinguishable from its duplicates: other Unicode forms look the same."""
    alike = len({one_spelling(twin) == twin.casefold() for twin in twins}) > 1 or not name.isprintable()
    return ascii(name[:_SHOWN]) if alike and not name.isascii() else repr(shown(name))


def _holds_several(name: str, names: Mapping[str, int]) -> bool:
    """Whether a label is a list as programs write it, or consists of other labels."""
    if _LIST.fullmatch(name):
        return any(mark in name for mark in ",'\"")
    for separator in (*_STRONG, *_WEAK):
        parts = [part.strip() for part in name[: 10 * LONGEST].split(separator)]
        known = sum(part in names for part in parts)
        if separator == " " and not all(part.isdigit() for part in parts):
            continue
        if len(parts) > 1 and (known == len(parts) or (separator in _STRONG and known)):
            return True
    return False


def _are_measured(names: Sequence[str]) -> bool:
    """Whether classes are measurements, such as ages and sizes, rather than numbered classes."""
    if len(names) <= _COUNTED or not all(_NUMBER.fullmatch(name.strip()) for name in names):
        return False
    whole = sorted(int(name) for name in names if name.strip().isascii() and name.strip().isdigit())
    counted = len(whole) == len(names) and whole[0] in (0, 1) and whole[-1] - whole[0] == len(whole) - 1
    return not counted or len(names) > _MANY_NUMBERS
