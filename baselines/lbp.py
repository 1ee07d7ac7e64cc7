"""Uniform local binary patterns (Ojala, Pietikäinen and Mäenpää 2002), histogrammed on a grid of regions.

The codes are those of ``skimage.feature.local_binary_pattern(method="uniform")``: the neighbours are sampled with the same
bilinear arithmetic in float64, because in flat regions the last bit decides a code.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

VERSION = 1


class LBP:
    """Histograms of uniform LBP codes.

    Parameters
    ----------
    points, radius : int
        Number of neighbours on a circle of `radius` pixels.
    grid : int
        The image is divided into grid x grid regions, one histogram of points + 2 bins each.
    root : bool
        Take the square root of the shares (Hellinger's distance between histograms becomes Euclidean).
    """

    family = "classical"

    def __init__(self, points: int = 8, radius: int = 1, grid: int = 8, root: bool = True) -> None:
        self.points = points
        self.radius = radius
        self.grid = grid
        self.root = root

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Describe images.

        Parameters
        ----------
        images : ndarray
            (n, h, w) uint8.

        Returns
        -------
        ndarray
            (n, grid * grid * (points + 2)) float32: the shares of the codes per region, region by region.

        Raises
        ------
        ValueError
            If an image has fewer pixels than the grid has regions along a side.
        """
        if min(images.shape[1:]) < self.grid:
            raise ValueError(
                f"LBP: {images.shape[1]} x {images.shape[2]} images cannot be divided into {self.grid} x {self.grid} regions"
            )
        counts = np.zeros((len(images), self.grid, self.grid, self.points + 2), np.float32)
        _histograms(
            np.ascontiguousarray(images), *_circle(self.points, self.radius), _uniform_codes(self.points), counts
        )
        shares = counts / counts.sum(axis=3, keepdims=True)
        shares = np.sqrt(shares) if self.root else shares
        return shares.reshape(len(images), -1)  # (n, grid * grid * (points + 2))


def codes(images: np.ndarray, points: int, radius: float) -> np.ndarray:
    """Uniform LBP code of every pixel.

    Parameters
    ----------
    images : ndarray
        (n, h, w) uint8.

    Returns
    -------
    ndarray
        (n, h, w) uint8 in 0 .. points + 1; points + 1 for every pattern that is not uniform.
    """
    out = np.empty(images.shape, np.uint8)
    _codes(np.ascontiguousarray(images), *_circle(points, radius), _uniform_codes(points), out)
    return out


def _circle(points: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Row and column offsets of the neighbours, rounded as scikit-image rounds them."""
    angle = 2 * np.pi * np.arange(points) / points
    return np.round(-radius * np.sin(angle), 5), np.round(radius * np.cos(angle), 5)


def _uniform_codes(points: int) -> np.ndarray:
    """Code by (number of circular changes, number of ones): the ones where at most two changes, else points + 1."""
    table = np.full((points + 1, points + 1), points + 1, np.uint8)
    table[:3] = np.arange(points + 1)
    return table


@njit(parallel=True, cache=True, nogil=True)
def _codes(images, row_offsets, column_offsets, table, out):  # pragma: no cover - compiled
    for index in prange(len(images)):
        _image_codes(images[index], row_offsets, column_offsets, table, out[index])


@njit(parallel=True, cache=True, nogil=True)
def _histograms(images, row_offsets, column_offsets, table, counts):  # pragma: no cover - compiled
    n, height, width = images.shape
    grid = counts.shape[1]
    region = np.arange(width) * grid // width
    for index in prange(n):
        coded = np.empty((height, width), np.uint8)
        _image_codes(images[index], row_offsets, column_offsets, table, coded)
        for r in range(height):
            band = counts[index, r * grid // height]
            for c in range(width):
                band[region[c], coded[r, c]] += 1


@njit(cache=True, nogil=True)
def _image_codes(image, row_offsets, column_offsets, table, out):  # pragma: no cover - compiled
    """Row by row and point by point; the interpolation of the row below is reused as the row above."""
    height, width = image.shape
    points = len(row_offsets)
    pad = math.ceil(max(np.abs(row_offsets).max(), np.abs(column_offsets).max())) + 1
    padded = np.zeros((height + 2 * pad, width + 2 * pad), np.float64)  # 0 beyond the border, as in scikit-image
    padded[pad : pad + height, pad : pad + width] = image
    columns = np.arange(width).astype(np.float64)
    even, odd = np.empty((points, width), np.float64), np.empty((points, width), np.float64)
    bits = np.empty((points, width), np.uint8)
    ones, changes = np.empty(width, np.uint8), np.empty(width, np.uint8)
    for p in range(points):
        _along(padded[math.floor(row_offsets[p]) + pad], columns, column_offsets[p], pad, even[p])
    for r in range(height):
        centre = padded[r + pad, pad : pad + width]
        for p in range(points):
            upper = math.floor(r + row_offsets[p])
            weight = (r + row_offsets[p]) - upper
            above, below = (even[p], odd[p]) if r % 2 == 0 else (odd[p], even[p])
            if weight == 0:
                _along(padded[upper + pad], columns, column_offsets[p], pad, above)
                _compare(above, centre, bits[p])
            else:
                _along(padded[upper + 1 + pad], columns, column_offsets[p], pad, below)
                _blend_and_compare(above, below, weight, centre, bits[p])
        _count(bits, ones, changes)
        for c in range(width):
            out[r, c] = table[changes[c], ones[c]]


@njit(cache=True, nogil=True)
def _along(line, columns, offset, pad, out):  # pragma: no cover - compiled
    """Interpolate a padded row at columns + offset. The weights differ by column in their last bit, as in scikit-image."""
    left = math.floor(offset)
    first = line[pad + left : pad + left + len(out)]
    if offset == left:
        out[:] = first
        return
    second = line[pad + left + 1 : pad + left + 1 + len(out)]
    floor = np.float64(left)
    for c in range(len(out)):
        weight = (columns[c] + offset) - (columns[c] + floor)
        out[c] = (1 - weight) * first[c] + weight * second[c]


@njit(cache=True, nogil=True)
def _compare(sample, centre, bits):  # pragma: no cover - compiled
    for c in range(len(bits)):
        bits[c] = sample[c] >= centre[c]


@njit(cache=True, nogil=True)
def _blend_and_compare(above, below, weight, centre, bits):  # pragma: no cover - compiled
    for c in range(len(bits)):
        bits[c] = (1 - weight) * above[c] + weight * below[c] >= centre[c]


@njit(cache=True, nogil=True)
def _count(bits, ones, changes):  # pragma: no cover - compiled
    """Ones, and changes around the circle, of each column."""
    ones[:] = 0
    changes[:] = 0
    before = bits[len(bits) - 1]
    for p in range(len(bits)):
        now = bits[p]
        for c in range(len(now)):
            ones[c] += now[c]
            changes[c] += now[c] ^ before[c]
        before = now
