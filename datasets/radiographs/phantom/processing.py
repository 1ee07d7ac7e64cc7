"""From a detector's signal to grey levels, as the consoles of digital systems do before a picture is stored.

Coarse differences are compressed, fine ones enhanced (unsharp masking), and a window and a curve follow (Prokop et al. 2003, "Principles
of image processing in digital chest radiography", J. Thorac. Imaging 18(3): 148-164).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from radiographs.phantom.bounds import at_least, at_most
from radiographs.phantom.exposure import wide_blur


@dataclass(frozen=True)
class Console:
    """Settings of the processing.

    Parameters
    ----------
    width : float
        Standard deviation that parts coarse from fine, as a share of the longer side.
    coarse, fine : float
        Factors on coarse and on fine differences.
    percentiles : tuple of 2 float
        Of the signal, which become the darkest and the brightest grey.
    floor, ceiling : float
        These two greys, in [0, 1].
    gamma : float
        Exponent of the curve between them; below 1 dark tones are lifted.
    """

    width: float
    coarse: float
    fine: float
    percentiles: tuple[float, float]
    floor: float
    ceiling: float
    gamma: float


def draw_console(coarse: tuple[float, float], rng: np.random.Generator) -> Console:
    """Draw settings within what is usual; `coarse` is the range of that factor."""
    return Console(
        width=rng.uniform(0.03, 0.07),
        coarse=rng.uniform(*coarse),
        fine=rng.uniform(1.0, 1.6),
        percentiles=(rng.uniform(0.2, 2), rng.uniform(98.5, 99.9)),
        floor=rng.uniform(0.03, 0.12),
        ceiling=rng.uniform(0.75, 0.95),
        gamma=rng.uniform(0.6, 1.1),
    )


def grey_levels(signal: np.ndarray, console: Console) -> np.ndarray:
    """Return grey levels (h, w) float32 in [0, 1] of a signal (h, w) float32."""
    coarse = wide_blur(signal, console.width * max(signal.shape))
    detail = cv2.addWeighted(signal, console.fine, coarse, console.coarse - console.fine, 0)
    low, high = np.percentile(detail[::3, ::3], console.percentiles)  # every ninth pixel will do
    scale = 1 / max(high - low, 1e-3)
    share = at_most(at_least(cv2.addWeighted(detail, scale, detail, 0, -low * scale), 0), 1)
    return np.float32(console.floor) + np.float32(console.ceiling - console.floor) * cv2.pow(share, console.gamma)
