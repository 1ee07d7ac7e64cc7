"""Pages of TIFF files, and the kinds that Pillow truncates to 8 bits, misreads or does not support (TIFF 6.0).

Colours, and grey with transparency, of 16 bits or in floating point are read by tifffile; what needs a decompressor that it lacks, by OpenCV.
"""

from __future__ import annotations

import io
import warnings
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from radiographs.colours import from_cmyk, luma, share_coloured, turned, upright

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _COLOURS, _FORMAT = 254, 258, 262, 274, 277, 320, 339
_WHITE_IS_ZERO, _PALETTE, _SEPARATED = 0, 3, 5
_REDUCED, _MASK = 1, 4  # bits of the kind of a page
_SIGNED = 2
_OVER = 2  # alpha that the colours are not multiplied with yet
_DEFLATE = (8, 32946)
_MOST_PAGES = 10_000


class TiffError(ValueError):
    """A TIFF file that cannot be used; the message says why."""


@dataclass(frozen=True)
class Page:
    """Grey levels (h, w) of a page, larger being brighter, upright; its mode, how many pages there are, the share of coloured pixels."""

    grey: np.ndarray
    mode: str
    pages: int
    coloured: float


def pages_of(image: Image.Image) -> list[int]:
    """Numbers of the pages that are separate pictures, neither smaller copies of others (pyramids) nor masks."""
    kinds = []
    for number in range(_MOST_PAGES):
        try:
            image.seek(number)
            kinds.append(int(_tags(image).get(_SUBFILE, 0) or 0))
        except EOFError:
            break
        except Exception:  # noqa: BLE001 - Pillow raises anything on damaged pages
            warnings.warn(f"what follows page {number} is damaged", stacklevel=2)
            break
    whole = [number for number, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)]
    return whole or [0]


def _tags(image: Image.Image) -> Any:
    """Tags of the page at hand; only TIFF pictures come here."""
    return cast(TiffImageFile, image).tag_v2


def is_beyond_pillow(image: Image.Image) -> bool:
    """Whether Pillow would keep 8 of the 16 bits of each colour of this page."""
    tags = _tags(image)
    return int(tags.get(_SAMPLES, 1)) > 1 and max(tags.get(_BITS, (1,))) > 8


def white_is_zero(image: Image.Image) -> bool:
    """Whether 0 is white on this page."""
    return _tags(image).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def as_written(image: Image.Image) -> np.ndarray | None:
    """Grey levels whose sign Pillow gets wrong, 8 bits with one and 32 without; None where it gets it right."""
    tags = _tags(image)
    bits, signed = max(tags.get(_BITS, (1,))), max(tags.get(_FORMAT, (1,))) == _SIGNED
    if image.mode == "L" and signed and bits == 8:
        return np.asarray(image).view(np.int8).astype(np.float32)
    if image.mode == "I" and not signed and bits == 32:
        return np.asarray(image).view(np.uint32).astype(np.float32)
    return None


def palette_grey(image: Image.Image) -> np.ndarray | None:
    """Grey levels (h, w) uint8 of a page with a palette; None where it has none. Entries have 16 bits, but some writers put 8 there."""
    colours = _tags(image).get(_COLOURS)
    if image.mode != "P" or not colours or len(colours) % 3:
        return None
    table = np.array(colours, np.float32).reshape(3, -1).T  # (n, 3)
    levels = table if table.max() < 256 else np.floor(table / 256)
    indices = np.asarray(image)
    if indices.size and indices.max() >= len(levels):
        raise TiffError("its palette is too short")
    return luma(levels.astype(np.uint8)[None])[0][indices]


