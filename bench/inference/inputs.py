"""From what a person names (files, folders, patterns, a list on standard input) to preprocessed images, one after another."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.preprocess import Preprocessing
from radiographs.read import MAX_PIXELS, Picture, UnreadableImageError, read_bytes, read_picture
from radiographs.readers import SECONDS, CutOffError, in_order, readers
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
class InputImage:
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
        Why there are no pixels; or, where there are, in what the file contradicts itself.
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


def load_images(
    items: Iterable[Item],
    preprocessing: Preprocessing,
    *,
    workers: int,
    every_frame: bool = False,
    max_pixels: int = MAX_PIXELS,
    seconds: float = SECONDS,
) -> Iterator[list[InputImage]]:
    """Decode and preprocess files in processes, in order, with a bounded number begun; for each file its images, or why there are none.

    Parameters
    ----------
    seconds
        That an image may take, after which it is given up and its process is ended.
    """

    def look(file: str, frame: int) -> tuple[InputImage, int]:
        place = Path(file).absolute()  # of a process that may have begun in another folder
        return readers().do(_look, place, file, frame, preprocessing, max_pixels, seconds=seconds)

    def one(item: Item) -> list[InputImage]:
        if item.reason:
            return [InputImage(item.file, 0, None, reason=item.reason)]
        try:
            first, frames = look(item.file, 0)
            return [first, *(look(item.file, frame)[0] for frame in range(1, frames if every_frame else 1))]
        except (UnreadableImageError, CutOffError) as error:
            return [InputImage(item.file, 0, None, reason=str(error).removeprefix(f"{item.file}: "))]

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from in_order(pool, one, items)
        finally:
            pool.shutdown(cancel_futures=True)


def _look(place: Path, file: str, frame: int, preprocessing: Preprocessing, max_pixels: int) -> tuple[InputImage, int]:
    """One frame of a file, and how many the file has."""
    picture = read_picture(place, file, frame=frame, max_pixels=max_pixels)
    return preprocess_picture(file, frame, picture, preprocessing), picture.frames


def decode_bytes(
    data: bytes, frame: int, wanted: Sequence[Preprocessing], max_pixels: int, seconds: float
) -> tuple[list[InputImage], dict[str, Any]]:
    """Decode a file's content in a process, for several models.

    Returns
    -------
    What each model gets to see, and the file's frames, kind and modality.

    Raises
    ------
    UnreadableImageError
        If it is no picture that can be used, or takes too long.
    """
    try:
        return readers().do(_decode_bytes, data, frame, tuple(wanted), max_pixels, seconds=seconds)
    except CutOffError as error:
        raise UnreadableImageError(f"the file: {error}") from None


def _decode_bytes(
    data: bytes, frame: int, wanted: Sequence[Preprocessing], max_pixels: int
) -> tuple[list[InputImage], dict[str, Any]]:
    try:
        picture = read_bytes(data, "the file", frame=frame, max_pixels=max_pixels)
    except MemoryError:
        raise UnreadableImageError("the file: needs more memory than there is") from None
    facts = {"frames": picture.frames, "kind": picture.mode, "modality": picture.tags.get("modality", "")}
    return [preprocess_picture("", frame, picture, settings) for settings in wanted], facts


def preprocess_picture(file: str, frame: int, picture: Picture, preprocessing: Preprocessing) -> InputImage:
    """Preprocess a picture for a model."""
    pixels = preprocessing.apply(picture.grey, picture.padding)
    coloured = picture.coloured > _COLOURED
    return InputImage(file, frame, pixels, dict(picture.tags), coloured, "; ".join(picture.remarks))
