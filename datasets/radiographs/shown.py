"""From stored values to grey levels as a viewer shows them (PS3.4, annex N.2): modality LUT or rescale, VOI LUT or window, inversion.

Padding takes no part in any of this (PS3.3, C.7.5.1.1.2): it is as dark as the darkest other pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radiographs.colours import luma, peak_of
from radiographs.entries import decimal, number, text
from radiographs.part10 import DicomError
from radiographs.stored import stored_values

if TYPE_CHECKING:
    from pydicom import Dataset

_PALETTE = tuple(f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue"))


@dataclass(frozen=True)
class Shown:
    """Grey levels of one frame.

    Attributes
    ----------
    grey : array (h, w)
        uint8 or uint16 where no LUT, rescale or window applies, else float32; larger is brighter.
    padding : array (h, w) of bool, or None
        Pixels that the grey levels of a picture without a window must not be judged by.
    remark : str
        Where the header contradicts the pixels.
    """

    grey: np.ndarray
    padding: np.ndarray | None = None
    remark: str = ""


def as_shown(cells: np.ndarray, dataset: Dataset) -> Shown:
    """Show decoded pixel data, (h, w) or (h, w, 3)."""
    found = stored_values(cells, dataset)
    stored, padding, remark = found.values, found.padding, found.remark
    if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        stored = _coloured(stored, dataset)
    if stored.ndim == 3:
        return Shown(_luma(stored), remark=remark)
    shown, (low, high), windowed = _through_luts(stored, padding, dataset)
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1" or _is_inverse(dataset):
        shown = _inverted(shown, low, high)
    grey = shown if shown.dtype in (np.uint8, np.uint16) else shown.astype(np.float32)
    if padding is None:
        return Shown(grey, remark=remark)
    dark = grey.dtype.type(low) if windowed else grey[~padding].min()
    return Shown(np.where(padding, dark, grey), None if windowed else padding, remark)


def _is_inverse(dataset: Dataset) -> bool:
    return text(dataset, "PresentationLUTShape").upper() == "INVERSE"


def _inverted(grey: np.ndarray, low: float, high: float) -> np.ndarray:
    if grey.dtype in (np.uint8, np.uint16):
        return (int(high) - grey.astype(np.int64)).clip(0).astype(grey.dtype)
    return low + high - grey


def _luma(colours: np.ndarray) -> np.ndarray:
    """Brightness (h, w), with 16 bits where the colours (h, w, 3) have more than 8."""
    colours = colours[..., :3]
    if colours.dtype == np.uint16 and colours.size and colours.max() < 256:  # a palette that states 16 bits and holds 8
        colours = colours.astype(np.uint8)
    grey = luma(colours)
    return grey if grey.dtype in (np.uint8, np.uint16) else np.rint(grey * (255 / peak_of(colours))).astype(np.uint8)


def _coloured(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Colours (h, w, 3) of a palette."""
    if f"{_PALETTE[0]}Descriptor" not in dataset:
        raise DicomError("its pixels cannot be decoded: PALETTE COLOR without a palette")
    if f"{_PALETTE[0]}Data" not in dataset:
        from pydicom.pixels.processing import apply_color_lut

        return apply_color_lut(stored, dataset)  # of segments, PS3.3, C.7.9.2
    tables = [
        Table.of(dataset[f"{name}Descriptor"].value, dataset[f"{name}Data"].value, stored, dataset) for name in _PALETTE
    ]
    return np.stack([table.look_up(stored) for table in tables], axis=2)


def _through_luts(
    stored: np.ndarray, padding: np.ndarray | None, dataset: Dataset
) -> tuple[np.ndarray, tuple[float, float], bool]:
    """Values after modality and VOI transforms, the range that an inversion turns around, and whether a VOI transform set it."""
    ends = np.array(_stored_range(_native(stored, padding), dataset))
    values = stored
    slope, intercept = decimal(dataset, "RescaleSlope", 1.0), decimal(dataset, "RescaleIntercept", 0.0)
    if (table := _table(dataset, "ModalityLUTSequence", stored)) is not None:
        values, ends = table.look_up(stored), np.array([0, table.peak])
    elif slope and (slope, intercept) != (1, 0):
        values, ends = stored * slope + intercept, np.sort(ends * slope + intercept)
    if (table := _table(dataset, "VOILUTSequence", values)) is not None:
        return table.look_up(values), (0, table.peak), True
    window = _window(dataset)
    if window is not None:
        shown = _windowed(values, *window, ends)
        if np.ptp(_native(shown, padding)) > 0 or np.ptp(_native(values, padding)) == 0:
            return shown, (float(ends[0]), float(ends[1])), True
    return values, (float(ends[0]), float(ends[1])), False  # a window outside the values would show nothing


