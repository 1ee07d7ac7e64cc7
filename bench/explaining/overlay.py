"""Heat maps as pictures: the radiograph in grey, importance in colours that are safe for colour blindness."""

from __future__ import annotations

import cv2
import numpy as np
from radiographs.preprocess import shrunk

from bench.explaining.scores import enlarged

_COLOURS = cv2.COLORMAP_INFERNO
_SIDE = 224  # pages hold many
_STRONGEST = 0.75  # share of the colour where the map is 1


def picture(image: np.ndarray, heat: np.ndarray | None = None) -> bytes:
    """PNG file of an image (h, w) uint8, with its map (rows, columns) in 0 .. 1 laid over it, if there is one."""
    small = shrunk(image, _SIDE)
    if heat is None:
        return cv2.imencode(".png", small)[1].tobytes()
    share = np.clip(enlarged(heat, small.shape), 0, 1)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), _COLOURS).astype(np.float32)  # (h, w, 3)
    weight = _STRONGEST * np.sqrt(share)[:, :, None]  # a root, or weak parts would be invisible
    mixed = (1 - weight) * small[:, :, None] + weight * colours
    return cv2.imencode(".png", mixed.round().astype(np.uint8))[1].tobytes()


def legend() -> bytes:
    """PNG file of the colours from 0 to 1 over mid-grey, left to right."""
    ramp = np.tile(np.linspace(0, 1, 224, dtype=np.float32), (14, 1))
    return picture(np.full(ramp.shape, 110, np.uint8), ramp)
