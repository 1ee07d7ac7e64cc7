"""Words burnt into pictures: letter-like shapes in a row, searched in the files at full size."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from radiographs.audit.cache import cached
from radiographs.listing import Listing
from radiographs.pixels import Pixels
from radiographs.preprocess import shrunk
from radiographs.read import UnreadableImageError, read_picture

VERSION = 1  # raise it when the same picture gives a different number
READ_AT, STROKE = 768, 21  # pixels of the longer side, and the largest width of a stroke
CONTRAST = 0.3  # share of the grey levels


def known_letters(listing: Listing, pixels: Pixels, cache: Path, *, workers: int) -> list[int]:
    """Letters in the fullest row of each usable image, from the cache if available."""
    usable = pixels.usable

    def count(item: tuple[str, int]) -> int:
        file, frame = item
        try:
            return letters(read_picture(listing.root / file, file, frame=frame, max_pixels=listing.max_pixels).grey)
        except UnreadableImageError:  # gone since it was decoded
            return 0

    def count_all() -> list[int]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(count, zip(pixels.files, usable["frame"].astype(int), strict=True)))

    digest = hashlib.sha256("\n".join(usable["sha256"] + usable["frame"].astype(str)).encode()).hexdigest()
    return cached(cache / "letters" / f"v{VERSION}-{digest}.json", count_all)


def letters(grey: np.ndarray) -> int:
    """Count the letter-like shapes in the row with most of them.

    Letters are brighter than what is around them, of one height, on one line, and stand close together. Side markers have one or two.

    Parameters
    ----------
    grey : array (h, w)
        Of any kind, at full size.
    """
    low, high = float(grey.min()), float(grey.max())
    if high <= low:
        return 0
    wide = grey.astype(np.float32 if high - low < 1e38 else np.float64)
    levels = ((wide - low) * (255 / (high - low))).astype(np.uint8)
    levels = shrunk(levels, READ_AT)
    stroke = cv2.morphologyEx(levels, cv2.MORPH_TOPHAT, np.ones((STROKE, STROKE), np.uint8))
    return _longest_row((stroke > CONTRAST * 255).astype(np.uint8))


def _longest_row(bright: np.ndarray) -> int:
    """Largest number of letter-like shapes in one row of a mask (h, w) of 0 and 1."""
    n, _, stats, centers = cv2.connectedComponentsWithStats(bright, connectivity=8)
    if not 1 < n <= 20_000:
        return 0
    columns = (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA)
    width, height, area = (stats[1:, column].astype(float) for column in columns)
    box = width * height
    fits = (
        (height >= 7)
        & (height <= 60)
        & (width >= 2)
        & (width <= 1.3 * height)
        & (area >= 0.15 * box)
        & (area <= 0.9 * box)
    )
    x, y, tall = centers[1:, 0][fits], centers[1:, 1][fits], height[fits]
    best = 0
    for k in np.argsort(y)[:200]:
        row = (np.abs(y - y[k]) < 0.35 * tall[k]) & (np.abs(tall - tall[k]) < 0.2 * tall[k])
        together = np.diff(np.sort(x[row])) < 2.5 * tall[k]
        if len(together):
            runs = np.diff(np.flatnonzero(np.concatenate([[True], ~together, [True]])))
            best = max(best, int(runs.max()))
    return best
