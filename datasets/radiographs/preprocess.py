"""The one preprocessing that every model shares: grey levels of any size in, (side, side) uint8 out.

It learns nothing: each image is treated by itself, so that the same pixels are right for every fold.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

VERSION = 3  # part of the cache key: raise it when the same settings give different pixels


class Preprocessing(BaseModel):
    """Settings of the shared preprocessing, the table ``[preprocessing]`` of a suite file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: int = Field(default=224, ge=32, le=1024)  # pixels
    crop: bool = True
    shape: Literal["pad", "stretch"] = "pad"
    denoise: Literal["none", "gaussian", "median"] = "none"
    clahe: bool = False
    normalise: bool = True

    def apply(self, grey: np.ndarray, padding: np.ndarray | None = None) -> np.ndarray:
        """Preprocess one image.

        Parameters
        ----------
        grey : ndarray of shape (h, w), uint8
            Uint16 or float32; larger is brighter.
        padding : ndarray of shape (h, w), bool, optional
            Pixels that only fill the rectangle.

        Returns
        -------
        ndarray of shape (side, side), uint8
        """
        image = to_uint8(grey, padding) if self.normalise or grey.dtype != np.uint8 else grey
        if self.crop:
            top, bottom, left, right = exposed_field(image)
            image = image[top:bottom, left:right]
        image = _denoise(image, self.denoise)
        image = _square(image, self.side, self.shape)
        return cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(image) if self.clahe else image


def to_uint8(grey: np.ndarray, padding: np.ndarray | None = None, low: float = 0.1, high: float = 99.9) -> np.ndarray:
    """Grey levels stretched so that the `low` and `high` percentiles become 0 and 255.

    Percentiles of the full picture rather than its extremes: one dead pixel or a lead marker must not set the window.
    A picture with a single value becomes black. Pixels of `padding` do not count.
    """
    every = slice(None, None, max(1, grey.shape[0] // 512)), slice(None, None, max(1, grey.shape[1] // 512))
    thinned = grey[every]
    if padding is not None and not padding[every].all():
        thinned = thinned[~padding[every]][None]  # (1, n)
    counted = grey.dtype in (np.uint8, np.uint16)
    floor, ceiling = _percentiles(thinned, low, high) if counted else np.percentile(thinned, (low, high))
    if ceiling <= floor:
        floor, ceiling = float(grey.min()), float(grey.max())
    if ceiling <= floor:
        return np.zeros(grey.shape, np.uint8)
    if not counted:
        return _stretched(grey, floor, ceiling)
    table = _stretched(np.arange(np.iinfo(grey.dtype).max + 1), floor, ceiling)
    return cv2.LUT(grey, table) if grey.dtype == np.uint8 else table[grey]


def _percentiles(grey: np.ndarray, *shares: float) -> list[float]:
    """Percentiles of uint8 or uint16 grey levels by counting them, as `numpy.percentile` gives them by sorting."""
    levels = np.iinfo(grey.dtype).max + 1
    counts = cv2.calcHist([np.ascontiguousarray(grey)], [0], None, [levels], [0, levels])
    below = np.cumsum(counts, dtype=np.int64)  # number of pixels up to each level
    places = np.array(shares) / 100 * (grey.size - 1)
    lower, upper = (np.searchsorted(below, np.floor(places) + k, side="right") for k in (0, 1))
    upper = np.minimum(upper, levels - 1)
    return list(lower + (upper - lower) * (places - np.floor(places)))


def _stretched(grey: np.ndarray, floor: float, ceiling: float) -> np.ndarray:
    with np.errstate(over="ignore"):  # of numbers as large as float32 holds
        scaled = (grey.astype(np.float32) - np.float32(floor)) * np.float32(255 / (ceiling - floor))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def exposed_field(image: np.ndarray, tolerance: float = 10, share: float = 0.03) -> tuple[int, int, int, int]:
    """Return the box that remains when uniform lines are removed from the four sides.

    Collimated radiographs carry wide borders of one grey level. A row or column belongs to the border while the grey levels
    of its pixels, the brightest and darkest `share` left aside for side markers, lie within `tolerance` levels.
    Rows are judged within the remaining columns and vice versa, until nothing changes. A crop that would leave less than
    a tenth of the width or height is not made.

    Parameters
    ----------
    image : ndarray of shape (h, w), uint8

    Returns
    -------
    tuple of 4 int
        Top, bottom, left, right, for ``image[top:bottom, left:right]``.
    """
    height, width = image.shape
    scale = max(1, min(round(max(height, width) / 256), height, width))
    small = image[: height // scale * scale, : width // scale * scale]
    small = cv2.resize(small, (width // scale, height // scale), interpolation=cv2.INTER_AREA)
    small = cv2.medianBlur(small, 3)
    top, bottom, left, right = 0, small.shape[0], 0, small.shape[1]
    while True:
        box = small[top:bottom, left:right]
        rows, columns = (_outermost(lines, share, tolerance) for lines in (box, box.T))
        if rows is None or columns is None:
            break
        found = top + rows[0], top + rows[1] + 1, left + columns[0], left + columns[1] + 1
        if found == (top, bottom, left, right):
            break
        top, bottom, left, right = found
    if bottom - top < 0.1 * small.shape[0] or right - left < 0.1 * small.shape[1]:
        return 0, height, 0, width
    margin = 1  # a small pixel on each side, so that rounding never cuts
    return (
        max(0, (top - margin) * scale),
        min(height, (bottom + margin) * scale),
        max(0, (left - margin) * scale),
        min(width, (right + margin) * scale),
    )


def _outermost(lines: np.ndarray, share: float, tolerance: float) -> tuple[int, int] | None:
    """First and last of the lines (n, length) that are not border; None where all are."""
    first = _first(lines, share, tolerance)
    if first is None:
        return None
    behind = _first(lines[::-1], share, tolerance)
    return None if behind is None else (first, len(lines) - 1 - behind)


def _first(lines: np.ndarray, share: float, tolerance: float, block: int = 8) -> int | None:
    """First line whose grey levels, `share` of them left out at both ends, lie farther apart than `tolerance`."""
    n = lines.shape[1]
    low, high = int(share * n), n - 1 - int(share * n)
    for start in range(0, len(lines), block):
        ordered = np.partition(lines[start : start + block], (low, high), axis=1)
        inside = ordered[:, high].astype(np.int16) - ordered[:, low] > tolerance
        if inside.any():
            return start + int(inside.argmax())
    return None


def _denoise(image: np.ndarray, kind: str) -> np.ndarray:
    if kind == "gaussian":
        return cv2.GaussianBlur(image, (0, 0), 1.0)
    return cv2.medianBlur(image, 3) if kind == "median" else image


def _square(image: np.ndarray, side: int, shape: str) -> np.ndarray:
    height, width = image.shape
    if shape == "stretch":
        return _resize(image, side, side)
    scale = side / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    square = np.zeros((side, side), np.uint8)
    top, left = (side - new_height) // 2, (side - new_width) // 2
    square[top : top + new_height, left : left + new_width] = _resize(image, new_height, new_width)
    return square


def shrunk(image: np.ndarray, longest: int) -> np.ndarray:
    """Return the image with at most this many pixels along its longer side, and at least one along the other."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1:
        return image
    return cv2.resize(image, None, fx=max(scale, 1 / width), fy=max(scale, 1 / height), interpolation=cv2.INTER_AREA)


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height * width < image.size
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
