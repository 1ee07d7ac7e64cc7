"""From files, folders, patterns or a list on standard input to preprocessed images, one after another."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.preprocess import Preprocessing
from radiographs.read import MAX_PIXELS, Picture, UnreadableImageError, read_bytes, read_picture
from radiographs.readers import SECONDS, CutOffError, in_order, readers
from radiographs.walk import each_picture

from bench.errors import UserError

_LIST = "-"
_COLOURED = 0.05  # share of coloured pixels from which an image is not an X-ray


@dataclass(frozen=True)
class Item:
    """One file to read, or the reason why it cannot be."""

    file: str
    reason: str = ""


@dataclass(frozen=True)
class InputImage:
    """One image as a model takes it, or the reason why it could not be read.

    Attributes
    ----------
    file : str
        Path of the file, as given.
    frame : int
        Number of the frame, from 0.
    pixels : ndarray of uint8, shape (side, side), or None
        The preprocessed image; None if it could not be read.
    tags : dict of str to str
        Entries of a DICOM header: see `radiographs.dicom.TAGS`.
    coloured : bool
        Whether the picture has colours; no radiograph has.
    reason : str
        Why there are no pixels; or, if there are, how the file contradicts itself.
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
    """List the files that paths name, in a stable order, with one folder in memory at a time.

    Parameters
    ----------
    paths : iterable of str
        Files, folders (walked), patterns with ``*``, or "-" for the lines of `listed`.
    listed : iterable of str
        Lines of standard input.
    passed_over : Counter
        Counts skipped files of folders, by reason.
    outside : bool
        Whether links may lead outside a folder.

    Yields
    ------
    Item
        One file.

    Raises
    ------
    UserError
        If a pattern matches no file.
    """
    for path in paths:
        if path == _LIST:
            lines = (line.rstrip("\r\n") for line in listed)
            yield from list_files((line for line in lines if line), (), passed_over, outside=outside)
        elif Path(path).is_dir():
            for found in each_picture(Path(path), passed_over, allow_outside=outside):
                yield Item(str(found))
        elif not Path(path).exists() and glob.has_magic(path):
            yield from _matches(path)
        elif path.startswith(_LIST) and len(path) > 1 and not Path(path).exists():
            yield Item(path, "no such file")
        else:
            yield Item(path)


def _matches(pattern: str) -> Iterator[Item]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise UserError(f"{pattern}: no file matches the pattern")
    yield from (Item(match) for match in matches if not Path(match).is_dir())


def load_images(
    items: Iterable[Item],
    preprocessing: Preprocessing,
    *,
    workers: int,
    every_frame: bool = False,
    max_pixels: int = MAX_PIXELS,
    seconds: float = SECONDS,
) -> Iterator[list[InputImage]]:
    """Decode and preprocess files in processes, in order, with a bounded number of files ahead.

    Parameters
    ----------
    items : iterable of Item
        Files.
    preprocessing : Preprocessing
        Of the model.
    workers : int
        Files read in parallel.
    every_frame : bool
        Whether every frame of a DICOM file is an image, or the first alone.
    max_pixels : int
        Larger images are not decoded; all frames count.
    seconds : float
        Time limit per image, after which its process is killed.

    Yields
    ------
    list of InputImage
        The images of one file, or one without pixels that states the reason.
    """
    read = partial(
        _read_file, preprocessing=preprocessing, every_frame=every_frame, max_pixels=max_pixels, seconds=seconds
    )
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from in_order(pool, read, items)
        finally:
            pool.shutdown(cancel_futures=True)


def _read_file(
    item: Item, preprocessing: Preprocessing, every_frame: bool, max_pixels: int, seconds: float
) -> list[InputImage]:
    """Read the images of a file, each in a process that is killed when it takes too long."""
    if item.reason:
        return [InputImage(item.file, 0, None, reason=item.reason)]
    place = Path(item.file).absolute()  # of a process that may have started in another folder

    def read_frame(frame: int) -> tuple[InputImage, int]:
        return readers().do(_decode_frame, place, item.file, frame, preprocessing, max_pixels, seconds=seconds)

    try:
        first, n_frames = read_frame(0)
        return [first, *(read_frame(frame)[0] for frame in range(1, n_frames if every_frame else 1))]
    except (UnreadableImageError, CutOffError) as error:
        return [InputImage(item.file, 0, None, reason=str(error).removeprefix(f"{item.file}: "))]


def _decode_frame(
    place: Path, file: str, frame: int, preprocessing: Preprocessing, max_pixels: int
) -> tuple[InputImage, int]:
    """Return one frame of a file, and how many frames the file has."""
    picture = read_picture(place, file, frame=frame, max_pixels=max_pixels)
    return preprocess_picture(file, frame, picture, preprocessing), picture.frames


def decode_bytes(
    data: bytes, frame: int, wanted: Sequence[Preprocessing], max_pixels: int, seconds: float
) -> tuple[list[InputImage], dict[str, Any]]:
    """Decode a file's content in a process, for several models.

    Parameters
    ----------
    data : bytes
        Content of the file.
    frame : int
        Number of the frame, from 0.
    wanted : sequence of Preprocessing
        Of each model.
    max_pixels : int
        Larger images are not decoded; all frames count.
    seconds : float
        Time limit for the image, after which its process is killed.

    Returns
    -------
    images : list of InputImage
        The image as each model takes it.
    facts : dict
        The file's frames, kind and modality.

    Raises
    ------
    UnreadableImageError
        If it is not a usable picture, or takes too long.
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
        raise UnreadableImageError("the file: needs more memory than is available") from None
    facts = {"frames": picture.frames, "kind": picture.mode, "modality": picture.tags.get("modality", "")}
    return [preprocess_picture("", frame, picture, settings) for settings in wanted], facts


def preprocess_picture(file: str, frame: int, picture: Picture, preprocessing: Preprocessing) -> InputImage:
    """Preprocess a picture for a model."""
    pixels = preprocessing.apply(picture.grey, picture.padding)
    coloured = picture.coloured > _COLOURED
    return InputImage(file, frame, pixels, dict(picture.tags), coloured, "; ".join(picture.remarks))
