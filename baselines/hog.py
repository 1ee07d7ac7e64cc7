"""Histograms of oriented gradients (Dalal and Triggs 2005), equal to ``skimage.feature.hog`` and many times faster.

No angle is computed: a gradient's bin is the number of bin edges that it has passed, by the sign of a cross product, and
edges that mirror each other at 90 degrees share its two products. Every step runs along a row of the image in a loop that compilers
turn into vector instructions.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

VERSION = 3  # part of the key of cached encodings: raise it when the numbers change

_EPSILON = 1e-5
_CLIP = 0.2  # L2-Hys: Lowe's clipping, section 6.4 of Dalal and Triggs
_ROWS = 4  # rows of pixels whose magnitudes are added in one pass
_ZERO, _ONE = np.float32(0), np.float32(1)
_FAST = {"contract", "reassoc", "nsz"}  # sums may be reordered; NaN and infinity cannot occur


class HOG:
    """HOG descriptor with hard orientation bins and L2-Hys block normalisation.

    Parameters
    ----------
    cell : int
        Side of a cell in pixels.
    block : int
        Side of a block in cells.
    orientations : int
        Number of unsigned orientation bins over 180 degrees.
    """

    family = "classical"

    def __init__(self, cell: int = 16, block: int = 2, orientations: int = 9) -> None:
        self.cell = cell
        self.block = block
        self.orientations = orientations

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Describe images.

        Parameters
        ----------
        images : ndarray
            (n, h, w) uint8.

        Returns
        -------
        ndarray
            (n, d) float32 with d = blocks down x blocks across x block x block x orientations, in scikit-image's order.

        Raises
        ------
        ValueError
            If an image is too small to hold one block.
        """
        n, height, width = images.shape
        rows, columns = height // self.cell, width // self.cell
        down, across = rows - self.block + 1, columns - self.block + 1
        if down < 1 or across < 1:
            raise ValueError(
                f"HOG: {height} x {width} images hold no block of {self.block} x {self.block} cells of {self.cell} pixels"
            )
        out = np.empty((n, down * across * self.block**2 * self.orientations), np.float32)
        _hog(
            np.ascontiguousarray(images),
            self.cell,
            self.block,
            _edges(self.orientations),
            out,
        )
        return out


def _edges(orientations: int) -> np.ndarray:
    """Sine and cosine of the angles at which bins 1, 2, ... begin, (2, orientations - 1) float32."""
    angle = np.pi / orientations * np.arange(1, orientations)
    return np.stack([np.sin(angle), np.cos(angle)]).astype(np.float32)


@njit(parallel=True, cache=True, nogil=True, fastmath=_FAST)
def _hog(images, cell, block, edges, out):  # pragma: no cover - compiled
    n, height, width = images.shape
    rows, columns, orientations = height // cell, width // cell, edges.shape[1] + 1
    share = np.float32(1 / (cell * cell))
    for index in prange(n):
        histogram = np.empty((rows, columns, orientations), np.float32)
        sums = np.empty((orientations, columns * cell), np.float32)  # of one row of cells, for each column of pixels
        down, across = np.zeros(width, np.float32), np.zeros(width, np.float32)
        magnitude, bins = np.empty((_ROWS, width), np.float32), np.empty((_ROWS, width), np.float32)
        for row in range(rows):
            sums[:] = 0
            end = (row + 1) * cell
            for start in range(row * cell, end, _ROWS):
                for k in range(_ROWS):
                    if start + k < end:
                        _gradient(images[index], start + k, down, across)
                        _polar(down, across, magnitude[k], edges, bins[k])
                    else:
                        magnitude[k] = 0
                for o in range(orientations):
                    _add(sums[o], magnitude, bins, np.float32(o))
            for c in range(columns):
                for o in range(orientations):
                    histogram[row, c, o] = sums[o, c * cell : (c + 1) * cell].sum() * share
        _normalise_blocks(histogram, block, out[index])


@njit(cache=True, nogil=True, fastmath=_FAST)
def _gradient(image, r, down, across):  # pragma: no cover - compiled
    """Central differences along both axes in row r; 0 at the image's border."""
    height, width = image.shape
    if 0 < r < height - 1:
        above, below = image[r - 1], image[r + 1]
        for c in range(width):
            down[c] = np.float32(np.int32(below[c]) - np.int32(above[c]))
    else:
        down[:] = 0
    here = image[r]
    for c in range(1, width - 1):
        across[c] = np.float32(np.int32(here[c + 1]) - np.int32(here[c - 1]))


@njit(cache=True, nogil=True, fastmath=_FAST)
def _polar(down, across, magnitude, edges, bins):  # pragma: no cover - compiled
    """Magnitude and bin of each gradient; gradients are turned into the half plane of angles below 180 degrees."""
    for c in range(len(down)):
        dr, dc = down[c], across[c]
        magnitude[c] = math.sqrt(dr * dr + dc * dc)
        turned = (dr < 0) | ((dr == 0) & (dc < 0))
        down[c] = -dr if turned else dr
        across[c] = -dc if turned else dc
        bins[c] = 0
    orientations = edges.shape[1] + 1
    for k in range(orientations // 2):
        sine, cosine = edges[0, k], edges[1, k]
        mirrored = _ONE if 2 * (k + 1) < orientations else _ZERO  # an edge at 90 degrees is its own mirror image
        for c in range(len(down)):
            left, right = across[c] * sine, down[c] * cosine
            bins[c] += (_ONE if left <= right else _ZERO) + (mirrored if left <= -right else _ZERO)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _add(total, magnitude, bins, o):  # pragma: no cover - compiled
    """Add the magnitudes of one bin in the _ROWS rows, written out."""
    m0, m1, m2, m3 = magnitude[0], magnitude[1], magnitude[2], magnitude[3]
    b0, b1, b2, b3 = bins[0], bins[1], bins[2], bins[3]
    for c in range(len(total)):
        first = (m0[c] if b0[c] == o else _ZERO) + (m1[c] if b1[c] == o else _ZERO)
        second = (m2[c] if b2[c] == o else _ZERO) + (m3[c] if b3[c] == o else _ZERO)
        total[c] += first + second


@njit(cache=True, nogil=True, fastmath=_FAST)
def _normalise_blocks(histogram, block, out):  # pragma: no cover - compiled
    rows, columns, orientations = histogram.shape
    strip = block * orientations
    width = block * strip
    position = 0
    for r in range(rows - block + 1):
        for c in range(columns - block + 1):
            values = out[position : position + width]
            total = np.float32(_EPSILON**2)
            for i in range(block):
                source, target = histogram[r + i, c : c + block].reshape(strip), values[i * strip : (i + 1) * strip]
                for k in range(strip):
                    target[k] = source[k]
                    total += source[k] * source[k]
            scale = np.float32(1) / math.sqrt(total)
            total = np.float32(_EPSILON**2)
            for k in range(width):
                values[k] = min(values[k] * scale, np.float32(_CLIP))
                total += values[k] * values[k]
            scale = np.float32(1) / math.sqrt(total)
            for k in range(width):
                values[k] *= scale
            position += width