def deep_page(data: bytes, number: int, max_pixels: int) -> Page:
    """Read a page that Pillow cannot keep as it is.

    Raises
    ------
    TiffError
        If it is too large, damaged, or of a kind that is not read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = len(file.pages)
            if not pages:
                raise TiffError("damaged: it has no page")
            if number >= pages:
                raise TiffError(f"has {pages} {'frame' if pages == 1 else 'frames'}, not frame {number}")
            page = cast(tifffile.TiffPage, file.pages[number])  # a frame with fewer tags, which is damage here
            values = _colours(_values(data, page, number, max_pixels), page)
            mode = f"TIFF {cast(Enum, page.photometric).name} {page.dtype}"
            coloured = share_coloured(values[..., :3]) if values.ndim == 3 and values.shape[2] >= 3 else 0.0
            tag = page.tags.get(_ORIENTATION)
            return Page(upright(_as_grey(values, page), int(tag.value) if tag else 1), mode, pages, coloured)
    except (TiffError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - tifffile raises anything on damaged data
        raise TiffError(f"damaged or of an unknown kind ({type(error).__name__})") from None


def _values(data: bytes, page: Any, number: int, max_pixels: int) -> np.ndarray:
    """Return decoded samples, (h, w) or (h, w, samples)."""
    if page.imagewidth * page.imagelength > max_pixels:
        raise TiffError(f"{page.imagewidth} x {page.imagelength} is over the limit of {max_pixels:,} pixels")
    if page.samplesperpixel > 5 or page.imagedepth > 1:
        raise TiffError(f"has {page.samplesperpixel} values per pixel: not a plain picture")
    _check_inflation(data, page)
    try:
        values = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        values = _by_opencv(data, page, number)
    planes = values.ndim == 3 and page.axes.startswith("S")
    return np.moveaxis(values, 0, 2) if planes else values


def _by_opencv(data: bytes, page: Any, number: int) -> np.ndarray:
    """Return samples (h, w, 3 or 4) of a page compressed with what tifffile has no decompressor for."""
    import cv2

    if page.planarconfig != 1 or page.samplesperpixel not in (3, 4) or page.photometric != 2:
        raise TiffError(f"is compressed with {page.compression.name}, which is not read for this kind")
    found, images = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(number, number + 1))
    if not found or images[0].dtype != page.dtype or images[0].shape != page.shape:
        raise TiffError("damaged or truncated")
    return images[0][..., [2, 1, 0, *range(3, page.samplesperpixel)]]


def _check_inflation(data: bytes, page: Any) -> None:
    """Refuse deflated parts that inflate to more than the picture, which tifffile would not notice before memory is full."""
    whole = page.imagewidth * page.imagelength * page.samplesperpixel * page.dtype.itemsize
    if page.compression not in _DEFLATE or sum(page.databytecounts) * 1032 <= 2 * whole + (1 << 24):
        return
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        unpacker = zlib.decompressobj()
        unpacker.decompress(data[start : start + length], whole + 1)
        if unpacker.unconsumed_tail:
            raise TiffError("inflates to more than the picture that its header states")


def _colours(values: np.ndarray, page: Any) -> np.ndarray:
    """Return samples of which the first three, where there are so many, are red, green and blue."""
    kind = int(page.photometric)
    if kind == _PALETTE and page.colormap is not None:
        values = page.colormap.T[values]  # (h, w, 3)
    if values.ndim == 3 and kind == _SEPARATED and values.shape[2] == 4:
        values = from_cmyk(values)
    return values


def _as_grey(values: np.ndarray, page: Any) -> np.ndarray:
    if values.ndim not in (2, 3) or values.size == 0 or not np.isfinite(values).all():
        raise TiffError("has NaN or infinite values, or is not a plain picture")
    if int(page.photometric) == _WHITE_IS_ZERO:
        values = turned(values)
    if values.ndim == 2:
        return luma(values)
    n = 3 if values.shape[2] >= 3 else 1
    transparent = values.shape[2] > n and [int(extra) for extra in page.extrasamples[:1]] == [_OVER]
    return luma(values[..., :n] if n == 3 else values[..., 0], values[..., n] if transparent else None)
