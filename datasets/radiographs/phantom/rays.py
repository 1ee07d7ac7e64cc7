"""Line integrals of signed unions of pieces along diverging rays, in closed form and without voxels.

Camera coordinates: the origin is in the middle of the field, x to the right, y up, z to the source, millimetres. The ray of the point
(x, y) of the plane z = 0 comes from the source at (0, 0, D) and is written z -> (x (1 - z/D), y (1 - z/D), z): along it a piece is the
interval where a quadratic polynomial in z is negative, cut by its planes. Intervals of the pieces of a union are sorted and
swept, so that matter which two of them share counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from radiographs.phantom.solids import PLANES

_LANES = (
    128  # rays handled together: short enough to skip what a small piece does not touch, long enough for vector units
)
_FAR = np.float32(1e6)  # mm; beyond every ray
_TINY = np.float32(1e-12)
_ZERO = np.float32(0)
_SHADOW = 0.5  # mm of a bone that count as seen


@dataclass(frozen=True)
class Matter:
    """Pieces placed in the body, and the unions that they form.

    Parameters
    ----------
    placement
        (n, 4, 4) from each piece's own coordinates to the body's, millimetres.
    profile, planes, box
        (n, 3), (n, PLANES, 4) and (n, 2, 3): see `radiographs.phantom.solids.Piece`.
    starts, members
        Union k consists of the pieces ``members[starts[k]:starts[k + 1]]``.
    weights
        (n_unions,) attenuation that a union adds, 1/mm; negative where it takes away.
    """

    placement: np.ndarray
    profile: np.ndarray
    planes: np.ndarray
    box: np.ndarray
    starts: np.ndarray
    members: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Camera:
    """Where rays go. Lengths in millimetres, measured in the plane z = 0.

    Parameters
    ----------
    view
        (4, 4) from body to camera coordinates.
    rows, columns, pixel
        Size of the picture, and the side of a pixel.
    distance
        From the source to the plane z = 0.
    """

    view: np.ndarray
    rows: int
    columns: int
    pixel: float
    distance: float

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x (columns,) and y (rows,) of the pixel centres."""
        x = (np.arange(self.columns) + 0.5 - self.columns / 2) * self.pixel
        y = (self.rows / 2 - np.arange(self.rows) - 0.5) * self.pixel
        return x, y


def line_integrals(matter: Matter, camera: Camera) -> np.ndarray:
    """Integrate the attenuation coefficient along each ray.

    Returns
    -------
    (rows, columns) float32 without unit, at least 0.
    """
    x, y = camera.axes()
    out = np.zeros((camera.rows, camera.columns), np.float32)
    placed = camera.view @ matter.placement  # (n, 4, 4)
    boxes = _boxes(placed, matter.box, camera)
    seen = (boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3])
    starts, members = _visible(matter, seen)
    numbers = _numbers(placed[seen], matter.box[seen], matter.profile[seen], matter.planes[seen], camera.distance)
    _integrate(
        numbers,
        boxes[seen],
        starts,
        members,
        matter.weights.astype(np.float32),
        x.astype(np.float32),
        y.astype(np.float32),
        out,
    )
    slant = np.sqrt(1 + (x[None, :] ** 2 + y[:, None] ** 2) / camera.distance**2)  # millimetres of ray for each of z
    return np.maximum(out * slant.astype(np.float32), 0)


