"""From path lengths to grey levels: Beer-Lambert attenuation, scatter, blur, noise and the detector's logarithm.

Linear attenuation coefficients at 60 keV, an effective energy of diagnostic tubes, are mass coefficients from the tables of
Hubbell and Seltzer (NIST Standard Reference Database 126, materials of ICRU Report 44) times the density named beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

ATTENUATION = {  # 1/mm at 60 keV
    "air": 0.1875 * 0.0012 / 10,
    "lung": 0.2053 * 0.26 / 10,  # inflated
    "fat": 0.1974 * 0.95 / 10,
    "soft": 0.2048 * 1.06 / 10,
    "cancellous": 0.2400 * 1.18 / 10,  # bone and marrow, by volume
    "cortical": 0.3148 * 1.92 / 10,
    "titanium": 0.7661 * 4.54 / 10,
}


_BODY = 0.2  # an attenuation above this is the body: a centimetre of soft tissue


@dataclass(frozen=True)
class Exposure:
    """How one picture is taken.

    Parameters
    ----------
    photons
        Photons per pixel that arrive behind the middle of the body's attenuation: what automatic exposure control keeps.
    scatter
        Scatter-to-primary ratio behind the thickest part.
    heel
        Share of intensity lost from the cathode to the anode side (heel effect).
    angle
        Direction of the heel effect, in radians.
    blur
        Standard deviation of focal spot and detector together, in pixels.
    electronic
        Standard deviation of the read-out, in photons.
    """

    photons: float
    scatter: float
    heel: float
    angle: float
    blur: float
    electronic: float


def expose(attenuation: np.ndarray, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Detector signal of a body.

    Parameters
    ----------
    attenuation
        (h, w) float32, the line integral of the attenuation coefficient along each ray; no unit.

    Returns
    -------
    (h, w) float32: minus the logarithm of the share of photons that arrived, so that more matter is brighter.
    """
    height, width = attenuation.shape
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    beam = 1 - exposure.heel * (0.5 + 0.25 * (columns * np.cos(exposure.angle) + rows * np.sin(exposure.angle)))
    primary = beam * np.exp(-attenuation)
    wide = _wide_blur(primary, max(height, width) / 12)
    density = 1 - np.exp(-_wide_blur(attenuation, max(height, width) / 25))
    arrived = cv2.GaussianBlur(primary + exposure.scatter * wide * density, (0, 0), exposure.blur)
    body = arrived[attenuation > _BODY]
    open_beam = exposure.photons / float(np.median(body) if body.size else arrived.mean())
    counted = rng.poisson(arrived * open_beam) + rng.normal(0, exposure.electronic, arrived.shape)
    return -np.log(np.maximum(counted, 1) / open_beam).astype(np.float32)


def _wide_blur(image: np.ndarray, sigma: float, step: int = 8) -> np.ndarray:
    """Gaussian blur whose standard deviation is many pixels, computed on a picture `step` times smaller."""
    height, width = image.shape
    small = cv2.resize(image, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), (width, height), interpolation=cv2.INTER_LINEAR)
