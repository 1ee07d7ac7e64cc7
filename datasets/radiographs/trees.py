"""Folders of pictures without a table: labelled by their folders, or by their DICOM headers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radiographs.cards import Card
from radiographs.class_folders import ClassFolders, are_identifiers, find_class_folders
from radiographs.headers import Header, mostly_dicom, read_headers, sorted_by_class
from radiographs.layouts import passed_over, with_headers
from radiographs.listing import Hints, Listing, SourceError, finish
from radiographs.read import DICOM_SUFFIXES, SUFFIXES
from radiographs.walk import find_pictures, is_side_folder, output_of

_PER_CLASS = 5  # images per folder, on average, below which folders with names like patients are not classes
_WAY_OUT = "give a .csv as --data, or sort the images into one folder per class"
_SHOWN = 12  # names in a note


@dataclass(frozen=True)
class Tree:
    """Pictures below a folder, with their headers and the folders that may be their classes."""

    root: Path
    names: list[str]  # of the files, relative to root
    headers: list[Header]
    folders: ClassFolders
    dicom: bool  # whether most of the files are, or a medium says that it is one of DICOM files
    notes: list[str]


def open_tree(root: Path, card: Card, hints: Hints, layout: str | None = None) -> Listing:
    """List a folder of pictures in the requested layout, or else in the one that fits.

    Where most files are DICOM and their folders can be classes, the folders decide, and a note says so.

    Raises
    ------
    SourceError
        If no picture has a label.
    """
    tree = _look(root, hints)
    if layout is None:
        if tree.dicom and not sorted_by_class(tree.folders.labels, tree.headers):
            layout = "dicom"
        else:
            _refuse_patients(tree)
    if layout == "dicom":
        return _by_headers(tree, card, hints)
    return _by_folders(tree, card, hints, _strays(tree) if layout is None else [])


def _look(root: Path, hints: Hints) -> Tree:
    found = find_pictures(root, allow_outside=hints.allow_outside)
    every = [file.relative_to(root).as_posix() for file in found.files]
    headers = read_headers(root, every)
    kept = [k for k, header in enumerate(headers) if header.frames > 0]
    notes = passed_over(found.notes)
    if len(kept) < len(every):
        notes.append(
            f"D002: {len(every) - len(kept)} DICOM files skipped: not pictures (presentation states, reports, key objects)"
        )
    names, headers = [every[k] for k in kept], [headers[k] for k in kept]
    folders = find_class_folders([tuple(name.split("/")) for name in names])
    dicom = "DICOMDIR" in found.passed_over or mostly_dicom(names, headers)
    return Tree(root, names, headers, folders, dicom, notes)


def _by_folders(tree: Tree, card: Card, hints: Hints, strays: Sequence[str]) -> Listing:
    """One sub-folder per class, images anywhere below it, without the folders that are strays."""
    rows = [k for k, label in enumerate(tree.folders.labels) if label is not None and label not in strays]
    loose = sum(label is None for label in tree.folders.labels)
    if not rows:
        raise _no_classes(tree, loose)
    labels = [label for label in (tree.folders.labels[k] for k in rows) if label is not None]
    items = pd.DataFrame({"file": [tree.names[k] for k in rows], "part": [tree.folders.parts[k] for k in rows]})
    items = items.assign(
        image_id=items["file"], labels=pd.Series([[card.classes.get(label, label)] for label in labels], dtype=object)
    )
    items = with_headers(tree.root, items, hints, [tree.headers[k] for k in rows])
    notes = [*tree.folders.notes, *tree.notes, *_empty_folders(tree)]
    if any(header.is_dicom for header in tree.headers):
        shown = _shown(sorted(set(labels)))
        notes.insert(
            0, f"D005: labels come from the folders ({shown}), not from BodyPartExamined; otherwise: --layout dicom"
        )
    if strays:
        left = sum(label in strays for label in tree.folders.labels)
        notes.append(
            f"D002: {left} images that are not DICOM, in folders of their own, are ignored: {_shown(strays)}; if these are classes: --layout folders"
        )
    if loose:
        notes.append(f"D002: {loose} images are in no class folder and are ignored")
    return finish(tree.root, card, "folders", items, notes, hints)


def _strays(tree: Tree) -> list[str]:
    """Folders without any DICOM file where two or more others hold such files and these are most: a viewer and its icons."""
    labels = [label for label in tree.folders.labels if label is not None]
    of_dicom = {label for label, h in zip(tree.folders.labels, tree.headers, strict=True) if label and h.is_dicom}
    return sorted(set(labels) - of_dicom) if tree.dicom and len(of_dicom) > 1 else []


def _no_classes(tree: Tree, loose: int) -> SourceError:
    """Report that no picture is in a class folder."""
    what = f"holds no image ({', '.join(SUFFIXES)}, DICOM)"
    if loose:
        below = " below train, val and test" if any(tree.folders.parts) else ""
        what = f"holds {loose} images but no sub-folder per class{below}"
    return SourceError(f"{tree.root}: {what} and no table of labels: {_WAY_OUT}")


def _refuse_patients(tree: Tree) -> None:
    """Refuse folders with names like patients that hold few images each; the names are not quoted."""
    names, n = tree.folders.names, sum(label is not None for label in tree.folders.labels)
    if are_identifiers(names) and n < _PER_CLASS * len(names):
        raise SourceError(
            f"{tree.root}: its {len(names)} folders with {n} images have names like patients or exams, not like classes: {_WAY_OUT}; if they are classes: --layout folders"
        )


def _empty_folders(tree: Tree) -> list[str]:
    """Report folders beside the class folders without a usable picture."""
    empty: dict[str, None] = {}
    for base in sorted(tree.folders.bases):
        with os.scandir(tree.root.joinpath(*base)) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if entry.is_dir() and entry.name not in tree.folders.names and not _is_aside(entry):
                    empty[entry.name + (" (a link)" if entry.is_symlink() else "")] = None
    return [f"D013: {len(empty)} folders beside the classes hold no image: {_shown(list(empty))}"] if empty else []


def _is_aside(entry: os.DirEntry[str]) -> bool:
    """Whether a folder is an operating system's, or holds results."""
    if is_side_folder(entry.name):
        return True
    try:
        below = list(Path(entry.path).iterdir())
        inside = [below, *(list(folder.iterdir()) for folder in below if folder.is_dir())]
        return any(output_of(each.name for each in entries) for entries in inside)
    except OSError:
        return False


