"""Which files of a folder are pictures, and which were passed over and why."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from radiographs.dicom import PREAMBLE, is_dicom
from radiographs.read import DICOM_SUFFIXES, SUFFIXES

_SIDE_FILES = frozenset({".csv", ".tsv", ".toml", ".json", ".txt", ".md", ".parquet", ".npz", ".html", ".pdf"})
_CHECKSUMS = frozenset({"SHA256SUMS", "SHA512SUMS", "SHA1SUMS", "MD5SUMS"})  # as sha256sum and its like write them


@dataclass(frozen=True)
class Found:
    """Files below a folder.

    Attributes
    ----------
    files : tuple of Path
        Pictures by name (or, without an ending, by content), in the order of their names.
    passed_over : Counter
        How many others there are, by reason.
    """

    files: tuple[Path, ...]
    passed_over: Counter[str]

    @property
    def notes(self) -> list[str]:
        """A line for each kind of file that was passed over."""
        return [f"{n} files passed over: {reason}" for reason, n in sorted(self.passed_over.items())]


def find_pictures(root: Path, *, allow_outside: bool = False) -> Found:
    """List the pictures below a folder; nothing but a regular file inside of it is opened.

    Links to folders are not followed; links to files only where they lead inside, or where `allow_outside` says so.
    """
    passed_over: Counter[str] = Counter()
    return Found(tuple(each_picture(root, passed_over, allow_outside=allow_outside)), passed_over)


def each_picture(root: Path, passed_over: Counter[str], *, allow_outside: bool = False) -> Iterator[Path]:
    """Give the pictures below a folder one after another, as `find_pictures` lists them; others are counted in `passed_over`."""
    inside = root.resolve()
    for path in _walk(root, passed_over):
        reason = _refusal(path, inside, allow_outside=allow_outside)
        if reason is None:
            yield path
        elif reason:
            passed_over[reason] += 1


def _walk(root: Path, passed_over: Counter[str]) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        hidden = [name for name in folders if name.startswith(".")]
        passed_over["hidden folder"] += len(hidden)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            yield Path(folder) / name
    for reason in [reason for reason, n in passed_over.items() if not n]:
        del passed_over[reason]


def _refusal(path: Path, inside: Path, *, allow_outside: bool) -> str | None:
    """Why a file is passed over; None if it is a picture, empty for a table or a text, which nobody misses."""
    if path.name.startswith("."):
        return "hidden, or a resource fork (._x)"
    if path.name.upper() == "DICOMDIR":
        return "DICOMDIR"
    suffix = path.suffix.lower()
    if suffix in _SIDE_FILES or path.name in _CHECKSUMS:
        return ""
    if (
        suffix not in SUFFIXES and suffix not in DICOM_SUFFIXES and not suffix[1:].isdigit()
    ):  # 1.2.840.113 has the suffix .113
        return "no picture by their ending"
    try:
        if path.is_symlink() and not (allow_outside or path.resolve().is_relative_to(inside)):
            return "a link that leads out of the folder (--allow-outside)"
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a regular file"
        if suffix not in SUFFIXES and suffix not in DICOM_SUFFIXES[:-1]:
            with path.open("rb") as stream:
                return None if is_dicom(stream.read(PREAMBLE + 4)) else "no ending, and not DICOM"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return None
