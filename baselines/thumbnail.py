"""The image itself, much reduced: the coarse distribution of grey alone."""

from __future__ import annotations

import cv2
import numpy as np

VERSION = 1


class Thumbnail:
    """Grey levels of the image reduced to side x side pixels by area averaging.

    Parameters
    ----------
    side : int
        In pixels.
    """

    family = "classical"

    def __init__(self, side: int = 16) -> None:
        self.side = side

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Describe images (n, h, w) uint8 as (n, side * side) float32 in 0 .. 1."""
        small = [cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA) for image in images]
        return np.stack(small).reshape(len(images), -1).astype(np.float32) / 255
