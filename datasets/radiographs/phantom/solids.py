"""Solids and the length of parallel rays inside them, in closed form: no voxels.

A solid is a union of ellipsoids and tapered capsules (the hull of two spheres). A ray runs along z. Its length in a solid is
taken as the last exit minus the first entry over the pieces that it meets, which is exact where the union is met in one
stretch, as it is for a bone made of pieces that overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True)
class Capsule:
    """Hull of a sphere of radius `start_radius` at `start` and one of `end_radius` at `end`; millimetres."""

    start: np.ndarray  # (3,)
    end: np.ndarray  # (3,)
    start_radius: float
    end_radius: float

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Capsule:
        """Return the capsule after p -> rotation @ p + shift."""
        return Capsule(rotation @ self.start + shift, rotation @ self.end + shift, self.start_radius, self.end_radius)

    def row(self) -> np.ndarray:
        """Fourteen numbers for the kernel: kind, bounds in x and y, then the shape."""
        low = np.minimum(self.start[:2] - self.start_radius, self.end[:2] - self.end_radius)
        high = np.maximum(self.start[:2] + self.start_radius, self.end[:2] + self.end_radius)
        return np.array([0, *low, *high, *self.start, *self.end, self.start_radius, self.end_radius, 0])


@dataclass(frozen=True)
class Ellipsoid:
    """Points with |diag(1 / axes) @ rotation.T @ (p - centre)| <= 1; millimetres."""

    centre: np.ndarray  # (3,)
    axes: np.ndarray  # (3,) half lengths
    rotation: np.ndarray  # (3, 3)

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Ellipsoid:
        """Return the ellipsoid after p -> rotation @ p + shift."""
        return Ellipsoid(rotation @ self.centre + shift, self.axes, rotation @ self.rotation)

    def row(self) -> np.ndarray:
        """Fourteen numbers for the kernel: kind, bounds in x and y, centre, and the six entries of the quadratic form."""
        form = self.rotation @ np.diag(1 / self.axes**2) @ self.rotation.T
        reach = np.sqrt(np.diag(self.rotation @ np.diag(self.axes**2) @ self.rotation.T))[:2]
        entries = (form[0, 0], form[0, 1], form[0, 2], form[1, 1], form[1, 2], form[2, 2])
        return np.array([1, *(self.centre[:2] - reach), *(self.centre[:2] + reach), *self.centre, *entries])


@dataclass(frozen=True)
class Solid:
    """Pieces of one material that replace another: `contrast` is the difference of their attenuation, 1/mm."""

    contrast: float
    pieces: tuple[Capsule | Ellipsoid, ...]

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Solid:
        """Return the solid after p -> rotation @ p + shift."""
        return Solid(self.contrast, tuple(piece.moved(rotation, shift) for piece in self.pieces))


def attenuation(solids: list[Solid], height: int, width: int, pixel: float) -> np.ndarray:
    """Line integral of the attenuation coefficient along each ray.

    Parameters
    ----------
    solids
        In a coordinate system with the origin in the middle of the picture, x to the right, y down, z to the source; millimetres.
    pixel
        Side of a pixel in millimetres.

    Returns
    -------
    (height, width) float32, not below 0.
    """
    rows = np.array([piece.row() for solid in solids for piece in solid.pieces])  # (n_pieces, 14)
    ends = np.cumsum([len(solid.pieces) for solid in solids])
    out = np.zeros((height, width), np.float32)
    _integrate(rows, ends, np.array([solid.contrast for solid in solids]), pixel, out)
    return np.maximum(out, 0)


@njit(cache=True, nogil=True)
def _integrate(rows, ends, contrasts, pixel, out):  # pragma: no cover - compiled
    height, width = out.shape
    entry, leave = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    begin = 0
    for solid in range(len(ends)):
        pieces = rows[begin : ends[solid]]
        begin = ends[solid]
        left = max(0, int(pieces[:, 1].min() / pixel + width / 2))
        right = min(width, int(pieces[:, 3].max() / pixel + width / 2) + 1)
        top = max(0, int(pieces[:, 2].min() / pixel + height / 2))
        bottom = min(height, int(pieces[:, 4].max() / pixel + height / 2) + 1)
        if left >= right or top >= bottom:
            continue
        entry[top:bottom, left:right] = np.inf
        leave[top:bottom, left:right] = -np.inf
        for piece in pieces:
            _meet(piece, pixel, entry, leave)
        for r in range(top, bottom):
            for c in range(left, right):
                if leave[r, c] > entry[r, c]:
                    out[r, c] += contrasts[solid] * (leave[r, c] - entry[r, c])


@njit(cache=True, nogil=True)
def _meet(piece, pixel, entry, leave):  # pragma: no cover - compiled
    """Widen the stretch of every ray that meets a piece."""
    height, width = entry.shape
    left, right = max(0, int(piece[1] / pixel + width / 2)), min(width, int(piece[3] / pixel + width / 2) + 1)
    top, bottom = max(0, int(piece[2] / pixel + height / 2)), min(height, int(piece[4] / pixel + height / 2) + 1)
    for r in range(top, bottom):
        y = (r + 0.5 - height / 2) * pixel
        for c in range(left, right):
            x = (c + 0.5 - width / 2) * pixel
            low, high = _capsule(piece, x, y) if piece[0] == 0 else _ellipsoid(piece, x, y)
            if high > low:
                entry[r, c] = min(entry[r, c], low)
                leave[r, c] = max(leave[r, c], high)


@njit(cache=True, nogil=True)
def _ellipsoid(piece, x, y):  # pragma: no cover - compiled
    """Entry and exit of the ray at (x, y): the roots of the quadratic form in z."""
    dx, dy = x - piece[5], y - piece[6]
    half = piece[10] * dx + piece[12] * dy
    rest = piece[8] * dx * dx + 2 * piece[9] * dx * dy + piece[11] * dy * dy - 1
    root = half * half - piece[13] * rest
    if root <= 0:
        return 0.0, 0.0
    root = np.sqrt(root)
    return piece[7] + (-half - root) / piece[13], piece[7] + (-half + root) / piece[13]


@njit(cache=True, nogil=True)
def _capsule(piece, x, y):  # pragma: no cover - compiled
    """Entry and exit of the ray at (x, y) through the spheres with centre p0 + t (p1 - p0) and radius r0 + t (r1 - r0).

    With q(t) = r(t)² - d(t)², d the ray's distance from the centre, the exit is the largest z(t) + sqrt(q(t)). It lies at t = 0,
    at t = 1 or where the derivative vanishes: q'(t)² = 4 z'² q(t), a quadratic equation. The entry likewise.
    """
    ux, uy, dz, dr = piece[8] - piece[5], piece[9] - piece[6], piece[10] - piece[7], piece[12] - piece[11]
    wx, wy = piece[5] - x, piece[6] - y
    a = dr * dr - ux * ux - uy * uy
    b = 2 * (piece[11] * dr - wx * ux - wy * uy)
    c = piece[11] * piece[11] - wx * wx - wy * wy
    low, high = np.inf, -np.inf
    first, second = 0.0, 1.0
    lead = 4 * a * (a - dz * dz)
    middle = 4 * b * (a - dz * dz)
    last = b * b - 4 * dz * dz * c
    root = middle * middle - 4 * lead * last
    if abs(lead) > 1e-12 and root >= 0:
        root = np.sqrt(root)
        first, second = (-middle - root) / (2 * lead), (-middle + root) / (2 * lead)
    for t in (0.0, 1.0, first, second):
        if t < 0 or t > 1:
            continue
        q = (a * t + b) * t + c
        if q >= 0:
            centre, reach = piece[7] + t * dz, np.sqrt(q)
            low, high = min(low, centre - reach), max(high, centre + reach)
    return low, high
