"""From what a person names (files, folders, patterns, a list on standard input) to preprocessed images, one after another."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from radiographs.pixels import in_order
from radiographs.preprocess import Preprocessing
from radiographs.read import MAX_PIXELS, Picture, UnreadableImageError, read_picture
from radiographs.walk import each_picture

from bench.errors import UserError

_LIST = "-"
_COLOURED = 0.05  # share of coloured pixels from which on an image is none of an X-ray


@dataclass(frozen=True)
class Item:
    """One file to look at, or why there is none."""

    file: str
    reason: str = ""


@dataclass(frozen=True)
class Seen:
    """One image, or why it cannot be looked at.

    Attributes
    ----------
    file : str
    frame : int
    pixels : array, shape (side, side), or None
        uint8, preprocessed.
    tags : dict
        Of a DICOM file: see `radiographs.dicom.TAGS`.
    coloured : bool
        Whether the picture has colours, which no radiograph has.
    reason : str
    """

    file: str
    frame: int
    pixels: np.ndarray | None
    tags: dict[str, str] = field(default_factory=dict)
    coloured: bool = False
    reason: str = ""


def list_files(
    paths: Iterable[str], listed: Iterable[str], passed_over: Counter[str], *, outside: bool
) -> Iterator[Item]:
    """Give every file that the paths stand for, in a stable order; nothing is held in memory but the folder at hand.

    Parameters
    ----------
    paths
        Files, folders (walked), patterns with ``*``, or "-" for the lines of `listed`.
    passed_over
        Counts what was left alone in folders, by reason.
    outside
        Whether links may lead out of a folder.

    Raises
    ------
    UserError
        If a pattern fits no file.
    """
    for path in paths:
        if path == _LIST:
            lines = (line.rstrip("\r\n") for line in listed)
            yield from list_files((line for line in lines if line), (), passed_over, outside=outside)
        elif Path(path).is_dir():
            for found in each_picture(Path(path), passed_over, allow_outside=outside):
                yield Item(str(found))
        elif not Path(path).exists() and glob.has_magic(path):
            matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            if not matches:
                raise UserError(f"{path}: no file fits the pattern")
            yield from (Item(match) for match in matches if not Path(match).is_dir())
        elif path.startswith(_LIST) and len(path) > 1 and not Path(path).exists():
            yield Item(path, "no such file")
        else:
            yield Item(path)


def see(
    items: Iterable[Item],
    preprocessing: Preprocessing,
    *,
    workers: int,
    every_frame: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[list[Seen]]:
    """Decode and preprocess files by threads, in order, with a bounded number begun; for each file its images, or why there are none."""

    def one(item: Item) -> list[Seen]:
        if item.reason:
            return [Seen(item.file, 0, None, reason=item.reason)]
        try:
            first = read_picture(Path(item.file), item.file, max_pixels=max_pixels)
            seen = [seen_of(item.file, 0, first, preprocessing)]
            for frame in range(1, first.frames if every_frame else 1):
                picture = read_picture(Path(item.file), item.file, frame=frame, max_pixels=max_pixels)
                seen.append(seen_of(item.file, frame, picture, preprocessing))
            return seen
        except UnreadableImageError as error:
            return [Seen(item.file, 0, None, reason=str(error).removeprefix(f"{item.file}: "))]

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from in_order(pool, one, items)
        finally:
            pool.shutdown(cancel_futures=True)


def seen_of(file: str, frame: int, picture: Picture, preprocessing: Preprocessing) -> Seen:
    """Preprocess a picture for a model."""
    pixels = preprocessing.apply(picture.grey, picture.padding)
    return Seen(file, frame, pixels, dict(picture.tags), picture.coloured > _COLOURED)
