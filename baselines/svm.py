"""One-vs-rest support vector machines with an RBF kernel on squared distances that were computed beforehand."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.svm import SVC

from baselines.calibration import Calibration, fit_calibration
from baselines.selection import best_f1_samples


class SVM:
    """RBF support vector machine, one per class.

    The kernel of two images is exp(-gamma * m), where m is the mean over the encodings of their squared distance divided by
    the mean squared distance between the training images: so gamma = 1 means the same for every encoding and every fold, and
    each encoding of a joined model has the same say.

    Parameters
    ----------
    C, gamma
        Candidates; the pair with the best F1 over samples on the validation part is kept.
    task
        "multilabel" or "multiclass": decides how scores become probabilities.
    threads
        Classes fitted side by side (libsvm releases the interpreter).
    """

    pairwise = True

    def __init__(
        self,
        C: Sequence[float] = (3, 10),
        gamma: Sequence[float] = (0.5, 1, 2),
        task: str = "multilabel",
        threads: int = 0,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.task = task
        self.threads = threads

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> SVM:  # noqa: ARG002 - libsvm draws nothing
        """Fit to squared distances.

        Parameters
        ----------
        X
            (n_encodings, n, n) float32, among the training images.
        y
            (n, n_classes) of 0 and 1.
        X_valid, y_valid
            (n_encodings, n_valid, n) float32, from validation to training images, and their labels.
        """
        self.scale_ = 1 / np.maximum(X.mean(axis=(1, 2), dtype=np.float64), 1e-12)  # (n_encodings,)
        train, valid = self._joined(X), self._joined(X_valid)
        candidates = (
            (C, gamma, self._machines(np.exp(-gamma * train), y, C)) for gamma, C in product(self.gamma, self.C)
        )
        scored = ((C, gamma, machines, _scores(machines, np.exp(-gamma * valid))) for C, gamma, machines in candidates)
        C, gamma, self.machines_, scores = max(scored, key=lambda candidate: best_f1_samples(candidate[3], y_valid))
        self.chosen_ = {"C": float(C), "gamma": float(gamma)}
        self.calibration_: Calibration = fit_calibration(scores, y_valid, self.task)
        self.n_parameters_ = sum(len(m.support) + 1 for m in self.machines_)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 from squared distances (n_encodings, n, n_train) to the training images."""
        return self.calibration_.apply(_scores(self.machines_, np.exp(-self.chosen_["gamma"] * self._joined(X))))

    def save(self, folder: Path) -> None:
        """Write dual coefficients, and the positions of the support vectors among the training images, as safetensors."""
        arrays = {"scale": self.scale_}
        for k, machine in enumerate(self.machines_):
            arrays[f"support.{k}"], arrays[f"dual.{k}"] = machine.support, machine.dual
            arrays[f"intercept.{k}"] = np.array([machine.intercept])
        save_file(arrays, folder / "svm.safetensors")
        (folder / "svm.json").write_text(
            json.dumps({**self.chosen_, "calibration": self.calibration_.as_dict()}), encoding="utf-8"
        )

    @property
    def support_(self) -> np.ndarray:
        """Positions of the training images that are a support vector of any class."""
        return np.unique(np.concatenate([m.support for m in self.machines_]))

    def _joined(self, X: np.ndarray) -> np.ndarray:
        """Mean scaled squared distance over the encodings, (n, n_train) float64."""
        return np.tensordot(self.scale_ / len(X), X, axes=1)

    def _machines(self, kernel: np.ndarray, y: np.ndarray, C: float) -> list[_Machine]:
        pool = ThreadPoolExecutor(self.threads or os.cpu_count())
        try:
            return list(pool.map(lambda labels: _fit_one(kernel, labels, C), y.T))
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Machine:
    """One binary machine: score = dual · kernel to the support vectors + intercept."""

    support: np.ndarray
    dual: np.ndarray
    intercept: float


def _fit_one(kernel: np.ndarray, labels: np.ndarray, C: float) -> _Machine:
    if labels.min() == labels.max():  # a class that is nowhere, or everywhere, in the training part: a constant score
        return _Machine(np.empty(0, np.int32), np.empty(0), 1.0 if labels.all() else -1.0)
    machine = SVC(C=C, kernel="precomputed", cache_size=500).fit(kernel, labels)
    return _Machine(machine.support_, machine.dual_coef_[0], float(machine.intercept_[0]))


def _scores(machines: list[_Machine], kernel: np.ndarray) -> np.ndarray:
    """Decision values (n, n_classes) from a kernel (n, n_train)."""
    dual = np.zeros((kernel.shape[1], len(machines)))
    for k, machine in enumerate(machines):
        dual[machine.support, k] = machine.dual
    return kernel @ dual + np.array([m.intercept for m in machines])
