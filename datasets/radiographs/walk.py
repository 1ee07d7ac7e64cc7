"""Which files of a folder are pictures, and which were skipped and why."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from radiographs.part10 import PREAMBLE
from radiographs.read import DICOM_SUFFIXES, SUFFIXES, looks_like_picture

_SIDE_FILES = frozenset({".csv", ".tsv", ".toml", ".json", ".txt", ".md", ".parquet", ".npz", ".html", ".pdf"})
_SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
_OUTPUTS = {  # files that identify a folder of results, and its kind; these are never input
    ("run.json", "splits.parquet"): "a run of bench",
    ("splits.parquet", "cells"): "a run of bench",
    ("model.json", "SHA256SUMS"): "a model that bench exported",
    ("study.json", "study.toml"): "a study of bench",
    ("trials.journal",): "what bench tune wrote",
    ("explanations.json", "explanations.html"): "what bench explain wrote",
    ("worklist.csv", "audit.html"): "what bench audit wrote",
    ("_plan.json",): "predictions of bench predict",
    ("report.html", "figures"): "a report of bench",
    ("tables", "figures"): "a report of bench",
    ("CACHEDIR.TAG",): "a cache",
    ("pyvenv.cfg",): "a Python environment",
}
_CHECKSUMS = frozenset({"SHA256SUMS", "SHA512SUMS", "SHA1SUMS", "MD5SUMS"})  # as sha256sum and its like write them
_LEFTOVERS = frozenset({".bak", ".tmp", ".temp", ".old", ".orig", ".part", ".partial", ".crdownload"})


@dataclass(frozen=True)
class Found:
    """Files below a folder.

    Attributes
    ----------
    files : tuple of Path
        Pictures by name or, if the ending is inconclusive, by content, in the order of their names.
    passed_over : Counter
        How many others there are, by reason.
    """

    files: tuple[Path, ...]
    passed_over: Counter[str]

    @property
    def notes(self) -> list[str]:
        """A line for each kind of skipped file."""
        counts = sorted(self.passed_over.items())
        return [f"{n} {'file' if n == 1 else 'files'} skipped: {reason}" for reason, n in counts]


def find_pictures(root: Path, *, allow_outside: bool = False) -> Found:
    """List the pictures below a folder; only regular files inside it are opened.

    Links are followed if they lead inside, or with `allow_outside`; not to folders that are listed at their own place.
    Results of this program, caches and folders of operating systems are skipped.
    """
    passed_over: Counter[str] = Counter()
    return Found(tuple(each_picture(root, passed_over, allow_outside=allow_outside)), passed_over)


def each_picture(root: Path, passed_over: Counter[str], *, allow_outside: bool = False) -> Iterator[Path]:
    """Yield the pictures below a folder, as `find_pictures` lists them; others are counted in `passed_over`."""
    inside = root.resolve()
    for path in _walk(root, passed_over, allow_outside=allow_outside):
        reason = _refusal(path, inside, allow_outside=allow_outside)
        if reason is None:
            yield path
        elif reason:
            passed_over[reason] += 1


def output_of(names: Iterable[str]) -> str:
    """Describe a folder with these entries if it holds results rather than data; empty for any other folder."""
    there = set(names)
    return next((what for marks, what in _OUTPUTS.items() if there.issuperset(marks)), "")


def is_side_folder(name: str) -> bool:
    """Whether a folder of this name is hidden, or an operating system's own."""
    return name.startswith(".") or name.casefold() in _SYSTEM_FOLDERS


def _walk(root: Path, passed_over: Counter[str], *, allow_outside: bool) -> Iterator[Path]:
    """Every file, folder by folder; a folder's own files come before those of its sub-folders."""
    inside = root.resolve()
    todo: list[tuple[Path, tuple[Path, ...]]] = [(root, ())]  # a folder, and where links led to on the way to it
    while todo:
        folder, through = todo.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            passed_over[f"a folder that cannot be listed ({error.strerror})"] += 1
            continue
        if folder != root and (what := output_of(entry.name for entry in entries)):
            passed_over[f"in {what}, which is never input"] += len(entries)
            continue
        below = []
        for entry in entries:
            if not _is_folder(entry):
                yield Path(entry.path)
            elif reason := _folder_refusal(Path(entry.path), inside, through, allow_outside=allow_outside):
                passed_over[reason] += 1
            else:
                place = Path(entry.path)
                below.append((place, (*through, place.resolve()) if entry.is_symlink() else through))
        todo += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _folder_refusal(folder: Path, inside: Path, through: tuple[Path, ...], *, allow_outside: bool) -> str:
    """Why nothing below a folder is listed; empty if it is."""
    if is_side_folder(folder.name):
        return "hidden folder" if folder.name.startswith(".") else "folder of the operating system"
    if not folder.is_symlink():
        return ""
    target = folder.resolve()
    if any(place.is_relative_to(target) for place in (inside, folder.parent.resolve(), *through)):
        return "a link to a folder that holds it"
    if not target.is_relative_to(inside):
        return "" if allow_outside else "a link to a folder outside (--allow-outside)"
    hidden = any(is_side_folder(name) for name in target.relative_to(inside).parts)
    return "" if hidden else "a link to a folder that is listed at its own place"


def _refusal(path: Path, inside: Path, *, allow_outside: bool) -> str | None:
    """Why a file is skipped; None if it is a picture, empty for a table or a text, which needs no report."""
    if path.name.startswith("."):
        return "hidden, or a resource fork (._x)"
    if path.name.upper() == "DICOMDIR":
        return "DICOMDIR"
    suffix = path.suffix.lower()
    if path.name in _CHECKSUMS:
        return ""
    if suffix in _LEFTOVERS or suffix.endswith("~"):
        return "backups, and partial files"
    try:
        if path.is_symlink() and not (allow_outside or path.resolve().is_relative_to(inside)):
            return "a link that leads outside the folder (--allow-outside)"
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a regular file"
        if suffix not in SUFFIXES and suffix not in DICOM_SUFFIXES[:-1]:
            with path.open("rb") as stream:
                if looks_like_picture(stream.read(PREAMBLE + 4)):
                    return None
            named = suffix not in DICOM_SUFFIXES and not suffix[1:].isdigit()  # 1.2.840.113 has the suffix .113
            if suffix in _SIDE_FILES:
                return ""
            return "not pictures, by ending and content" if named else "no ending, and not a picture"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return None
