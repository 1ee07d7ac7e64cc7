"""OpenCV's fast `max` and `min` with a number, which its type stubs do not know."""

from __future__ import annotations

import cv2
import numpy as np


def at_least(values: np.ndarray, bound: float) -> np.ndarray:
    """Return the values, those below the bound raised to it."""
    return cv2.max(values, bound)  # pyright: ignore[reportCallIssue, reportArgumentType] - the stubs want two arrays


def at_most(values: np.ndarray, bound: float) -> np.ndarray:
    """Return the values, those above the bound lowered to it."""
    return cv2.min(values, bound)  # pyright: ignore[reportCallIssue, reportArgumentType] - the stubs want two arrays
