"""Histograms of oriented gradients (Dalal and Triggs 2005), equal to ``skimage.feature.hog`` and many times faster.

Grey levels are bytes, so a gradient is one of 511 x 511 integer pairs: its orientation bin is looked up, never computed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

VERSION = 1  # part of the key of kept encodings: raise it when the numbers change

_EPSILON = 1e-5
_CLIP = 0.2  # L2-Hys: Lowe's clipping, section 6.4 of Dalal and Triggs


class HOG:
    """HOG descriptor with hard orientation bins and L2-Hys block normalisation.

    Parameters
    ----------
    cell
        Side of a cell in pixels.
    block
        Side of a block in cells.
    orientations
        Number of unsigned orientation bins over 180 degrees.
    """

    def __init__(self, cell: int = 16, block: int = 2, orientations: int = 9) -> None:
        self.cell = cell
        self.block = block
        self.orientations = orientations

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Describe images.

        Parameters
        ----------
        images
            (n, h, w) uint8.

        Returns
        -------
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
            _orientation_bins(self.orientations),
            self.orientations,
            out,
        )
        return out


def _orientation_bins(orientations: int) -> np.ndarray:
    """Bin of each gradient (row difference + 255, column difference + 255) as scikit-image assigns it, (511, 511) uint8."""
    difference = np.arange(-255, 256, dtype=np.float64)
    angle = np.rad2deg(np.arctan2(difference[:, None], difference[None, :])) % 180  # (511, 511) degrees
    upper_edges = 180.0 / orientations * np.arange(1, orientations + 1)
    return np.searchsorted(upper_edges, angle, side="right").astype(np.uint8)


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _hog(images, cell, block, bins, orientations, out):  # pragma: no cover - compiled
    n, height, width = images.shape
    rows, columns = height // cell, width // cell
    area = np.float32(cell * cell)
    for index in prange(n):
        image = images[index]
        histogram = np.zeros((rows, columns, orientations), np.float32)
        for r in range(rows * cell):
            for c in range(columns * cell):
                dr = np.int32(image[r + 1, c]) - np.int32(image[r - 1, c]) if 0 < r < height - 1 else np.int32(0)
                dc = np.int32(image[r, c + 1]) - np.int32(image[r, c - 1]) if 0 < c < width - 1 else np.int32(0)
                magnitude = math.sqrt(np.float32(dr * dr + dc * dc))
                histogram[r // cell, c // cell, bins[dr + 255, dc + 255]] += magnitude
        histogram /= area
        _normalise_blocks(histogram, block, out[index])


@njit(cache=True, nogil=True, inline="always")
def _normalise_blocks(histogram, block, out):  # pragma: no cover - compiled
    rows, columns, orientations = histogram.shape
    width = block * block * orientations
    position = 0
    for r in range(rows - block + 1):
        for c in range(columns - block + 1):
            values = out[position : position + width]
            k = 0
            for i in range(block):
                for j in range(block):
                    for o in range(orientations):
                        values[k] = histogram[r + i, c + j, o]
                        k += 1
            scale = np.float32(1) / math.sqrt(np.dot(values, values) + np.float32(_EPSILON**2))
            for k in range(width):
                values[k] = min(values[k] * scale, np.float32(_CLIP))
            scale = np.float32(1) / math.sqrt(np.dot(values, values) + np.float32(_EPSILON**2))
            for k in range(width):
                values[k] *= scale
            position += width
