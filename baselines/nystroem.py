"""Nyström's approximation of a kernel machine (Williams and Seeger 2001), for more images than an exact one can take.

The kernel of n images is approximated by m landmarks among them, K ≈ K_nm K_mm⁻¹ K_mn: a linear machine on
K_nm V Λ^-½ with the eigenvectors V and eigenvalues Λ of K_mm. The cost grows with n instead of its square. The loss is the squared hinge, which has a gradient everywhere, so that
all classes are fitted together by L-BFGS.

Products use `baselines.blocks`: the same bits for any number of threads; otherwise L-BFGS would amplify the differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize

from baselines.blocks import Blocks, blocks

_SMALLEST = 1e-5  # of the largest eigenvalue: smaller ones, and negative ones with mirror images, are noise
_INSIDE = 0.2  # approximate share of images inside the margin
_STEPS = 30  # iterations of L-BFGS per candidate; each starts from the previous solution


@dataclass(frozen=True)
class Machine:
    """One machine per class: score = kernel to the images of the columns (n, m) @ dual (m, n_classes) + intercept (n_classes,)."""

    dual: np.ndarray
    intercept: np.ndarray

    def scores(self, kernel: np.ndarray) -> np.ndarray:
        """Decision values (n, n_classes)."""
        dual = self.dual.astype(kernel.dtype, copy=False)
        out = np.empty((len(kernel), dual.shape[1]), kernel.dtype)
        with blocks(len(kernel)) as each:
            each(lambda rows: np.matmul(kernel[rows], dual, out=out[rows]))
        return out + self.intercept


def fit_nystroem(
    distances: np.ndarray, y: np.ndarray, C: Sequence[float], gamma: Sequence[float]
) -> Iterator[tuple[float, float, Machine]]:
    """Yield C, gamma and the machine of every pair of candidates.

    Parameters
    ----------
    distances : ndarray
        (n, m) float32, scaled squared distances of the training images to the first m of them, the landmarks.
    y : ndarray
        (n, n_classes) of 0 and 1.
    """
    signs = np.where(y > 0, 1, -1).astype(np.float32)
    n_landmarks = distances.shape[1]
    for g in gamma:
        with blocks(len(distances)) as each:
            among = np.exp(-np.float32(g) * distances[:n_landmarks]).astype(np.float64)
            values, vectors = eigh((among + among.T) / 2)
            kept = values > _SMALLEST * values[-1]
            back = vectors[:, kept] / np.sqrt(values[kept])  # (m, r): landmarks' kernel to features
            narrow = back.astype(np.float32)
            features = np.empty((len(distances), narrow.shape[1]), np.float32)

            def fill(
                rows: slice, g: float = g, features: np.ndarray = features, narrow: np.ndarray = narrow
            ) -> np.ndarray:
                return np.matmul(np.exp(-np.float32(g) * distances[rows]), narrow, out=features[rows])

            each(fill)
        solution = np.zeros((features.shape[1] + 1, y.shape[1]))
        for c in sorted(C):
            with blocks(len(features)) as each:
                solution = _linear(features, signs, c, solution, each)
                machine = Machine(back @ solution[:-1], solution[-1].copy())
            yield c, g, machine


def _linear(X: np.ndarray, signs: np.ndarray, C: float, start: np.ndarray, each: Blocks) -> np.ndarray:
    """Minimise ½ |w|² + C Σ max(0, 1 - sign score)² for every class; (r + 1, n_classes) float64, the intercepts last.

    The features are principal axes of the landmarks, along which the Hessian is nearly diagonal, 1 + 2 C |feature|² for the share of
    images inside the margin: steps in units of its root need a third of the iterations.
    """
    squares = np.einsum("ij,ij->j", X, X, dtype=np.float64)
    unit = np.append(1 / np.sqrt(1 + 2 * C * _INSIDE * squares), 1 / np.sqrt(2 * C * _INSIDE * len(X)))[:, None]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        solution = flat.reshape(start.shape) * unit
        weights = solution.astype(np.float32)

        def part(rows: slice) -> np.ndarray:
            """Gradient (r + 1, n_classes) over some rows, and below it the sum of the squared slacks."""
            scores = X[rows] @ weights[:-1]
            scores += weights[-1]
            slack = np.maximum(0, 1 - signs[rows] * scores)
            slope = (-2 * C) * signs[rows] * slack
            squared = np.square(slack).sum(axis=0, dtype=np.float64)
            return np.vstack([X[rows].T @ slope, slope.sum(axis=0), squared])

        total = sum(each(part), np.zeros(1))
        gradient = total[:-1]
        gradient[:-1] += solution[:-1]
        value = 0.5 * np.square(solution[:-1]).sum() + C * total[-1].sum()
        return float(value), (gradient * unit).ravel()

    options = {"maxiter": _STEPS, "maxcor": 10}
    found = minimize(objective, (start / unit).ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(start.shape) * unit