def shadows(matter: Matter, camera: Camera, unions: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Where each named group of unions stops rays.

    Returns
    -------
    dict of (rows, columns) bool, for those that are in the picture.
    """
    out = {}
    for name, numbers in unions.items():
        groups = [matter.members[matter.starts[k] : matter.starts[k + 1]] for k in numbers]
        pieces, members = np.unique(np.concatenate(groups), return_inverse=True)
        alone = Matter(
            placement=matter.placement[pieces],
            profile=matter.profile[pieces],
            planes=matter.planes[pieces],
            box=matter.box[pieces],
            starts=np.cumsum([0, *[len(group) for group in groups]]),
            members=members,
            weights=np.sign(matter.weights[list(numbers)]),
        )
        boxes = _boxes(camera.view @ alone.placement, alone.box, camera)
        if ((boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3])).any():
            shadow = line_integrals(alone, camera) > _SHADOW
            if shadow.any():
                out[name] = shadow
    return out


def _boxes(placed: np.ndarray, box: np.ndarray, camera: Camera) -> np.ndarray:
    """Rows and columns (n, 4) int64 [top, bottom, left, right) that each piece's shadow lies in."""
    middle, half = box.mean(axis=1), (box[:, 1] - box[:, 0]) / 2  # (n, 3)
    centre = (placed[:, :3, :3] @ middle[:, :, None])[..., 0] + placed[:, :3, 3]
    reach = (np.abs(placed[:, :3, :3]) @ half[:, :, None])[..., 0]
    far, near = (camera.distance / (camera.distance - centre[:, 2] - sign * reach[:, 2]) for sign in (-1, 1))
    low, high = centre[:, :2] - reach[:, :2], centre[:, :2] + reach[:, :2]
    low = np.minimum(low * far[:, None], low * near[:, None]) / camera.pixel
    high = np.maximum(high * far[:, None], high * near[:, None]) / camera.pixel
    rows, columns = camera.rows, camera.columns
    edges = [rows / 2 - high[:, 1], rows / 2 - low[:, 1] + 1, columns / 2 + low[:, 0], columns / 2 + high[:, 0] + 1]
    return np.clip(np.stack(edges, axis=1), 0, (rows, rows, columns, columns)).astype(np.int64)


def _visible(matter: Matter, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and members of the unions once only the pieces that are seen are left and numbered anew."""
    kept = seen[matter.members]
    starts = np.concatenate([[0], np.cumsum(kept)])[matter.starts]
    return starts, (np.cumsum(seen) - 1)[matter.members[kept]]


def _numbers(
    placed: np.ndarray, box: np.ndarray, profile: np.ndarray, planes: np.ndarray, distance: float
) -> np.ndarray:
    """What the kernel needs of each piece, (n, 22 + 4 PLANES) float32.

    The depth z0 of its middle; its own coordinates of the ray's point at z0, as a constant and factors of x and y; those of the
    ray's direction; its profile; its planes. Starting at z0 keeps the polynomial free of cancellation.
    """
    inside = np.linalg.inv(placed)  # (n, 4, 4) from camera to piece
    centre = (box.mean(axis=1) * placed[:, 2, :3]).sum(axis=1) + placed[:, 2, 3]  # (n,)
    to_x, to_y, to_z, shift = (inside[:, :3, k] for k in range(4))
    shrink = (1 - centre / distance)[:, None]
    parts = [centre[:, None], centre[:, None] * to_z + shift, shrink * to_x, shrink * to_y]
    parts += [to_z, -to_x / distance, -to_y / distance, profile, planes.reshape(len(placed), 4 * PLANES)]
    return np.concatenate(parts, axis=1).astype(np.float32)


_kernel = njit(cache=True, nogil=True, fastmath=True, error_model="numpy")


@_kernel
def _integrate(numbers, boxes, starts, members, weights, x, y, out):  # pragma: no cover - compiled
    """Add every union to `out`, row by row and `_LANES` rays at a time, with those of its pieces that these rays may meet."""
    low = np.empty((2 * len(members) + 2, _LANES), np.float32)
    high = np.empty((2 * len(members) + 2, _LANES), np.float32)
    for union in range(len(weights)):
        group = members[starts[union] : starts[union + 1]]
        top, bottom, left, right = len(y), 0, len(x), 0
        for m in group:
            top, bottom = min(top, boxes[m, 0]), max(bottom, boxes[m, 1])
            left, right = min(left, boxes[m, 2]), max(right, boxes[m, 3])
        for r in range(top, bottom):
            for first in range(left, right, _LANES):
                last = min(first + _LANES, right)
                met = 0
                for m in group:
                    if boxes[m, 0] <= r < boxes[m, 1] and boxes[m, 2] < last and boxes[m, 3] > first:
                        begin, end = max(boxes[m, 2], first), min(boxes[m, 3], last)
                        lanes = slice(begin - first, end - first)
                        rows = _meet(
                            numbers[m],
                            x[begin:end],
                            y[r],
                            low[met, lanes],
                            high[met, lanes],
                            low[met + 1, lanes],
                            high[met + 1, lanes],
                        )
                        for k in range(met, met + rows):
                            for i in range(begin - first):
                                low[k, i] = high[k, i] = _FAR
                            for i in range(end - first, last - first):
                                low[k, i] = high[k, i] = _FAR
                        met += rows
                if met > 0:
                    _sort(low, high, met, last - first)
                    _sweep(low, high, met, weights[union], out[r, first:last])


@_kernel
def _meet(piece, x, y, low, high, more_low, more_high):  # pragma: no cover - compiled
    """Write the interval of each ray inside a piece, and, of a hollow one, the second; return how many there are."""
    a1, a2, a3 = piece[1] + y * piece[7], piece[2] + y * piece[8], piece[3] + y * piece[9]
    b1, b2, b3 = piece[10] + y * piece[16], piece[11] + y * piece[17], piece[12] + y * piece[18]
    twice = _runs_along(piece, x, b1, b2, b3)
    if twice:
        _cut_along(piece, x, a1, a2, a3, b1, b2, b3, low, high, more_low, more_high)
    else:
        _cut_across(piece, x, a1, a2, a3, b1, b2, b3, low, high)
    for plane in range(22, 22 + 12, 4):
        n1, n2, n3, h = piece[plane], piece[plane + 1], piece[plane + 2], piece[plane + 3]
        if n1 != _ZERO or n2 != _ZERO or n3 != _ZERO:
            o, d = h + n1 * a1 + n2 * a2 + n3 * a3, n1 * b1 + n2 * b2 + n3 * b3
            ox = n1 * piece[4] + n2 * piece[5] + n3 * piece[6]
            dx = n1 * piece[13] + n2 * piece[14] + n3 * piece[15]
            _cut_plane(x, o, ox, d, dx, low, high)
            if twice:
                _cut_plane(x, o, ox, d, dx, more_low, more_high)
    _settle(low, high, piece[0])
    if twice:
        _settle(more_low, more_high, piece[0])
    return 2 if twice else 1


@_kernel
def _runs_along(piece, x, b1, b2, b3):  # pragma: no cover - compiled
    """Whether some ray runs along the inside of a cone or waist, where a = d1² + d2² - s d3² is not positive."""
    v1, v2, v3, s = piece[13], piece[14], piece[15], piece[21]
    if s <= _ZERO:
        return False
    bend = v1 * v1 + v2 * v2 - s * v3 * v3
    slope = b1 * v1 + b2 * v2 - s * b3 * v3
    level = b1 * b1 + b2 * b2 - s * b3 * b3
    least = min((bend * x[0] + 2 * slope) * x[0], (bend * x[-1] + 2 * slope) * x[-1])
    if bend > _ZERO and x[0] < -slope / bend < x[-1]:
        least = -slope * slope / bend
    return level + least < _TINY


@_kernel
def _cut_across(piece, x, a1, a2, a3, b1, b2, b3, low, high):  # pragma: no cover - compiled
    """Interval of z between the roots of a z² + 2 b z + c; where there are none it has no length."""
    u1, u2, u3, v1, v2, v3 = piece[4], piece[5], piece[6], piece[13], piece[14], piece[15]
    p, q, s = piece[19], piece[20], piece[21]
    half = q * np.float32(0.5)
    for i in range(len(x)):
        o1, o2, o3 = a1 + x[i] * u1, a2 + x[i] * u2, a3 + x[i] * u3
        d1, d2, d3 = b1 + x[i] * v1, b2 + x[i] * v2, b3 + x[i] * v3
        a = d1 * d1 + d2 * d2 - s * d3 * d3
        b = o1 * d1 + o2 * d2 - (s * o3 + half) * d3
        c = o1 * o1 + o2 * o2 - p - (q + s * o3) * o3
        square = b * b - a * c
        root = np.sqrt(square if square > _ZERO else _ZERO)
        inverse = np.float32(1) / (a if a > _TINY else _TINY)
        low[i], high[i] = (-b - root) * inverse, (root - b) * inverse


@_kernel
def _cut_along(piece, x, a1, a2, a3, b1, b2, b3, low, high, more_low, more_high):  # pragma: no cover - compiled
    """The same for hollow shapes, twice: a ray along the inside (a < 0) is in the shape before and beyond the roots."""
    q, s = piece[20], piece[21]
    for i in range(len(x)):
        o1, o2, o3 = a1 + x[i] * piece[4], a2 + x[i] * piece[5], a3 + x[i] * piece[6]
        d1, d2, d3 = b1 + x[i] * piece[13], b2 + x[i] * piece[14], b3 + x[i] * piece[15]
        a = d1 * d1 + d2 * d2 - s * d3 * d3
        b = o1 * d1 + o2 * d2 - (s * o3 + q * np.float32(0.5)) * d3
        square = b * b - a * (o1 * o1 + o2 * o2 - piece[19] - (q + s * o3) * o3)
        root = np.sqrt(max(square, _ZERO))
        if a > _ZERO:
            low[i], high[i], more_low[i], more_high[i] = (
                (-b - root) / max(a, _TINY),
                (root - b) / max(a, _TINY),
                _FAR,
                _FAR,
            )
        elif square > _ZERO:
            low[i], high[i], more_low[i], more_high[i] = (
                -_FAR,
                (root - b) / min(a, -_TINY),
                (-b - root) / min(a, -_TINY),
                _FAR,
            )
        else:
            low[i], high[i], more_low[i], more_high[i] = -_FAR, _FAR, _FAR, _FAR


@_kernel
def _cut_plane(x, o, ox, d, dx, low, high):  # pragma: no cover - compiled
    """Keep what lies in the half-space (o + ox x) + (d + dx x) z >= 0: after the cut where the ray runs into it, else before."""
    first, last = d + dx * x[0], d + dx * x[-1]
    if first > _TINY and last > _TINY:
        for i in range(len(x)):
            cut = -(o + ox * x[i]) / (d + dx * x[i])
            low[i] = low[i] if low[i] > cut else cut
    elif first < -_TINY and last < -_TINY:
        for i in range(len(x)):
            cut = -(o + ox * x[i]) / (d + dx * x[i])
            high[i] = high[i] if high[i] < cut else cut
    else:
        for i in range(len(x)):
            across = d + dx * x[i]
            cut = -(o + ox * x[i]) / (max(across, _TINY) if across > _ZERO else min(across, -_TINY))
            low[i] = max(low[i], cut) if across > _ZERO else low[i]
            high[i] = high[i] if across > _ZERO else min(high[i], cut)


@_kernel
def _settle(low, high, depth):  # pragma: no cover - compiled
    """Measure z from the origin, and leave no interval of negative length."""
    for i in range(len(low)):
        end = high[i] if high[i] > low[i] else low[i]
        low[i] += depth
        high[i] = end + depth


@_kernel
def _sort(low, high, met, lanes):  # pragma: no cover - compiled
    """Order the intervals of each ray by where they begin."""
    for last in range(met - 1, 0, -1):
        for k in range(last):
            for i in range(lanes):
                a, b, c, d = low[k, i], low[k + 1, i], high[k, i], high[k + 1, i]
                low[k, i], high[k, i] = (b if a > b else a), (d if a > b else c)
                low[k + 1, i], high[k + 1, i] = (a if a > b else b), (c if a > b else d)


@_kernel
def _sweep(low, high, met, weight, out):  # pragma: no cover - compiled
    """Add weight times the length that sorted intervals cover. Uses up the first rows: covered so far, and length."""
    covered, length = high[0], low[0]
    for i in range(len(out)):
        length[i] = covered[i] - length[i]
    for k in range(1, met):
        for i in range(len(out)):
            begin = low[k, i] if low[k, i] > covered[i] else covered[i]
            end = high[k, i] if high[k, i] > covered[i] else covered[i]
            length[i] += end - begin if end > begin else _ZERO
            covered[i] = end
    for i in range(len(out)):
        out[i] += weight * length[i]
