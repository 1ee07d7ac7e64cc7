"""From line integrals to a detector's signal: beam, scatter, blur, noise and the logarithm.

The chain is that of digital radiography (Bushberg et al., The Essential Physics of Medical Imaging, 3rd ed., chapter 7): the primary
fluence follows Beer and Lambert; the anode side of the beam is weaker (heel effect); scatter is a wide, weak copy of what the body
removed; focal spot and scintillator blur; photons are counted with Poisson noise and read out with Gaussian noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy.special import ndtri

from radiographs.phantom.bounds import at_least

_SCATTER_WIDTH = (
    0.09  # standard deviation of the scatter as a share of the longer side: several centimetres behind a trunk
)
_STEP = 8  # wide blurs are computed on a picture so many times smaller


@dataclass(frozen=True)
class Exposure:
    """How one picture is taken.

    Parameters
    ----------
    photons : float
        Counted per pixel in the open beam.
    scatter : float
        Scatter-to-primary ratio behind matter that stops almost everything; thinner matter scatters in proportion to what it stops.
    heel : float
        Share of intensity lost from the cathode's to the anode's edge, and `anode`, the direction of the anode in radians.
    focus, detector : float
        Standard deviations of the blur before and after counting, in pixels.
    electronic : float
        Standard deviation of the read-out, in photons.
    """

    photons: float
    scatter: float
    heel: float
    anode: float
    focus: float
    detector: float
    electronic: float


def detector_signal(integrals: np.ndarray, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Return minus the logarithm of the share of photons that arrive, (h, w) float32: 0 is open beam, more matter is more.

    Parameters
    ----------
    integrals : ndarray of shape (h, w), float32
        Line integrals of the attenuation coefficient.
    """
    passed = cv2.exp(-integrals)
    primary = passed * _beam(integrals.shape, exposure)
    arrived = cv2.GaussianBlur(primary, (0, 0), exposure.focus) if exposure.focus > 0 else primary
    if exposure.scatter > 0:
        arrived = arrived + exposure.scatter * wide_blur(primary * (1 - passed), _SCATTER_WIDTH * max(integrals.shape))
    expected = exposure.photons * arrived
    spread = cv2.sqrt(expected + np.float32(exposure.electronic**2))  # a Poisson count of many photons is normal
    counted = expected + cv2.multiply(spread, _normal(expected.shape, rng))
    if exposure.detector > 0:
        counted = cv2.GaussianBlur(counted, (0, 0), exposure.detector)
    return np.float32(np.log(exposure.photons)) - cv2.log(at_least(counted, 1))


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return standard normal numbers (h, w) float32: quantiles at one of 65,536 levels, several times faster than the generator's own."""
    return _quantiles()[rng.integers(0, 2**16, shape, dtype=np.uint16)]


@cache
def _quantiles() -> np.ndarray:
    """Quantiles (65536,) float32 of the standard normal distribution in the middle of equally likely levels."""
    return ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


def wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return a Gaussian blur whose standard deviation is many pixels."""
    height, width = image.shape
    small = cv2.resize(image, (max(2, width // _STEP), max(2, height // _STEP)), interpolation=cv2.INTER_AREA)
    return cv2.resize(
        cv2.GaussianBlur(small, (0, 0), max(sigma / _STEP, 0.3)), (width, height), interpolation=cv2.INTER_LINEAR
    )


def _beam(shape: tuple[int, ...], exposure: Exposure) -> np.ndarray:
    """Relative intensity (h, w) float32 of the open beam, 1 in the middle."""
    height, width = shape
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(np.cos(exposure.anode))
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(np.sin(exposure.anode))
    return 1 - np.float32(exposure.heel) * (x[None, :] + y[:, None])
