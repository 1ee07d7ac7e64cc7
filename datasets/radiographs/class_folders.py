"""Which folders of a tree are the classes: below folders that wrap everything, and below the parts of a published split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Path = tuple[str, ...]  # of a file, relative to the data folder

_WRAPPERS = re.compile(r"(images?|imgs?|pictures|data|data[ _-]?sets?|dicoms?|dcm|png|jpe?g|x-?rays?|radiographs|all)")
_PARTS = {
    "train": re.compile(r"(images?[ _-]?)?tr(ai)?n(ing)?([ _-]?(set|data|images?|imgs?|split|part|folder))?"),
    "valid": re.compile(r"(images?[ _-]?)?(val|valid|validation|validate|dev)([ _-]?(set|data|images?|imgs?|split|part|folder))?"),
    "test": re.compile(r"(images?[ _-]?)?(te?st|testing|holdout|held[ _-]?out|eval|evaluation)([ _-]?(set|data|images?|imgs?|split|part|folder))?"),
    "fold": re.compile(r"(cv[ _-]?)?(fold|split)[ _-]?\d+"),
}  # fmt: skip
_IDENTIFIER = re.compile(
    r"(?!(class|cls|grade|stage|type|category|label|level)[ ._-]?\d+$).*\d{4,}.*"  # numbers of patients and exams, dates
    r"|\d+(\.\d+){2,}"  # UIDs
    r"|(?=.*\d)[0-9a-f]{8,}(-[0-9a-f]{4,})*"  # hashes and UUIDs
    r"|(p|pt|pat|patient|subj|subject|sub|s|case|study|st|series|se|exam|ex|acc|im|img|visit|day|scan|id)[ ._-]?\d+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ClassFolders:
    """Where the classes of a tree are.

    Attributes
    ----------
    labels : tuple
        Name of the class folder of each file; None if it is in none.
    parts : tuple of str
        "train", "valid", "test" of each file, where the folders are a published split; empty where they are none.
    bases : frozenset of paths
        The folders whose sub-folders are the classes; () is the data folder itself.
    notes : tuple of str
        How the folders were understood.
    """

    labels: tuple[str | None, ...]
    parts: tuple[str, ...]
    bases: frozenset[Path]
    notes: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The classes, sorted."""
        return sorted({label for label in self.labels if label is not None})


def find_class_folders(paths: Sequence[Path]) -> ClassFolders:
    """Find the classes: the folders at the top, unless these wrap everything or are train, val and test."""
    depth, inside, notes = 0, dict.fromkeys(range(len(paths))), []
    parts = [""] * len(paths)
    while True:
        below = {i: paths[i][depth:] for i in inside}
        tops = Counter(rest[0] for rest in below.values() if len(rest) > 1)
        split = _split(tops)
        chosen = set(split) or _wrapper(tops, list(below.values()))
        if not chosen:
            break
        inside = {i: None for i, rest in below.items() if len(rest) > 1 and rest[0] in chosen}
        for i in inside:
            parts[i] = split.get(below[i][0], "") if parts[i] in ("", "fold") else parts[i]
        depth += 1
        notes.append(_said(split))
    labels = [paths[i][depth] if i in inside and len(paths[i]) > depth + 1 else None for i in range(len(paths))]
    if len(set(labels) - {None}) == 1 and all(_is_no_class(label) for label in labels if label):
        labels = [None] * len(paths)
    if not any(parts):
        parts = _parts_below(paths, labels, depth)
        notes += [_said(dict(zip(parts, parts, strict=True)))] if any(parts) else []
    parts = ["" if part == "fold" else part for part in parts]
    notes += _same_below(paths, labels, depth)
    return ClassFolders(
        tuple(labels), tuple(parts), frozenset(paths[i][:depth] for i in inside), tuple(dict.fromkeys(notes))
    )


def are_identifiers(names: Sequence[str]) -> bool:
    """Whether most of these folders have names like patients, exams, dates or files, as classes do not."""
    return 2 * sum(bool(_IDENTIFIER.fullmatch(name)) for name in names) > len(names)


def _split(tops: Counter[str]) -> dict[str, str]:
    """Part of each folder that belongs to a split; none where there are not two parts."""
    found = {name: part for name in tops for part, form in _PARTS.items() if form.fullmatch(name.strip().casefold())}
    folds = {name: part for name, part in found.items() if part == "fold"}
    if len(folds) > 1 and len(folds) == len(tops):
        return folds
    found = {name: part for name, part in found.items() if part != "fold"}
    return found if len(set(found.values())) > 1 else {}


def _wrapper(tops: Counter[str], below: Sequence[Path]) -> set[str]:
    """Return the one folder that holds the classes without being one; its files are in sub-folders that do not have names like patients."""
    for name, n in tops.most_common(1):
        wraps = _is_no_class(name)
        deeper = Counter(rest[1] for rest in below if len(rest) > 2 and rest[0] == name)
        if 2 * sum(deeper.values()) <= n or not (len(tops) == 1 or (wraps and 2 * n >= sum(tops.values()))):
            continue
        if wraps or not are_identifiers(list(deeper)):
            return {name}
    return set()


def _same_below(paths: Sequence[Path], labels: Sequence[str | None], depth: int) -> list[str]:
    """Say that the folders below the classes could be the classes too, where they are the same in each: hospitals above body parts."""
    below: dict[str, set[str]] = {}
    for path, label in zip(paths, labels, strict=True):
        if label is not None:
            below.setdefault(label, set()).add(path[depth + 1] if len(path) > depth + 2 else "")
    names = next(iter(below.values()), set())
    if len(below) < 2 or len(names) < 2 or "" in names or any(each != names for each in below.values()):
        return []
    if are_identifiers(sorted(names)) or _split(Counter(names)):
        return []
    return [
        f"D005: the classes are {', '.join(sorted(below)[:5])}, not the {len(names)} folders below each, which have the same names; otherwise: a card.toml with layout = 'paths'"
    ]


def _is_no_class(name: str) -> bool:
    return any(form.fullmatch(name.strip().casefold()) for form in (_WRAPPERS, *_PARTS.values()))


def _parts_below(paths: Sequence[Path], labels: Sequence[str | None], depth: int) -> list[str]:
    """Part of each file where train, val and test stand below the classes; nothing where they do not everywhere."""
    labelled = [i for i, label in enumerate(labels) if label is not None]
    split = _split(Counter(paths[i][depth + 1] for i in labelled if len(paths[i]) > depth + 2))
    parts = [""] * len(paths)
    for i in labelled:
        parts[i] = split.get(paths[i][depth + 1], "") if len(paths[i]) > depth + 2 else ""
    return parts if labelled and all(parts[i] for i in labelled) else [""] * len(paths)


def _said(split: dict[str, str]) -> str:
    kinds = sorted(set(split.values()), key=[*_PARTS, ""].index)
    if not kinds:
        return "D005: one folder contains all others: the classes are the folders below it"
    if kinds == ["fold"]:
        return "D005: the folders are folds, not classes: new folds are made"
    return f"D005: the folders {', '.join(kinds)} are a published split, not classes: new folds are made; to use the published split: --splits folders"
