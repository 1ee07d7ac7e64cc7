"""Is this an image of the kind that the model was trained on? The distance to the nearest training images says (Sun et al. 2022,
"Out-of-distribution detection with deep nearest neighbors", ICML).

A classifier has to name one of its classes, whatever it is shown. So each image is described (`bench.deploy.native.View`), and the mean
distance to the five nearest descriptions of the training part is held against what is usual between one patient and the others: 1 is
what 1 % of the training images are beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.deploy.package import read_arrays, write_arrays

NEIGHBOURS = 5
_AXES = 128
_USUAL = 0.99  # share of the training images that are nearer to other patients' than the limit
_MOST = 5000  # images that are kept to compare with
_FILE = "strangeness.safetensors"


@dataclass(frozen=True)
class Strangeness:
    """Knows what is usual.

    Attributes
    ----------
    mean : array, shape (d,)
    axes : array, shape (d, r)
        Principal axes of the descriptions.
    scale : array, shape (r,)
        By which positions along them are divided.
    rest : float
        By which the distance from the space of the axes is divided.
    known : array, shape (m, r + 1)
        Positions of training images.
    limit : float
        The distance that counts as 1.
    """

    mean: np.ndarray
    axes: np.ndarray
    scale: np.ndarray
    rest: float
    known: np.ndarray
    limit: float

    def score(self, descriptions: np.ndarray) -> np.ndarray:
        """Strangeness (n,) float64 of descriptions (n, d): above 1 is unusual."""
        squares = np.einsum("ij,ij->i", self.known, self.known)
        return np.array([_nearest(row, self.known, squares) for row in self._placed(descriptions)]) / self.limit

    def save(self, folder: Path) -> None:
        """Write everything as safetensors."""
        numbers = {"rest": np.array([self.rest]), "limit": np.array([self.limit])}
        arrays = {"mean": self.mean, "axes": self.axes, "scale": self.scale, "known": self.known}
        write_arrays(folder / _FILE, arrays | numbers)

    @classmethod
    def load(cls, folder: Path) -> Strangeness:
        """Read what `save` wrote."""
        arrays = read_arrays(folder / _FILE)
        rest, limit = float(arrays.pop("rest")[0]), float(arrays.pop("limit")[0])
        return cls(**arrays, rest=rest, limit=limit)

    def _placed(self, descriptions: np.ndarray) -> np.ndarray:
        """Positions (n, r + 1) float32, one row at a time: the same alone as among others."""
        return np.stack([self._place(row) for row in descriptions.astype(np.float32)])

    def _place(self, row: np.ndarray) -> np.ndarray:
        centred = row - self.mean
        along = centred @ self.axes
        return np.append(along / self.scale, np.linalg.norm(centred - self.axes @ along) / self.rest).astype(np.float32)


def fit_strangeness(descriptions: np.ndarray, groups: np.ndarray, seed: int, *, whitened: bool) -> Strangeness:
    """Learn what is usual.

    Parameters
    ----------
    descriptions
        (n, d) of the training images.
    groups
        (n,), patients: neighbours are looked for among the others'.
    whitened
        Whether an axis along which images differ little counts as much as any other.
    """
    if len(descriptions) > _MOST:
        some = np.sort(np.random.default_rng(seed).permutation(len(descriptions))[:_MOST])
        descriptions, groups = descriptions[some], groups[some]
    descriptions = descriptions.astype(np.float32)
    mean = descriptions.mean(axis=0)
    _, singular, axes = np.linalg.svd(descriptions - mean, full_matrices=False)
    r = max(1, min(_AXES, int((singular > 1e-6 * singular[0]).sum())))
    spread = singular[:r] / np.sqrt(len(descriptions))
    scale = spread * np.sqrt(r) if whitened else np.full(r, np.linalg.norm(spread))
    along = (descriptions - mean) @ axes[:r].T
    left = np.linalg.norm(descriptions - mean - along @ axes[:r], axis=1)
    left_over = float(np.sqrt(np.mean(left**2))) if whitened else float(scale[0])
    found = Strangeness(mean, axes[:r].T, scale.astype(np.float32), max(left_over, 1e-6), np.empty((0, r + 1)), 1.0)
    known = found._placed(descriptions)
    squares, others = np.einsum("ij,ij->i", known, known), [groups != group for group in groups]
    distances = [_nearest(row, known[rest], squares[rest]) for row, rest in zip(known, others, strict=True)]
    limit = float(np.quantile(distances, _USUAL))
    return Strangeness(found.mean, found.axes, found.scale, found.rest, known, max(limit, 1e-9))


def _nearest(row: np.ndarray, known: np.ndarray, squares: np.ndarray) -> float:
    """Mean distance from a position (r,) to the nearest of the known (m, r), whose squared lengths (m,) are given."""
    distances = np.maximum(squares - 2 * (known @ row) + row @ row, 0)  # (m,)
    k = min(NEIGHBOURS, len(distances))
    return float(np.sqrt(np.partition(distances, k - 1)[:k]).mean(dtype=np.float64))
