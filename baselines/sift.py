"""Dense SIFT descriptors (Lowe 2004) on a grid, with the square root of Arandjelović and Zisserman (2012, "Three things everyone should know").

The gradients of a slightly blurred image are split over eight orientations by linear interpolation. A descriptor is the sum of each orientation
in 4 x 4 cells, interpolated linearly between cells and weighted by a Gaussian, for several sizes of the cells. Cells that descriptors share are
summed once, eight orientations at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

ORIENTATIONS = 8
CELLS = 4  # along each side of a descriptor
LENGTH = ORIENTATIONS * CELLS * CELLS
_CLIP = 0.2  # Lowe 2004, section 6.1: no single gradient counts for more
_WINDOW = 2.0  # standard deviation of the Gaussian weight, in cells: half of a descriptor's width
_FAST = {"contract", "reassoc", "nsz"}  # sums may be taken in another order; NaN and infinity cannot occur


@dataclass(frozen=True)
class Grid:
    """Where descriptors of one cell size stand in an image: at every crossing of some rows and columns.

    Attributes
    ----------
    cell : int
        Side of a cell in pixels.
    rows, columns : ndarray of shape (n_rows,) or (n_columns,), int64
        Centre of the first cell of the descriptors; their other cells follow at steps of `cell`.
    """

    cell: int
    rows: np.ndarray
    columns: np.ndarray

    def __len__(self) -> int:
        """Return the number of descriptors."""
        return len(self.rows) * len(self.columns)

    def centres(self) -> np.ndarray:
        """Return the centre of each descriptor, row by row, (n, 2) float64: row and column in pixels."""
        down, across = np.meshgrid(self.rows, self.columns, indexing="ij")
        return np.stack([down.ravel(), across.ravel()], axis=1) + (CELLS - 1) / 2 * self.cell


def grids(height: int, width: int, cells: Sequence[int], step: int) -> list[Grid]:
    """Lay a centred grid for each cell size over an image.

    Raises
    ------
    ValueError
        If no descriptor of a size fits into the image.
    """
    found = []
    for cell in cells:
        rows, columns = (_along(side, cell, step) for side in (height, width))
        if not len(rows) or not len(columns):
            raise ValueError(
                f"SIFT: {height} x {width} images hold no descriptor of {CELLS} x {CELLS} cells of {cell} pixels"
            )
        found.append(Grid(cell, rows, columns))
    return found


def _along(side: int, cell: int, step: int) -> np.ndarray:
    """Centres of the first cells along one side, as many as fit with all their cells, in the middle of it."""
    spare = side - CELLS * cell
    return (
        cell // 2 + (spare % step) // 2 + step * np.arange(spare // step + 1) if spare >= 0 else np.empty(0, np.int64)
    )


def window() -> np.ndarray:
    """Gaussian weight of each cell, (CELLS, CELLS) float32."""
    offset = np.arange(CELLS) - (CELLS - 1) / 2
    along = np.exp(-(offset**2) / (2 * _WINDOW**2))
    return np.outer(along, along).astype(np.float32)


def root_sift(image: np.ndarray, where: Sequence[Grid], blur: float) -> tuple[np.ndarray, np.ndarray]:
    """Describe one image.

    Parameters
    ----------
    image : ndarray of shape (h, w), uint8
    where : sequence of Grid
    blur : float
        Standard deviation of the Gaussian blur before the gradients, in pixels.

    Returns
    -------
    descriptors : ndarray of shape (n, 128), float32
        Grid after grid; cells row by row, orientations innermost. Each has length 1, and is 0 where there is no gradient.
    contrast : ndarray of shape (n,), float32
        Length before normalisation, per pixel of a cell and in grey levels.
    """
    maps = _orientations(image, _kernel(blur))  # (h, w, 8)
    n = sum(map(len, where))
    out, contrast = np.empty((n, LENGTH), np.float32), np.empty(n, np.float32)
    weights, begin = window(), 0
    for grid in where:
        end = begin + len(grid)
        (rows, row_of), (columns, column_of) = (_cells_along(first, grid.cell) for first in (grid.rows, grid.columns))
        cells = _cells(maps, rows, columns, _triangle(grid.cell))
        _gather(cells, row_of, column_of, weights, out[begin:end], contrast[begin:end])
        begin = end
    return out, contrast


def _cells_along(first: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct centres of cells along one side, and for each descriptor which of them are its own, (n, CELLS)."""
    centres, inverse = np.unique(first[:, None] + cell * np.arange(CELLS), return_inverse=True)
    return centres, inverse.reshape(-1, CELLS)


def _triangle(cell: int) -> np.ndarray:
    """Weights of linear interpolation between cells, summing to 1, (2 cell - 1,) float32."""
    return ((cell - np.abs(np.arange(1 - cell, cell))) / cell**2).astype(np.float32)