def _native(values: np.ndarray, padding: np.ndarray | None) -> np.ndarray:
    return values if padding is None else values[~padding]


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None if there is no valid one."""
    function = text(dataset, "VOILUTFunction").upper() or "LINEAR"
    center, width = decimal(dataset, "WindowCenter", np.nan), decimal(dataset, "WindowWidth", np.nan)
    sound = np.isfinite([center, width]).all() and (width >= 1 if function == "LINEAR" else width > 0)
    return (center, width, function) if sound else None


def _windowed(values: np.ndarray, center: float, width: float, function: str, ends: np.ndarray) -> np.ndarray:
    """Apply a window after PS3.3, C.11.2.1.2; the output spans the range that the values may have."""
    low, high = float(ends[0]), float(ends[1])
    x = values.astype(np.float64)
    if function == "SIGMOID":
        return (high - low) / (1 + np.exp(-4 * (x - center) / width)) + low
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
        if width == 0:
            return np.where(x <= center, low, high)
    return ((x - center) / width + 0.5).clip(0, 1) * (high - low) + low


def _stored_range(stored: np.ndarray, dataset: Dataset) -> tuple[float, float]:
    if stored.dtype.kind == "f":
        return float(stored.min()), float(stored.max())
    bits = number(dataset, "BitsStored") or stored.dtype.itemsize * 8
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if number(dataset, "PixelRepresentation") else (0, 2**bits - 1)
    )
    return float(min(low, stored.min())), float(max(high, stored.max()))


@dataclass(frozen=True)
class Table:
    """A look-up table (PS3.3, C.11.1.1.1): its entries, the value that the first one stands for, and the largest that they may have."""

    entries: np.ndarray
    first: int
    peak: int

    @classmethod
    def of(cls, descriptor: Any, data: Any, values: np.ndarray, dataset: Dataset) -> Table:
        """Read a table for `values` from its descriptor (number of entries, first value, bits) and its data, bytes or numbers.

        Raises
        ------
        DicomError
            If it holds fewer entries than stated.
        """
        n, first, bits = int(descriptor[0]) % (1 << 16) or 1 << 16, int(descriptor[1]), int(descriptor[2])
        if first > 0x7FFF and values.min() < 0:  # signed, and written as unsigned
            first -= 1 << 16
        if isinstance(data, (bytes, bytearray)):
            little, raw = dataset.original_encoding[1] is not False, bytes(data)
        else:
            little, raw = True, np.asarray(data, dtype="<u2").tobytes()
        packed = len(raw) in (n, n + 1) and n > 1  # two entries of 8 bits in a word
        if not packed and len(raw) < 2 * n:
            raise DicomError(f"its look-up table holds {len(raw) // 2:,} of {n:,} entries")
        entries = np.frombuffer(raw, np.uint8 if packed else "<u2" if little else ">u2", n)
        kind = np.uint8 if bits <= 8 and entries.max() < 256 else np.uint16
        return cls(entries.astype(kind), first, max((1 << min(bits, 16)) - 1, int(entries.max())))

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Entries of values; those outside get the first or the last one."""
        wide = values.astype(np.int64 if values.dtype.itemsize > 2 else np.int32)
        return self.entries[(wide - self.first).clip(0, len(self.entries) - 1)]


def _table(dataset: Dataset, sequence: str, values: np.ndarray) -> Table | None:
    """Read the first table of a sequence; None where it is empty, as some devices leave it."""
    items = dataset.get(sequence, None)
    if not items:
        return None
    descriptor, data = items[0].get("LUTDescriptor", None), items[0].get("LUTData", None)
    if descriptor is None or data is None or (hasattr(data, "__len__") and len(data) == 0):
        return None
    return Table.of(descriptor, data, values, dataset)
