"""The one shape that everything is made of, and how ellipsoids and tubes are made from it.

A `Piece` is the set of points u, in coordinates of its own, with

    u1² + u2² <= p + q u3 + s u3²    and    n · u + h >= 0 for up to three planes (n, h).

With s = -1 it is an ellipsoid, with s = q = 0 a cylinder, with s > 0 a cone or a waisted hyperboloid. A ray meets it where a
quadratic polynomial is negative, so its length inside is known in closed form. A matrix places it in the body.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PLANES = 3
OPEN = (0.0, 0.0, 0.0, 1.0)  # the plane that cuts nothing


@dataclass(frozen=True)
class Piece:
    """A clipped quadric and its place.

    Parameters
    ----------
    placement : ndarray of shape (4, 4)
        From the piece's own coordinates to the body's, in millimetres.
    profile : tuple of 3 float
        p, q and s of the quadric.
    planes : ndarray of shape (PLANES, 4)
        Half-spaces n, h in the piece's own coordinates.
    box : ndarray of shape (2, 3)
        Lower and upper bounds in the piece's own coordinates.
    """

    placement: np.ndarray
    profile: tuple[float, float, float]
    planes: np.ndarray
    box: np.ndarray


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the (3, 3) matrix that turns about x, then y, then z; degrees, right-handed."""
    a, b, c = (math.cos(math.radians(t)) for t in (x, y, z))
    d, e, f = (math.sin(math.radians(t)) for t in (x, y, z))
    return np.array(
        [
            [b * c, d * e * c - a * f, a * e * c + d * f],
            [b * f, d * e * f + a * c, a * e * f - d * c],
            [-e, d * b, a * b],
        ]
    )


def ellipsoid(
    centre: Sequence[float],
    axes: Sequence[float] | np.ndarray,
    turn: Sequence[float] = (0, 0, 0),
    cuts: Sequence[Sequence[float]] = (),
) -> Piece:
    """Make an ellipsoid, perhaps cut by planes.

    Parameters
    ----------
    centre, axes : sequence of float
        Middle and half lengths in millimetres.
    turn : sequence of float, default (0, 0, 0)
        Degrees about x, y and z.
    cuts : sequence of sequence of float, optional
        At most `PLANES` rows (nx, ny, nz, d): of the ellipsoid's points X only those with n · X >= d remain; millimetres.
    """
    placement = np.eye(4)
    placement[:3, :3] = rotation(*turn) * np.asarray(axes, float)
    placement[:3, 3] = centre
    wanted = np.asarray(cuts, float).reshape(-1, 4)
    planes = local_planes(wanted[:, :3], -wanted[:, 3], np.broadcast_to(placement, (len(wanted), 4, 4)))
    return Piece(placement, (1.0, 0.0, -1.0), _three(planes), np.array([[-1.0] * 3, [1.0] * 3]))


def tube(
    path: np.ndarray,
    radii: np.ndarray,
    flat: tuple[float, float] = (1.0, 1.0),
    side: Sequence[float] | np.ndarray = (0, 0, 1),
) -> list[Piece]:
    """Make a bent tube of varying thickness, as pieces that meet in mitres and do not overlap.

    Between two stations the square of the radius is the monotone quadratic whose slopes are closest to those of Fritsch and Butland
    (1984, SIAM J. Sci. Stat. Comput. 5(2)) at both, so that a radius of 0 at an end makes a rounded cap, half an ellipsoid.

    Parameters
    ----------
    path : ndarray of shape (n, 3)
        Stations, millimetres.
    radii : ndarray of shape (n,)
        Radius at each, millimetres.
    flat : tuple of 2 float, default (1.0, 1.0)
        Factors on the radius across and along `side`: the section is an ellipse.
    side : sequence of float, default (0, 0, 1)
        A direction that is not along the path.

    Returns
    -------
    list of Piece
        One for each stretch between stations.
    """
    steps = np.diff(path, axis=0)  # (n - 1, 3)
    lengths = np.linalg.norm(steps, axis=1)
    along = steps / lengths[:, None]
    mitres = np.vstack([along[:1], along[:-1] + along[1:], along[-1:]])  # (n, 3)
    cosines = np.einsum("ij,ij->i", mitres, np.vstack([along, along[-1:]])) / np.linalg.norm(mitres, axis=1)
    lean = max(flat) * np.sqrt(
        np.maximum(1 / cosines**2 - 1, 0)
    )  # (n,) how far a mitre reaches over for each mm of radius
    squares = radii**2
    slopes = _slopes(squares)
    bend = np.diff(slopes) / 2
    profiles = np.stack([squares[:-1], np.diff(squares) - bend, bend], axis=1)
    widest = np.maximum(radii[:-1], radii[1:])
    over = widest[:, None] * np.stack([lean[:-1], lean[1:]], axis=1) / lengths[:, None]  # (n - 1, 2)
    placements = _frames(path[:-1], steps, along, flat, np.asarray(side, float))
    offsets = np.einsum("ij,ij->i", mitres, path)
    starts = local_planes(mitres[:-1], -offsets[:-1], placements)
    ends = local_planes(-mitres[1:], offsets[1:], placements)
    starts[radii[:-1] == 0] = OPEN
    ends[radii[1:] == 0] = OPEN
    return [
        Piece(
            placements[k],
            tuple(profiles[k].tolist()),
            _three([starts[k], ends[k]]),
            np.array([[-w, -w, -before], [w, w, 1 + after]]),
        )
        for k, (w, (before, after)) in enumerate(zip(widest.tolist(), over.tolist(), strict=True))
    ]


def _slopes(values: np.ndarray) -> np.ndarray:
    """Slopes (n,) at the stations, where all stretches count as equally long: 0 at extremes, else the harmonic mean."""
    change = np.diff(values)
    out = np.zeros(len(values))
    left, right = change[:-1], change[1:]
    same = left * right > 0
    out[1:-1][same] = 2 * left[same] * right[same] / (left + right)[same]
    out[0] = change[0] * (2 if values[0] == 0 else 1)
    out[-1] = change[-1] * (2 if values[-1] == 0 else 1)
    return out


def _frames(
    starts: np.ndarray, steps: np.ndarray, along: np.ndarray, flat: tuple[float, float], side: np.ndarray
) -> np.ndarray:
    """Placements (n, 4, 4) whose third axis is the stretch and whose second points to `side` as far as it can."""
    second = side - (along @ side)[:, None] * along
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    placements = np.zeros((len(starts), 4, 4))
    axes = (flat[0] * np.cross(second, along), flat[1] * second, steps, starts)
    placements[:, :3] = np.stack(axes, axis=2)
    placements[:, 3, 3] = 1
    return placements


def local_planes(normals: np.ndarray, offsets: np.ndarray, placements: np.ndarray) -> np.ndarray:
    """Return the half-spaces n · X + offset >= 0 of the body in each piece's own coordinates.

    Parameters
    ----------
    normals, offsets, placements : ndarray of shapes (n, 3), (n,) and (n, 4, 4)
        The first two may be one for all.

    Returns
    -------
    ndarray of shape (n, 4), float64
    """
    rows = np.einsum("...i,...ij->...j", normals, placements[:, :3])  # (n, 4)
    rows[:, 3] += offsets
    return rows


def _three(planes: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    return np.array([*planes, *[OPEN] * (PLANES - len(planes))], float)