def _kernel(blur: float) -> np.ndarray:
    """Gaussian of three standard deviations to each side, summing to 1, float32; [1] for no blur."""
    if blur <= 0:
        return np.ones(1, np.float32)
    at = np.arange(-math.ceil(3 * blur), math.ceil(3 * blur) + 1)
    values = np.exp(-(at**2) / (2 * blur**2))
    return (values / values.sum()).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _blurred(image, kernel):  # pragma: no cover - compiled
    """Image (h, w) float32 under a separable kernel; the border is repeated."""
    height, width = image.shape
    reach = len(kernel) // 2
    down = np.zeros((height, width), np.float32)
    for r in range(height):
        for k in range(-reach, reach + 1):
            source, weight = image[min(max(r + k, 0), height - 1)], kernel[k + reach]
            for c in range(width):
                down[r, c] += weight * np.float32(source[c])
    out = np.zeros((height, width), np.float32)
    padded = np.empty(width + 2 * reach, np.float32)
    for r in range(height):
        padded[reach : reach + width] = down[r]
        padded[:reach] = down[r, 0]
        padded[reach + width :] = down[r, width - 1]
        for k in range(2 * reach + 1):
            weight = kernel[k]
            for c in range(width):
                out[r, c] += weight * padded[c + k]
    return out


@njit(cache=True, nogil=True, fastmath=_FAST)
def _orientations(image, kernel):  # pragma: no cover - compiled
    """Gradient magnitude of each pixel, split between the two nearest of eight orientations, (h, w, 8) float32."""
    height, width = image.shape
    grey = _blurred(image, kernel)
    out = np.zeros((height, width, ORIENTATIONS), np.float32)
    turn = np.float32(ORIENTATIONS / (2 * math.pi))
    for r in range(height):
        above, below = grey[max(r - 1, 0)], grey[min(r + 1, height - 1)]
        for c in range(width):
            dr = below[c] - above[c]
            dc = grey[r, min(c + 1, width - 1)] - grey[r, max(c - 1, 0)]
            magnitude = math.sqrt(dr * dr + dc * dc) / np.float32(2)
            if magnitude > 0:
                angle = math.atan2(dr, dc) * turn
                angle = angle + np.float32(ORIENTATIONS) if angle < 0 else angle
                low = int(angle)
                share = angle - np.float32(low)
                out[r, c, low % ORIENTATIONS] = magnitude * (np.float32(1) - share)
                out[r, c, (low + 1) % ORIENTATIONS] = magnitude * share
    return out


@njit(cache=True, nogil=True, fastmath=_FAST)
def _cells(maps, rows, columns, triangle):  # pragma: no cover - compiled
    """Sum under a triangle around the crossings of some rows and columns, (n_rows, n_columns, 8) float32; nothing lies beyond the border."""
    height, width, depth = maps.shape
    flat = maps.reshape(height, width * depth)
    reach = len(triangle) // 2
    out = np.zeros((len(rows), len(columns), depth), np.float32)
    line = np.empty(width * depth, np.float32)
    for i in range(len(rows)):
        line[:] = 0
        for k in range(max(-reach, -rows[i]), min(reach, height - 1 - rows[i]) + 1):
            source, weight = flat[rows[i] + k], triangle[k + reach]
            for c in range(len(line)):
                line[c] += weight * source[c]
        for j in range(len(columns)):
            target = out[i, j]
            for k in range(max(-reach, -columns[j]), min(reach, width - 1 - columns[j]) + 1):
                weight, begin = triangle[k + reach], (columns[j] + k) * depth
                for o in range(ORIENTATIONS):
                    target[o] += weight * line[begin + o]
    return out


@njit(cache=True, nogil=True, fastmath=_FAST)
def _gather(cells, row_of, column_of, weights, out, contrast):  # pragma: no cover - compiled
    """Read the cells of each descriptor, clip and normalise them as Lowe did, and take the root of their shares."""
    clip = np.float32(_CLIP)
    n = 0
    for r in range(len(row_of)):
        for c in range(len(column_of)):
            values = out[n]
            squares = np.float32(0)
            for i in range(CELLS):
                for j in range(CELLS):
                    source, weight = cells[row_of[r, i], column_of[c, j]], weights[i, j]
                    at = (i * CELLS + j) * ORIENTATIONS
                    for o in range(ORIENTATIONS):
                        value = source[o] * weight
                        values[at + o] = value
                        squares += value * value
            contrast[n] = math.sqrt(squares)
            scale = np.float32(1) / max(contrast[n], np.float32(1e-12))
            total = np.float32(0)
            for k in range(LENGTH):
                values[k] = min(values[k] * scale, clip)
                total += values[k]
            scale = np.float32(1) / max(
                total, np.float32(1e-12)
            )  # the second normalisation of Lowe cancels in the shares
            for k in range(LENGTH):
                values[k] = math.sqrt(values[k] * scale)
            n += 1
