"""Is this an image of the kind that the model was trained on? The distance to the nearest training images says (Sun et al. 2022,
"Out-of-distribution detection with deep nearest neighbors", ICML).

A classifier has to name one of its classes, whatever it is shown. So each image is described (`bench.inference.descriptor.Descriptor`), and the mean
distance to the five nearest descriptions of the training part is held against what is usual between one patient and the others: 1 is
what 2 % of the training images are beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.blocks import one_thread
from bench.inference.package import read_arrays, write_arrays

NEIGHBOURS = 5
_AXES = 256
_USUAL = 0.98  # share of the training images that are nearer to other patients' than the limit
MAX_REFERENCES = 2000  # images that are kept to compare with
_BLOCK = 8  # rows of a matrix product, always: an image gets the same number alone as among others
_FILE = "ood.safetensors"


@dataclass(frozen=True)
class OodDetector:
    """Knows what is usual.

    Attributes
    ----------
    known : array, shape (m, r)
        Descriptions of training images; of classical ones the positions along their principal axes, all of the same spread.
    limit : float
        The distance that counts as 1.
    mean, axes : arrays, shapes (d,) and (d, r), or None
        What turns a classical description into such a position.
    """

    known: np.ndarray
    limit: float
    mean: np.ndarray | None = None
    axes: np.ndarray | None = None

    def score(self, descriptions: np.ndarray) -> np.ndarray:
        """Strangeness (n,) float64 of descriptions (n, d): above 1 is unusual."""
        squares = np.einsum("ij,ij->i", self.known, self.known)
        out = []
        with one_thread():
            for begin in range(0, len(descriptions), _BLOCK):
                rows = descriptions[begin : begin + _BLOCK].astype(np.float32)
                full = np.concatenate([rows, np.repeat(rows[-1:], _BLOCK - len(rows), axis=0)])
                out.append(nearest(self._placed(full), self.known, squares)[: len(rows)])
        return np.concatenate(out) / self.limit if out else np.empty(0)

    def save(self, folder: Path) -> None:
        """Write everything as safetensors."""
        arrays = {"known": self.known, "limit": np.array([self.limit])}
        if self.mean is not None and self.axes is not None:
            arrays |= {"mean": self.mean, "axes": self.axes}
        write_arrays(folder / _FILE, arrays)

    @classmethod
    def load(cls, folder: Path) -> OodDetector:
        """Read what `save` wrote."""
        arrays = read_arrays(folder / _FILE)
        return cls(arrays["known"], float(arrays["limit"][0]), arrays.get("mean"), arrays.get("axes"))

    def _placed(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.mean is None or self.axes is None else (rows - self.mean) @ self.axes


def fit_ood_detector(descriptions: np.ndarray, groups: np.ndarray, *, whitened: bool) -> OodDetector:
    """Learn what is usual.

    Parameters
    ----------
    descriptions
        (n, d) of training images.
    groups
        (n,), patients: neighbours are looked for among the others'.
    whitened
        Whether an axis along which images differ little counts as much as any other. Measured on radiographs against photographs and CT: good
        for HOG and LBP, bad for what networks see.
    """
    known, mean, axes = descriptions.astype(np.float32), None, None
    with one_thread():  # the same bits for any number of them
        if whitened:
            mean = known.mean(axis=0)
            _, singular, axes = np.linalg.svd(known - mean, full_matrices=False)
            r = max(1, min(_AXES, int((singular > 1e-6 * singular[0]).sum())))
            axes = (axes[:r].T / np.maximum(singular[:r], 1e-12) * np.sqrt(len(known) / r)).astype(np.float32)
            known = (known - mean) @ axes
        squares = np.einsum("ij,ij->i", known, known)
        distances = []
        for group in np.unique(groups):
            own = groups == group
            distances.append(nearest(known[own], known[~own], squares[~own]))
    return OodDetector(known, max(float(np.quantile(np.concatenate(distances), _USUAL)), 1e-9), mean, axes)


def nearest(rows: np.ndarray, known: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Mean distance (n,) float64 of rows (n, r) to the nearest of the known (m, r), whose squared lengths (m,) are given."""
    distances = np.einsum("ij,ij->i", rows, rows)[:, None] + squares - 2 * (rows @ known.T)  # (n, m)
    k = min(NEIGHBOURS, distances.shape[1])
    return np.sqrt(np.maximum(np.partition(distances, k - 1, axis=1)[:, :k], 0)).mean(axis=1, dtype=np.float64)
