"""Occlusion (Zeiler and Fergus 2014): how much a model's belief in a class drops when a part of the image is covered. For any model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]  # (n, h, w) uint8 -> probability of one class (n,)

GRID = 14
_WINDOW = 2  # side of the patch in places: neighbouring patches overlap, so that no structure is missed between them
_SMALLEST = 1e-12  # probabilities of 0 and 1 have no logit
_AT_A_TIME = 64


def occlusion(score: Score, image: np.ndarray, grid: int = GRID) -> np.ndarray:
    """Drop of the class's logit for each place of a patch of the mean grey it covers.

    The logit rather than the probability, which hardly moves when a model is very sure.

    Parameters
    ----------
    score : callable
        Probabilities of the class.
    image : ndarray
        (h, w) uint8.
    grid : int
        Places down and across.

    Returns
    -------
    ndarray
        (grid, grid) float32 in 0 .. 1; all 0 where no patch speaks against the class.
    """
    places = [(row, column) for row in range(grid) for column in range(grid)]
    found = []
    for begin in range(0, len(places), _AT_A_TIME):
        covered = [_covered(image, *place, grid) for place in places[begin : begin + _AT_A_TIME]]
        found.append(_logit(score(np.stack(covered))))
    fall = _logit(score(image[None]))[0] - np.concatenate(found)
    fall = np.where(fall > 1e-6, fall, 0).reshape(grid, grid)  # below is rounding noise
    return (fall / max(fall.max(), 1e-12)).astype(np.float32)


def _covered(image: np.ndarray, row: int, column: int, grid: int) -> np.ndarray:
    height, width = image.shape
    rows, columns = _span(row, height, grid), _span(column, width, grid)
    out = image.copy()
    out[rows, columns] = round(float(out[rows, columns].mean()))
    return out


def _span(place: int, length: int, grid: int) -> slice:
    """Pixels of a patch around the middle of a place."""
    middle, half = (place + 0.5) * length / grid, _WINDOW * length / grid / 2
    return slice(max(0, round(middle - half)), min(length, round(middle + half)))


def _logit(probability: np.ndarray) -> np.ndarray:
    p = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    return np.log(p) - np.log1p(-p)