def _by_headers(tree: Tree, card: Card, hints: Hints) -> Listing:
    """DICOM files anywhere below, labelled by BodyPartExamined, grouped by patient; files without body part are counted and left out."""
    card = card.model_copy(update={"at_least_one": True})
    rows, kept, others, unlabelled = [], [], 0, 0
    for name, header, split in zip(tree.names, tree.headers, tree.folders.parts, strict=True):
        part = header.tags.get("body_part", "").upper()
        part, refused = card.classes.get(part, part), ""
        if not part:
            if not header.is_dicom and not name.lower().endswith(DICOM_SUFFIXES[:-1]):
                others += 1
                continue
            if header.tags.get("instance"):
                unlabelled += 1
                continue
            refused = "no header states what it shows (BodyPartExamined)"
        rows.append((name, name, [part] if part else [], split, refused))
        kept.append(header)
    if all(refused for *_, refused in rows):
        raise SourceError(
            f"{tree.root}: none of its {len(tree.names)} DICOM files has a BodyPartExamined: give a .csv table with file and label as --data, or --layout folders"
        )
    notes = [*(tree.folders.notes if any(tree.folders.parts) else ()), *tree.notes]
    if len(tree.folders.names) > 1:
        notes.insert(0, "D005: labels come from BodyPartExamined, not from the folders; otherwise: --layout folders")
    if unlabelled:
        notes.append(f"D002: {unlabelled} DICOM files have no BodyPartExamined and are ignored")
    if others:
        notes.append(f"D002: {others} pictures that are not DICOM have no label and are ignored")
    items = pd.DataFrame(rows, columns=["image_id", "file", "labels", "part", "refused"])
    return finish(tree.root, card, "dicom", with_headers(tree.root, items, hints, kept), notes, hints)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
