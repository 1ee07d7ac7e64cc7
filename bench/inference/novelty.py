"""The out-of-distribution (OOD) score of an image: its distance to the nearest training images.

Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors", ICML.

A classifier names one of its classes whatever the image. So each image is described (`bench.inference.descriptor`), and the mean
distance to the five nearest descriptions of training images is divided by the distance that 98 % of the training images keep to
other patients' images: above 1 an image is out of distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.blocks import one_thread
from bench.inference.package import OOD, array_file, read_arrays, write_arrays

NEIGHBOURS = 5
MAX_REFERENCES = 2000  # training images kept for comparison
_AXES = 256
_WITHIN = 0.98  # share of the training images whose distance to other patients' images is below the limit
_BLOCK = 8  # rows of every matrix product: an image gets the same number whatever else is in the block


@dataclass(frozen=True)
class OodDetector:
    """Scores descriptions of images.

    Attributes
    ----------
    known : ndarray of float32, shape (m, r)
        Descriptions of training images; of classical ones the positions along their principal axes, all of the same spread.
    limit : float
        The distance whose score is 1.
    mean : ndarray of float32, shape (d,), or None
        Mean of classical descriptions.
    axes : ndarray of float32, shape (d, r), or None
        Principal axes of classical descriptions, scaled to the same spread.
    """

    known: np.ndarray
    limit: float
    mean: np.ndarray | None = None
    axes: np.ndarray | None = None

    def score(self, descriptions: np.ndarray) -> np.ndarray:
        """Return the OOD scores (n,) float64 of descriptions (n, d)."""
        squares = np.einsum("ij,ij->i", self.known, self.known)
        out = []
        with one_thread():
            for begin in range(0, len(descriptions), _BLOCK):
                rows = descriptions[begin : begin + _BLOCK].astype(np.float32)
                full = np.concatenate([rows, np.repeat(rows[-1:], _BLOCK - len(rows), axis=0)])
                out.append(nearest(self._projected(full), self.known, squares)[: len(rows)])
        return np.concatenate(out) / self.limit if out else np.empty(0)

    def save(self, folder: Path) -> None:
        """Write the arrays into a model folder."""
        arrays = {"known": self.known, "limit": np.array([self.limit])}
        if self.mean is not None and self.axes is not None:
            arrays |= {"mean": self.mean, "axes": self.axes}
        write_arrays(folder / OOD, arrays)

    @classmethod
    def load(cls, folder: Path) -> OodDetector:
        """Read what `save` wrote."""
        arrays = read_arrays(array_file(folder, OOD))
        return cls(arrays["known"], float(arrays["limit"][0]), arrays.get("mean"), arrays.get("axes"))

    def _projected(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.mean is None or self.axes is None else (rows - self.mean) @ self.axes


def fit_ood_detector(descriptions: np.ndarray, groups: np.ndarray, *, whitened: bool) -> OodDetector:
    """Fit a detector to training images.

    Parameters
    ----------
    descriptions : ndarray of shape (n, d)
        Of training images.
    groups : ndarray of shape (n,)
        Patients: neighbours are searched among other patients' images.
    whitened : bool
        Whether an axis along which images differ little counts as much as any other. Measured on radiographs against photographs and CT: good
        for HOG and LBP, bad for what networks see.

    Returns
    -------
    OodDetector
        The fitted detector.
    """
    known, mean, axes = descriptions.astype(np.float32), None, None
    with one_thread():  # the same bits for any number of rows
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
    return OodDetector(known, max(float(np.quantile(np.concatenate(distances), _WITHIN)), 1e-9), mean, axes)


def nearest(rows: np.ndarray, known: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the mean distance (n,) float64 of rows (n, r) to the nearest of the known (m, r), whose squared lengths (m,) are given."""
    distances = np.einsum("ij,ij->i", rows, rows)[:, None] + squares - 2 * (rows @ known.T)  # (n, m)
    k = min(NEIGHBOURS, distances.shape[1])
    return np.sqrt(np.maximum(np.partition(distances, k - 1, axis=1)[:, :k], 0)).mean(axis=1, dtype=np.float64)
