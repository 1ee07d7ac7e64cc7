"""A few pixels of a large picture: what each bone covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Region:
    """Some pixels of a picture.

    Parameters
    ----------
    top, left : int
        Corner of the smallest rectangle around them.
    mask : ndarray of shape (h, w), bool
        Which pixels of that rectangle.
    """

    top: int
    left: int
    mask: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the rectangle."""
        return slice(self.top, self.top + self.mask.shape[0]), slice(self.left, self.left + self.mask.shape[1])

    def moved(self, down: int, right: int) -> Region:
        """Return the same pixels further down and to the right."""
        return Region(self.top + down, self.left + right, self.mask)

    def turned(self, quarters: int, shape: tuple[int, int]) -> Region:
        """Return the region of the picture, (rows, columns) = `shape`, after quarter turns to the left, as `numpy.rot90` makes them."""
        region, (rows, columns) = self, shape
        for _ in range(quarters % 4):
            top = columns - region.left - region.mask.shape[1]
            region, (rows, columns) = Region(top, region.top, np.rot90(region.mask)), (columns, rows)
        return region

    def within(self, allowed: np.ndarray) -> Region | None:
        """Return those of its pixels that are set in (rows, columns) bool of the whole picture; None if there is none."""
        region = cut_out(self.mask & allowed[self.window])
        return region and region.moved(self.top, self.left)

    def whole(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return (rows, columns) bool of the picture of that shape."""
        out = np.zeros(shape, bool)
        out[self.window] = self.mask
        return out


def cut_out(mask: np.ndarray) -> Region | None:
    """Return the region of the pixels that are set in (rows, columns) bool; None if there is none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return Region(int(rows[0]), int(columns[0]), mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def joined(one: Region, other: Region) -> Region:
    """Return the pixels of both."""
    top, left = min(one.top, other.top), min(one.left, other.left)
    bottom, right = (max(r.window[axis].stop for r in (one, other)) for axis in (0, 1))
    mask = np.zeros((bottom - top, right - left), bool)
    for region in (one, other):
        mask[region.moved(-top, -left).window] |= region.mask
    return Region(top, left, mask)
