"""One-vs-rest support vector machines with an RBF kernel on precomputed squared distances."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save

from baselines.blocks import one_thread
from baselines.calibration import Calibration, fit_calibration
from baselines.nystroem import Machine, fit_nystroem
from baselines.selection import best_f1_samples

if TYPE_CHECKING:
    from torch import nn

VERSION = 1


class SVM:
    """RBF support vector machine, one per class.

    The kernel of two images is exp(-gamma * m), where m is the mean over the encodings of their squared distance divided by
    the mean squared distance between the training images: so gamma = 1 means the same for every encoding and every fold, and
    each encoding of a joined model has the same weight.

    Parameters
    ----------
    C, gamma : sequence of float
        Candidates; the pair with the best F1 over samples on the validation part is kept.
    exact_up_to, landmarks : int
        With more training images than `exact_up_to` the machine is an approximation: Nyström's, on the kernel to `landmarks` of them
        (see `baselines.nystroem`). Recorded in `chosen_`.
    task : str
        "multilabel" or "multiclass": decides how scores become probabilities.
    threads : int
        Classes fitted side by side (libsvm releases the interpreter).
    """

    family = "classical"
    pairwise = True
    search_space = MappingProxyType(
        {
            "C": {"low": 0.3, "high": 100, "log": True, "as_list": True},
            "gamma": {"low": 0.1, "high": 5, "log": True, "as_list": True},
        }
    )

    def __init__(
        self,
        C: Sequence[float] = (3, 10),
        gamma: Sequence[float] = (0.5, 1, 2),
        exact_up_to: int = 5000,
        landmarks: int = 2000,
        task: str = "multilabel",
        threads: int = 0,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.exact_up_to = exact_up_to
        self.landmarks = landmarks
        self.task = task
        self.threads = threads

    def n_landmarks(self, n_train: int) -> int | None:
        """Return the number of training images to compute distances to: None for all."""
        return None if n_train <= self.exact_up_to else min(self.landmarks, n_train)

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> SVM:  # noqa: ARG002 - nothing is drawn
        """Fit to squared distances.

        Parameters
        ----------
        X : ndarray
            (n_encodings, n, m) float32, from the training images to the first m of them: all, or the landmarks.
        y : ndarray
            (n, n_classes) of 0 and 1.
        X_valid, y_valid : ndarray
            (n_encodings, n_valid, m) float32, from validation images to those of the columns, and their labels.
        """
        self.scale_ = 1 / np.maximum(X.mean(axis=(1, 2), dtype=np.float64), 1e-12)  # (n_encodings,)
        self.exact_ = X.shape[1] == X.shape[2]
        train, valid = self._joined(X), self._joined(X_valid)
        found = self._exact(train, y) if self.exact_ else fit_nystroem(train, y, self.C, self.gamma)
        scored = ((C, gamma, machine, machine.scores(np.exp(-gamma * valid))) for C, gamma, machine in found)
        C, gamma, self.machine_, scores = max(scored, key=lambda candidate: best_f1_samples(candidate[3], y_valid))
        self.chosen_ = {"C": float(C), "gamma": float(gamma)} | (
            {} if self.exact_ else {"landmarks": float(train.shape[1])}
        )
        self.calibration_: Calibration = fit_calibration(scores, y_valid, self.task)
        self.n_parameters_ = int((self.machine_.dual != 0).sum()) + y.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 from squared distances (n_encodings, n, m) to the images of the columns."""
        return self.calibration_.apply(self.machine_.scores(np.exp(-self.chosen_["gamma"] * self._joined(X))))

    def refit(self, X: np.ndarray, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> SVM:
        """Fit to all images, with the C and gamma that most folds chose and the mean of their calibrations.

        Parameters
        ----------
        X, y : ndarray
            As for `fit`.
        folds : sequence of mapping
            What each fold's machine wrote in svm.json: C, gamma and calibration.
        """
        ((C, gamma), _) = Counter((fold["C"], fold["gamma"]) for fold in folds).most_common(1)[0]
        self.C, self.gamma = (C,), (gamma,)
        self.fit(X, y, X[:, :1], y[:1], seed)
        kept = [fold["calibration"] for fold in folds]
        slope = float(np.exp(np.mean([np.log(each["slope"]) for each in kept])))
        self.calibration_ = Calibration(self.task, slope, float(np.mean([each["intercept"] for each in kept])))
        return self

    def prune_to_support(self) -> np.ndarray:
        """Drop the images that no class needs; return the column positions of the others."""
        support = self.support_
        self.machine_ = Machine(self.machine_.dual[support], self.machine_.intercept)
        return support

    def to_torch(self, *, mirror: bool, references: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> nn.Module:  # noqa: ARG002
        """Return the machine as a module; mirror images are among the references (m, d), if used."""
        from baselines.kernel_graph import KernelGraph

        return KernelGraph(references, self.scale_, self.machine_, self.chosen_["gamma"], self.calibration_)

    def randomise_weights(self, seed: int) -> SVM:
        """Return a copy whose coefficients belong to other images."""
        fresh, order = copy.copy(self), np.random.default_rng(seed).permutation(len(self.machine_.dual))
        fresh.machine_ = Machine(self.machine_.dual[order], self.machine_.intercept)
        return fresh

    def save(self, folder: Path) -> None:
        """Write dual coefficients, a row for each image of the columns, as safetensors."""
        arrays = {"scale": self.scale_, "dual": self.machine_.dual, "intercept": self.machine_.intercept}
        (folder / "svm.safetensors").write_bytes(save(arrays))
        (folder / "svm.json").write_text(
            json.dumps({**self.chosen_, "calibration": self.calibration_.as_dict()}), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> SVM:
        """Read what `save` wrote: a machine that predicts."""
        facts, arrays = (
            json.loads((folder / "svm.json").read_text(encoding="utf-8")),
            load_file(folder / "svm.safetensors"),
        )
        calibration = Calibration(**facts["calibration"])
        svm = cls(task=calibration.task)
        svm.scale_, svm.machine_ = arrays["scale"], Machine(arrays["dual"], arrays["intercept"])
        svm.calibration_, svm.chosen_, svm.exact_ = calibration, {"gamma": facts["gamma"]}, "landmarks" not in facts
        return svm

    @property
    def support_(self) -> np.ndarray:
        """Column positions of the images that any class needs."""
        return np.flatnonzero((self.machine_.dual != 0).any(axis=1))

    def _joined(self, X: np.ndarray) -> np.ndarray:
        """Mean scaled squared distance over the encodings, (n, m): float64 for libsvm, float32 for the approximation."""
        weights = (self.scale_ / len(X)).astype(np.float64 if self.exact_ else np.float32)
        with one_thread():
            return np.tensordot(weights, X, axes=1)

    def _exact(self, distances: np.ndarray, y: np.ndarray) -> Iterator[tuple[float, float, Machine]]:
        """Yield the machine of each candidate, with one binary machine per class, fitted in parallel."""
        pool = ThreadPoolExecutor(self.threads or os.cpu_count())
        try:
            for gamma in self.gamma:
                kernel = np.exp(-gamma * distances)
                for C in self.C:
                    fitted = list(pool.map(lambda labels, k=kernel, C=C: _fit_one(k, labels, C), y.T))
                    dual, intercept = zip(*fitted, strict=True)
                    yield C, gamma, Machine(np.stack(dual, axis=1), np.array(intercept))
        finally:
            pool.shutdown(cancel_futures=True)


def _fit_one(kernel: np.ndarray, labels: np.ndarray, C: float) -> tuple[np.ndarray, float]:
    """Dual coefficients (n,) and intercept of one class."""
    dual = np.zeros(len(labels))
    if labels.min() == labels.max():  # a class with no, or only, positives in the training part: a constant score
        return dual, 1.0 if labels.all() else -1.0
    from sklearn.svm import SVC  # prediction does without it

    machine = SVC(C=C, kernel="precomputed", cache_size=500).fit(kernel, labels)
    dual[machine.support_] = machine.dual_coef_[0]
    return dual, float(machine.intercept_[0])
