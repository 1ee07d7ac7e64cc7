"""Line integrals of signed unions of pieces along diverging rays, in closed form and without voxels.

Camera coordinates: the origin is in the middle of the field, x to the right, y up, z to the source, millimetres. The ray of the point
(x, y) of the plane z = 0 comes from the source at (0, 0, D) and is written z -> (x (1 - z/D), y (1 - z/D), z): along it a piece is the
interval where a quadratic polynomial in z is negative, cut by its planes. Intervals of the pieces of a union are sorted and
swept, so that matter which two of them share counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from radiographs.phantom.bounds import at_least
from radiographs.phantom.kernel import LANES, NO_PLANE, NUMBERS, integrate, span
from radiographs.phantom.regions import Region
from radiographs.phantom.solids import PLANES

_SHADOW = np.float32(0.5)  # mm of a bone that count as seen


@dataclass(frozen=True)
class Matter:
    """Pieces placed in the body, and the unions that they form.

    Parameters
    ----------
    placement : ndarray of shape (n, 4, 4)
        From each piece's own coordinates to the body's, millimetres.
    profile, planes, box : ndarray of shapes (n, 3), (n, PLANES, 4) and (n, 2, 3)
        See `radiographs.phantom.solids.Piece`.
    starts, members : ndarray
        Union k consists of the pieces ``members[starts[k]:starts[k + 1]]``.
    weights : ndarray of shape (n_unions,)
        Attenuation that a union adds, 1/mm; negative where it takes away.
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
    view : ndarray of shape (4, 4)
        From body to camera coordinates.
    rows, columns, pixel : int and float
        Size of the picture, and the side of a pixel.
    distance : float
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


