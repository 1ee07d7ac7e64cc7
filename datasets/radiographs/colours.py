"""From colours, transparency and inverted scales to grey levels, at full bit depth."""

from __future__ import annotations

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in JPEG


def luma(colours: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """Brightness over a black ground.

    Parameters
    ----------
    colours : ndarray of shape (h, w, 3), or (h, w) where they are grey already
    alpha : ndarray of shape (h, w), optional
        Of the same type.

    Returns
    -------
    ndarray of shape (h, w)
        Of uint8 or uint16 where the colours are, else float32.
    """
    if colours.ndim == 2 and alpha is None:
        return plain(colours)
    values = colours.astype(np.float32)
    values = values @ _LUMA if colours.ndim == 3 else values
    if alpha is not None:
        values = values * (alpha.astype(np.float32) / np.float32(peak_of(alpha)))
    return np.rint(values).astype(colours.dtype) if colours.dtype in (np.uint8, np.uint16) else values


def share_coloured(colours: np.ndarray) -> float:
    """Share of the pixels (h, w, 3) whose red, green and blue differ by more than 24 of 255, by a few of them."""
    few = colours[:: max(1, colours.shape[0] // 256), :: max(1, colours.shape[1] // 256)].astype(np.float32)
    few = few * np.float32(255 / peak_of(colours))
    return float((few.max(axis=2) - few.min(axis=2) > 24).mean())


def from_cmyk(inks: np.ndarray) -> np.ndarray:
    """Colours (h, w, 3) of inks (h, w, 4)."""
    peak = np.float32(peak_of(inks))
    left = peak - inks.astype(np.float32)
    colours = left[..., :3] * left[..., 3:] / peak
    return np.rint(colours).astype(inks.dtype) if inks.dtype.kind in "ui" else colours


def turned(values: np.ndarray) -> np.ndarray:
    """Invert values in which 0 is white, so that larger is brighter."""
    values = plain(values)
    if values.dtype in (np.uint8, np.uint16):
        return np.iinfo(values.dtype).max - values
    return values.min() + values.max() - values if values.size else values


def plain(values: np.ndarray) -> np.ndarray:
    """Values as uint8, uint16 or float32, in this machine's byte order."""
    kind = values.dtype.newbyteorder("=")
    return values.astype(kind if kind in (np.uint8, np.uint16) else np.float32, copy=False)


def upright(grey: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror a picture as its orientation (EXIF and TIFF 6.0, tag 274) says; the value it has no meaning for changes nothing."""
    flipped = {2: np.fliplr, 3: lambda g: np.rot90(g, 2), 4: np.flipud, 5: np.transpose}
    rotated = {6: lambda g: np.rot90(g, -1), 7: lambda g: np.rot90(g, 2).T, 8: np.rot90}
    return np.ascontiguousarray({**flipped, **rotated}.get(orientation, lambda g: g)(grey))


def peak_of(values: np.ndarray) -> float:
    """Value of full brightness."""
    return float(np.iinfo(values.dtype).max) if values.dtype.kind in "ui" else 1.0
