"""Whether a heat map means anything: deletion and insertion (Petsiuk et al. 2018, "RISE"), and the similarity of maps for the sanity check."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bench.explaining.occlusion import Score

STEPS = 16
RANDOM_MAPS = 4
_BLUR = 1 / 16  # standard deviation of the blur, as a share of the image's side
_TIE = 1e-5  # of the random map that orders pixels of equal importance


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves, in 0 .. 1, of a map and in the mean of random ones.

    Attributes
    ----------
    deletion, deletion_random : float
        The most important pixels are blurred first: the lower the better.
    insertion, insertion_random : float
        The most important pixels are made sharp first: the higher the better.
    """

    deletion: float
    insertion: float
    deletion_random: float
    insertion_random: float


def faithfulness(score: Score, image: np.ndarray, heat: np.ndarray, rng: np.random.Generator) -> Faithfulness:
    """Compare a map with random ones of the same resolution.

    Parameters
    ----------
    score : callable
        Probabilities of the class.
    image : ndarray
        (h, w) uint8.
    heat : ndarray
        (rows, columns), the map.
    """
    maps = [heat, *(rng.random(heat.shape) for _ in range(RANDOM_MAPS))]
    ties = rng.random(heat.shape)
    areas = np.array([_areas(score, image, enlarged(each + _TIE * ties, image.shape)) for each in maps])  # (maps, 2)
    (deletion, insertion), (deletion_random, insertion_random) = areas[0], areas[1:].mean(axis=0)
    return Faithfulness(float(deletion), float(insertion), float(deletion_random), float(insertion_random))


def enlarged(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Enlarge a map smoothly to the size of its image, (h, w) float32."""
    return cv2.resize(heat.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two maps; not a number where one of them is the same everywhere."""
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _areas(score: Score, image: np.ndarray, heat: np.ndarray) -> tuple[float, float]:
    """Areas under the curves of deletion and insertion, by the trapezoidal rule."""
    blurred = cv2.GaussianBlur(image, (0, 0), _BLUR * max(image.shape))
    order = np.argsort(-heat.ravel(), kind="stable")
    taken = [order[: round(step / STEPS * len(order))] for step in range(STEPS + 1)]
    frames = [_mixed(image, blurred, pixels) for pixels in taken]
    frames += [_mixed(blurred, image, pixels) for pixels in taken]
    found = score(np.stack(frames)).reshape(2, -1)  # (2, STEPS + 1)
    deletion, insertion = ((found[:, 1:] + found[:, :-1]) / 2).mean(axis=1)
    return float(deletion), float(insertion)


def _mixed(below: np.ndarray, above: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    out = below.copy()
    out.ravel()[pixels] = above.ravel()[pixels]
    return out