def visible(starts: np.ndarray, members: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and members of the unions once only the pieces that are `seen`, (n,) bool, are left and numbered anew."""
    kept = seen[members]
    return np.concatenate([[0], np.cumsum(kept)])[starts], (np.cumsum(seen) - 1)[members[kept]]


def in_field(centres: np.ndarray, radii: np.ndarray, camera: Camera) -> np.ndarray:
    """Which balls, (n, 3) and (n,) in millimetres of the body, may cast a shadow on the picture: (n,) bool."""
    seen = centres @ camera.view[:3, :3].T + camera.view[:3, 3]
    half = camera.pixel / 2 * np.array([camera.columns, camera.rows])
    nearest = np.abs(seen[:, :2]) - radii[:, None]  # (n, 2) mm from the axis
    return np.asarray(
        (nearest * camera.distance <= half * (camera.distance - seen[:, 2:] + radii[:, None])).all(axis=1)
    )


def line_integrals(matter: Matter, camera: Camera) -> np.ndarray:
    """Integrate the attenuation coefficient along each ray.

    Returns
    -------
    ndarray of shape (rows, columns), float32
        Without unit, at least 0.
    """
    return cast(matter, camera, {})[0]


def cast(matter: Matter, camera: Camera, unions: Mapping[str, Sequence[int]]) -> tuple[np.ndarray, dict[str, Region]]:
    """Integrate along each ray, and find where each named group of unions stops them.

    Parameters
    ----------
    unions : mapping of str to sequence of int
        Numbers of the unions whose lengths, signed as their weights are, add up to something with a name.

    Returns
    -------
    tuple of ndarray and dict of str to Region
        Integrals (rows, columns) float32 without unit, at least 0; and the shadows of the named groups that are in the picture.
    """
    x, y = camera.axes()
    wide = -(-camera.columns // LANES) * LANES
    out = np.zeros((camera.rows, wide), np.float32)
    placed = camera.view @ matter.placement  # (n, 4, 4)
    boxes = _boxes(placed, matter.box, camera)
    seen = (boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3])
    boxes = boxes[seen]
    starts, members = visible(matter.starts, matter.members, seen)
    names, layers, windows = _layers(starts, members, boxes, unions)
    lengths = np.zeros(int(windows[-1, 4]), np.float32)
    numbers, outlines = _numbers(
        placed[seen], matter.box[seen], matter.profile[seen], matter.planes[seen], camera.distance
    )
    members = members[np.lexsort((numbers[members, 0], np.repeat(np.arange(len(starts) - 1), np.diff(starts))))]
    integrate(
        (numbers, outlines, boxes),
        (starts, members, matter.weights.astype(np.float32)),
        (layers, windows),
        ((x[0] + np.arange(wide) * camera.pixel).astype(np.float32), y.astype(np.float32)),
        out,
        lengths,
    )
    squares = [np.float32(1) / np.float32(camera.distance) ** 2 * axis.astype(np.float32) ** 2 for axis in (x, y)]
    slant = cv2.sqrt(1 + squares[0][None, :] + squares[1][:, None])  # millimetres of ray for each of z
    shadows = {}
    for name, (top, bottom, left, right, start) in zip(names, windows.tolist(), strict=False):
        rows, columns = bottom - top, right - left
        length = lengths[start : start + rows * columns].reshape(rows, columns)[:, : camera.columns - left]
        length *= slant[top:bottom, left:right]
        first, last, near, far = span(length, _SHADOW)
        if first < last:
            shadows[name] = Region(top + first, left + near, length[first:last, near:far] > _SHADOW)
    return at_least(cv2.multiply(out[:, : camera.columns], slant), 0), shadows


def _layers(
    starts: np.ndarray, members: np.ndarray, boxes: np.ndarray, unions: Mapping[str, Sequence[int]]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names that may be seen, number of the layer of each union (n_unions,), and the windows (n_layers + 1, 5) of the kernel.

    The last window is empty and says how long the layers are together.
    """
    layers = np.full(len(starts) - 1, -1)
    filled = np.flatnonzero(np.diff(starts))
    ends = dict.fromkeys(range(len(layers)), (np.inf, 0, np.inf, 0))
    if len(filled):
        low, high = (f.reduceat(boxes[members], starts[filled], axis=0).tolist() for f in (np.minimum, np.maximum))
        for n, least, most in zip(filled.tolist(), low, high, strict=True):
            ends[n] = (least[0], most[1], least[2], most[3])
    names, windows = [], []
    for name, numbers in unions.items():
        tops, bottoms, lefts, rights = zip(*(ends[n] for n in numbers), strict=True)
        if max(bottoms):
            layers[list(numbers)] = len(names)
            names.append(name)
            windows.append((min(tops), max(bottoms), min(lefts) // LANES * LANES, -(-max(rights) // LANES) * LANES, 0))
    table = np.array([*windows, (0,) * 5], np.int64)
    table[1:, 4] = np.cumsum((table[:, 1] - table[:, 0]) * (table[:, 3] - table[:, 2]))[:-1]
    return names, layers, table


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


def _numbers(
    placed: np.ndarray, box: np.ndarray, profile: np.ndarray, planes: np.ndarray, distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the kernel needs of each piece, (n, NUMBERS) float32 and its outline (n, 6) float64.

    The numbers: the depth z0 of its middle; its own coordinates of the ray's point at z0, as a constant and factors of x and y;
    those of the ray's direction; its profile; its planes. Starting at z0 keeps the polynomial free of cancellation.

    The outline: with the source at s and the ray's direction d = M (x, y, -D) in the piece's own coordinates, the polynomial of
    the ray has the coefficients a = dᵀ diag(1, 1, -s) d, b = g · d and c; its discriminant b² - a c is a quadratic form in
    (x, y, -D), whose six coefficients these are.
    """
    inside = np.linalg.inv(placed[:, :3, :3])  # (n, 3, 3) from camera to piece
    offset = -(inside @ placed[:, :3, 3:])[..., 0]  # (n, 3)
    centre = (box.mean(axis=1) * placed[:, 2, :3]).sum(axis=1) + placed[:, 2, 3]  # (n,)
    to_x, to_y, to_z = (inside[:, :, k] for k in range(3))
    shrink = (1 - centre / distance)[:, None]
    parts = [centre[:, None], centre[:, None] * to_z + offset, shrink * to_x, shrink * to_y]
    cuts = np.where(np.asarray(planes[:, :, :3].any(axis=2))[..., None], planes, NO_PLANE)
    parts += [to_z, -to_x / distance, -to_y / distance, profile, cuts.reshape(len(placed), 4 * PLANES)]
    numbers = np.empty((len(placed), NUMBERS), np.float32)
    np.concatenate(parts, axis=1, out=numbers, casting="same_kind")

    source = distance * to_z + offset  # (n, 3)
    p, q, bend = profile.T
    stretch = np.stack([np.ones_like(bend), np.ones_like(bend), -bend], axis=1)  # (n, 3)
    gradient = source * stretch - np.stack([np.zeros_like(q), np.zeros_like(q), q / 2], axis=1)
    level = (source**2 * stretch).sum(axis=1) - p - q * source[:, 2]
    across = np.einsum("nik,ni->nk", inside, gradient)
    form = across[:, :, None] * across[:, None, :]
    form -= level[:, None, None] * (inside.transpose(0, 2, 1) @ (stretch[:, :, None] * inside))
    corner, edge = distance**2, -distance
    outline = [form[:, 0, 0], form[:, 0, 1], edge * form[:, 0, 2]]
    outline += [form[:, 1, 1], edge * form[:, 1, 2], corner * form[:, 2, 2]]
    return numbers, np.stack(outline, axis=1)
