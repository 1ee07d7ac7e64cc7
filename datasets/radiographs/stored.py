"""From the cells of pixel data to stored values (PS3.5, 8.1.1): the significant bits, and padding.

Headers are wrong here more often than elsewhere, so they are checked against the cells. If bits that should not count are set, the
values are read in full, unless these bits look like the letters of an overlay, and a remark says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from radiographs.entries import decimal, number

if TYPE_CHECKING:
    from pydicom import Dataset

_OVERLAYS = range(0x6000, 0x6020, 2)
_STEP = 16  # times the step between neighbours elsewhere
_PADDINGS = (
    ("PixelPaddingValue", "PixelPaddingRangeLimit"),
    ("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
    ("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
)


@dataclass(frozen=True)
class Layout:
    """Which bits of a cell hold the value: the lowest one, the highest one, and how many cells have in all."""

    low: int
    high: int
    allocated: int

    @property
    def unused(self) -> int:
        """How many bits lie above."""
        return self.allocated - 1 - self.high


@dataclass(frozen=True)
class Stored:
    """Stored values of a frame.

    Attributes
    ----------
    values : array
        Of the cells' type.
    padding : array (h, w) of bool, or None
        Pixels that only fill the rectangle (PS3.3, C.7.5.1.1.2); None if there is none, or nothing else.
    remark : str
        Where the header contradicts the cells.
    """

    values: np.ndarray
    padding: np.ndarray | None = None
    remark: str = ""


def stored_values(cells: np.ndarray, dataset: Dataset) -> Stored:
    """Take the bits that the header names."""
    padding = _padding_of(cells, dataset)
    values, remark = _named_bits(cells, padding, dataset)
    if values is not cells and (more := _padding_of(values, dataset)) is not None:
        padding = more if padding is None else padding | more
    whole = padding is None or padding.all()
    return Stored(values, None if whole else padding, remark)


def _named_bits(cells: np.ndarray, padding: np.ndarray | None, dataset: Dataset) -> tuple[np.ndarray, str]:
    layout, remark = _layout(cells, dataset)
    if layout.low == 0 and layout.unused == 0:
        return cells, remark
    bits = cells.view(f"u{cells.dtype.itemsize}")
    if overlays := _embedded_overlays(dataset, layout):
        bits = bits & bits.dtype.type(~overlays & (1 << layout.allocated) - 1)
    native = bits if padding is None else bits[~padding]
    if layout.low and (native & native.dtype.type((1 << layout.low) - 1)).any():
        remark = f"HighBit {layout.high} leaves out bits that are used: all bits are read"
        layout = Layout(0, layout.high, layout.allocated)
    named = _cut(bits, layout, cells.dtype)
    if _nothing_above(native, layout, cells.dtype):
        return named, remark
    whole = _cut(bits, Layout(layout.low, layout.allocated - 1, layout.allocated), cells.dtype)
    what = f"values need more than the {layout.high - layout.low + 1} bits of its header"
    if _is_overlay(named, whole):
        return named, f"{what}: the bits above look like an overlay and are left out"
    return whole, f"{what}: all bits are read"


def _padding_of(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Pixels (h, w) with the padding value, or in its range."""
    for name, limit in _PADDINGS:
        first = decimal(dataset, name, np.nan)
        last = decimal(dataset, limit, first)
        if np.isfinite([first, last]).all() and values.ndim == 2:
            found = _between(values, first, last)
            return found if found.any() else None
    return None


def _between(values: np.ndarray, first: float, last: float) -> np.ndarray:
    if values.dtype.kind == "i":  # written as unsigned in some files that are signed
        first, last = (
            x - 2 ** (8 * values.dtype.itemsize) if x > np.iinfo(values.dtype).max else x for x in (first, last)
        )
    return (values >= min(first, last)) & (values <= max(first, last))


def _layout(cells: np.ndarray, dataset: Dataset) -> tuple[Layout, str]:
    allocated = 8 * cells.dtype.itemsize
    stored = number(dataset, "BitsStored")
    if cells.dtype.kind not in "ui" or not 0 < stored <= allocated or number(dataset, "BitsAllocated") == 1:
        return Layout(0, allocated - 1, allocated), ""
    high = number(dataset, "HighBit", stored - 1)
    if stored - 1 <= high < allocated:
        return Layout(high - stored + 1, high, allocated), ""
    return Layout(0, stored - 1, allocated), f"HighBit {high} contradicts BitsStored {stored}: assumed {stored - 1}"


def _embedded_overlays(dataset: Dataset, layout: Layout) -> int:
    """Bits of the cells that hold overlays, which was usual before 2004 (PS3.3, C.9.2)."""
    mask = 0
    for group in _OVERLAYS:
        position = dataset.get((group, 0x0102), None)
        bit = None if position is None or (group, 0x3000) in dataset else position.value
        if isinstance(bit, int) and 0 <= bit < layout.allocated and not layout.low <= bit <= layout.high:
            mask |= 1 << bit
    return mask


def _cut(bits: np.ndarray, layout: Layout, kind: np.dtype) -> np.ndarray:
    """Return the named bits as a value of the cells' type, the sign carried upwards."""
    return (bits << layout.unused).view(kind) >> (layout.unused + layout.low)


def _nothing_above(bits: np.ndarray, layout: Layout, kind: np.dtype) -> bool:
    """Whether the bits above the named ones are all zero or, in signed values, repeat the sign."""
    above = bits >> layout.high  # the highest one, which is the sign, and what lies above
    if kind.kind == "u":
        return not (above >> 1).any()
    full = (1 << layout.unused + 1) - 1
    repeated = above == full
    if repeated.any():  # then the writer repeats the sign, and a value without it needs more bits
        return bool((repeated | (above == 0)).all())
    return not (above >> 1).any()


def _is_overlay(named: np.ndarray, whole: np.ndarray) -> bool:
    """Whether the bits above are letters overlaid on a picture: they make steps at their edges that occur nowhere else, with none in the picture below."""
    marked = named != whole
    edges = marked[:, 1:] != marked[:, :-1]
    if not edges.any() or edges.all():
        return False
    (at_edges, elsewhere), (below, beside) = (_steps(values, edges) for values in (whole, named))
    return at_edges > _STEP * max(elsewhere, 1) and below <= 2 * max(beside, 1)


def _steps(values: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """Mean difference between neighbours at some edges, and elsewhere."""
    steps = np.abs(np.diff(values.astype(np.float32), axis=1))
    return float(steps[edges].mean()), float(steps[~edges].mean())
