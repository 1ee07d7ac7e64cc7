"""The compiled loops of `radiographs.phantom.rays`: intervals of rays inside pieces, sorted and swept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from radiographs.phantom.solids import PLANES

NUMBERS = 22 + 4 * PLANES  # that say what a piece is
LANES = (
    48  # rays handled together: short enough to skip what a small piece does not touch, long enough for vector units
)
NO_PLANE = (0.0, 0.0, 0.0, 1e6)  # how a piece says that it has fewer than `PLANES` cuts
_FAR = np.float32(1e6)  # mm; beyond every ray
_TINY = np.float32(1e-12)
_ZERO = np.float32(0)

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
_kernel = njit(**_OPTIONS)
# Always inlined: the process that compiles would else call another, differently rounded version than those that find the code in the cache.
_part = njit(**_OPTIONS, forceinline=True)


@_kernel
def integrate(pieces, unions, layers, rays, out, lengths):  # pragma: no cover - compiled
    """Add every union to `out`, row by row and `LANES` rays at a time, with those of its pieces that these rays may meet.

    Parameters
    ----------
    pieces : tuple of 3 ndarray
        Numbers (n, `NUMBERS`) float32 and outlines (n, 6) float64: see `radiographs.phantom.rays`; boxes (n, 4) int64
        [top, bottom, left, right) that each piece's shadow lies in.
    unions : tuple of 3 ndarray
        Starts, members, weights: union k consists of the pieces ``members[starts[k]:starts[k + 1]]`` and adds ``weights[k]`` for
        each millimetre.
    layers : tuple of 2 ndarray
        The layer (n_unions,) to which a union adds its bare length, with the sign of its weight, or -1; and the windows
        (n_layers, 5) int64 [top, bottom, left, right) of the layers, left and right multiples of `LANES`, and where each begins
        in `lengths`.
    rays : tuple of 2 ndarray
        x (columns,) and y (rows,) float32, millimetres; the number of columns is a multiple of `LANES`.
    out : ndarray of shape (rows, columns), float32
        Added to.
    lengths : ndarray of shape (n,), float32
        The layers one after the other, added to.
    """
    numbers, outlines, boxes = pieces
    starts, members, weights = unions
    layer_of, windows = layers
    x, y = rays
    most = 0
    for union in range(len(weights)):
        most = max(most, starts[union + 1] - starts[union])
    low = np.empty((2 * most + 2, LANES), np.float32)
    high = np.empty((2 * most + 2, LANES), np.float32)
    lefts, rights = np.empty(most, np.int64), np.empty(most, np.int64)
    for union in range(len(weights)):
        group = members[starts[union] : starts[union + 1]]
        weight, layer = weights[union], layer_of[union]
        top, bottom = len(y), 0
        for m in group:
            top, bottom = min(top, boxes[m, 0]), max(bottom, boxes[m, 1])
        for r in range(top, bottom):
            left, right = len(x), 0
            for j in range(len(group)):
                lefts[j], rights[j] = _extent(numbers, outlines, boxes, group[j], r, x, y[r])
                left, right = min(left, lefts[j]), max(right, rights[j])
            for first in range(left - left % LANES, right, LANES):
                met = 0
                for j in range(len(group)):
                    if lefts[j] < first + LANES and rights[j] > first:
                        met += _meet(numbers, group[j], x[first : first + LANES], y[r], met, low, high)
                if met > 0:
                    _sort(low, high, met)
                    _sweep(low, high, met)
                    for i in range(LANES):
                        out[r, first + i] += weight * low[0, i]
                    if layer >= 0:
                        wide = windows[layer, 3] - windows[layer, 2]
                        start = windows[layer, 4] + (r - windows[layer, 0]) * wide + first - windows[layer, 2]
                        sign = np.float32(1) if weight > _ZERO else np.float32(-1)
                        for i in range(LANES):
                            lengths[start + i] += sign * low[0, i]


@_kernel
def span(values, level):  # pragma: no cover - compiled
    """Rows and columns [top, bottom, left, right) around the values (h, w) float32 above a level; empty if there are none."""
    top, bottom, left, right = len(values), 0, values.shape[1], 0
    for r in range(len(values)):
        first, last = values.shape[1], 0
        for c in range(values.shape[1]):
            if values[r, c] > level:
                first, last = min(first, c), c + 1
        if last > 0:
            top, bottom, left, right = min(top, r), r + 1, min(left, first), max(right, last)
    return top, bottom, left, right


@_part
def _extent(numbers, outlines, boxes, m, r, x, y):  # pragma: no cover - compiled
    """First and last column of a row whose rays may meet piece m: those of its box, and of its outline where that is closed.

    The outline of a quadric is where the discriminant of its polynomial vanishes, a conic: f0 x² + 2 (f1 y + f2) x + f3 y² +
    2 f4 y + f5 = 0. Rays outside miss it if no ray runs along its inside.
    """
    left, right = boxes[m, 2], boxes[m, 3]
    if r < boxes[m, 0] or r >= boxes[m, 1] or left >= right:
        return len(x), 0
    bend = outlines[m, 0]
    if bend < 0 and not _runs_along(numbers, m, x[left], x[right - 1], y):
        slope = outlines[m, 1] * y + outlines[m, 2]
        square = slope * slope - bend * ((outlines[m, 3] * y + 2 * outlines[m, 4]) * y + outlines[m, 5])
        if square <= 0:
            return len(x), 0
        middle, half = slope / -bend, math.sqrt(square) / -bend
        scale = 1 / (x[1] - x[0])
        left = max(left, math.floor((middle - half - x[0]) * scale))
        right = min(right, math.ceil((middle + half - x[0]) * scale) + 1)
        if left >= right:
            return len(x), 0
    return left, right


@_part
def _meet(numbers, m, x, y, met, low, high):  # pragma: no cover - compiled
    """Write the interval of each ray inside piece m, and, of a hollow one, the second; return how many there are: 0, 1 or 2."""
    piece = numbers[m]
    a1, a2, a3 = piece[1] + y * piece[7], piece[2] + y * piece[8], piece[3] + y * piece[9]
    b1, b2, b3 = piece[10] + y * piece[16], piece[11] + y * piece[17], piece[12] + y * piece[18]
    twice = _runs_along(numbers, m, x[0], x[LANES - 1], y)
    if twice:
        _cut_along(piece, x, a1, a2, a3, b1, b2, b3, (low[met], high[met]), (low[met + 1], high[met + 1]))
    else:
        _cut_across(piece, x, a1, a2, a3, b1, b2, b3, low[met], high[met])
    o, ox, d, dx = _plane(piece, 22, a1, a2, a3, b1, b2, b3)
    more_o, more_ox, more_d, more_dx = _plane(piece, 26, a1, a2, a3, b1, b2, b3)
    side = _side(d, dx, x)
    more_side = _side(more_d, more_dx, x)
    if not twice and piece[33] == _FAR and side != 0 and more_side != 0:
        first, second = (o, ox, d, dx, side > 0), (more_o, more_ox, more_d, more_dx, more_side > 0)
        total = _cut_two(x, first, second, piece[0], low[met], high[met])
        return 1 if total > _ZERO else 0
    for plane in range(22, NUMBERS, 4):
        if piece[plane + 3] != _FAR:
            o, ox, d, dx = _plane(piece, plane, a1, a2, a3, b1, b2, b3)
            _cut_plane(x, o, ox, d, dx, low[met], high[met])
            if twice:
                _cut_plane(x, o, ox, d, dx, low[met + 1], high[met + 1])
    total = _settle(low[met], high[met], piece[0])
    if twice:
        _settle(low[met + 1], high[met + 1], piece[0])
        return 2
    return 1 if total > _ZERO else 0


@_part
def _plane(piece, k, a1, a2, a3, b1, b2, b3):  # pragma: no cover - compiled
    """Return the plane at number k as (o + ox x) + (d + dx x) z >= 0; one that cuts nothing as if it were far below."""
    n1, n2, n3, h = piece[k], piece[k + 1], piece[k + 2], piece[k + 3]
    if h == _FAR:
        return _FAR, _ZERO, np.float32(1), _ZERO
    return (
        h + n1 * a1 + n2 * a2 + n3 * a3,
        n1 * piece[4] + n2 * piece[5] + n3 * piece[6],
        n1 * b1 + n2 * b2 + n3 * b3,
        n1 * piece[13] + n2 * piece[14] + n3 * piece[15],
    )


@_part
def _side(d, dx, x):  # pragma: no cover - compiled
    """1 if all rays run into a half-space, -1 if all run out of it, 0 if they differ."""
    first, last = d + dx * x[0], d + dx * x[LANES - 1]
    return 1 if min(first, last) > _TINY else -1 if max(first, last) < -_TINY else 0


@_part
def _cut_two(x, first, second, depth, low, high):  # pragma: no cover - compiled
    """Keep what lies in two half-spaces that all rays run into (`enters`) or out of, and settle; return the sum of the lengths."""
    o, ox, d, dx, enters = first
    more_o, more_ox, more_d, more_dx, more_enters = second
    total = _ZERO
    for i in range(LANES):
        cut = -(o + ox * x[i]) / (d + dx * x[i])
        more = -(more_o + more_ox * x[i]) / (more_d + more_dx * x[i])
        begin, end = low[i], high[i]
        least = cut if enters else -_FAR
        most = _FAR if enters else cut
        more_least = more if more_enters else -_FAR
        more_most = _FAR if more_enters else more
        begin = begin if begin > least else least
        end = end if end < most else most
        begin = begin if begin > more_least else more_least
        end = end if end < more_most else more_most
        end = end if end > begin else begin
        total += end - begin
        low[i] = begin + depth
        high[i] = end + depth
    return total


@_part
def _runs_along(numbers, m, left, right, y):  # pragma: no cover - compiled
    """Whether some ray runs along the inside of a cone or waist, where a = d1² + d2² - s d3² is not positive."""
    s = numbers[m, 21]
    if s <= _ZERO:
        return False
    v1, v2, v3 = numbers[m, 13], numbers[m, 14], numbers[m, 15]
    b1, b2, b3 = (
        numbers[m, 10] + y * numbers[m, 16],
        numbers[m, 11] + y * numbers[m, 17],
        numbers[m, 12] + y * numbers[m, 18],
    )
    bend = v1 * v1 + v2 * v2 - s * v3 * v3
    slope = b1 * v1 + b2 * v2 - s * b3 * v3
    level = b1 * b1 + b2 * b2 - s * b3 * b3
    least = min((bend * left + 2 * slope) * left, (bend * right + 2 * slope) * right)
    if bend > _ZERO and left < -slope / bend < right:
        least = -slope * slope / bend
    return level + least < _TINY


@_part
def _cut_across(piece, x, a1, a2, a3, b1, b2, b3, low, high):  # pragma: no cover - compiled
    """Interval of z between the roots of a z² + 2 b z + c; where there are none it has no length."""
    u1, u2, u3, v1, v2, v3 = piece[4], piece[5], piece[6], piece[13], piece[14], piece[15]
    p, q, s = piece[19], piece[20], piece[21]
    half = q * np.float32(0.5)
    for i in range(LANES):
        o1, o2, o3 = a1 + x[i] * u1, a2 + x[i] * u2, a3 + x[i] * u3
        d1, d2, d3 = b1 + x[i] * v1, b2 + x[i] * v2, b3 + x[i] * v3
        a = d1 * d1 + d2 * d2 - s * d3 * d3
        b = o1 * d1 + o2 * d2 - (s * o3 + half) * d3
        c = o1 * o1 + o2 * o2 - p - (q + s * o3) * o3
        square = b * b - a * c
        root = np.sqrt(square if square > _ZERO else _ZERO)
        inverse = np.float32(1) / (a if a > _TINY else _TINY)
        low[i], high[i] = (-b - root) * inverse, (root - b) * inverse


@_part
def _cut_along(piece, x, a1, a2, a3, b1, b2, b3, before, beyond):  # pragma: no cover - compiled
    """Do the same for hollow shapes, twice: a ray along the inside (a < 0) is in the shape before and beyond the roots."""
    (low, high), (more_low, more_high) = before, beyond
    q, s = piece[20], piece[21]
    for i in range(LANES):
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


@_part
def _cut_plane(x, o, ox, d, dx, low, high):  # pragma: no cover - compiled
    """Keep what lies in the half-space (o + ox x) + (d + dx x) z >= 0: after the cut where the ray runs into it, else before."""
    first, last = d + dx * x[0], d + dx * x[LANES - 1]
    if first > _TINY and last > _TINY:
        for i in range(LANES):
            cut = -(o + ox * x[i]) / (d + dx * x[i])
            low[i] = low[i] if low[i] > cut else cut
    elif first < -_TINY and last < -_TINY:
        for i in range(LANES):
            cut = -(o + ox * x[i]) / (d + dx * x[i])
            high[i] = high[i] if high[i] < cut else cut
    else:
        for i in range(LANES):
            across = d + dx * x[i]
            cut = -(o + ox * x[i]) / (max(across, _TINY) if across > _ZERO else min(across, -_TINY))
            low[i] = max(low[i], cut) if across > _ZERO else low[i]
            high[i] = high[i] if across > _ZERO else min(high[i], cut)


@_part
def _settle(low, high, depth):  # pragma: no cover - compiled
    """Measure z from the origin, and leave no interval of negative length; return the sum of the lengths."""
    total = _ZERO
    for i in range(LANES):
        end = high[i] if high[i] > low[i] else low[i]
        total += end - low[i]
        low[i] += depth
        high[i] = end + depth
    return total


@_part
def _sort(low, high, met):  # pragma: no cover - compiled
    """Order the intervals of each ray by where they begin; soon done where they nearly are."""
    for last in range(met - 1, 0, -1):
        right = True
        for k in range(last):
            wrong = np.int32(0)
            for i in range(LANES):
                wrong += np.int32(low[k, i] > low[k + 1, i])
            if wrong > 0:
                right = False
                for i in range(LANES):
                    a, b, c, d = low[k, i], low[k + 1, i], high[k, i], high[k + 1, i]
                    low[k, i], high[k, i] = (b if a > b else a), (d if a > b else c)
                    low[k + 1, i], high[k + 1, i] = (a if a > b else b), (c if a > b else d)
        if right:
            return


@_part
def _sweep(low, high, met):  # pragma: no cover - compiled
    """Leave in the first row of `low` the length that sorted intervals cover; uses up the first row of `high`."""
    for i in range(LANES):
        low[0, i] = high[0, i] - low[0, i]
    for k in range(1, met):
        for i in range(LANES):
            covered = high[0, i]
            begin = low[k, i] if low[k, i] > covered else covered
            end = high[k, i] if high[k, i] > covered else covered
            low[0, i] += end - begin if end > begin else _ZERO
            high[0, i] = end
