"""The dummy: predictions that ignore the image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class Prior:
    """Predicts each label's share of the training part, for every image."""

    family = "dummy"

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> Prior:  # noqa: ARG002 - a head's signature
        """Count labels (n, n_classes); the images are ignored."""
        self.share_ = y.mean(axis=0, dtype=np.float64)  # (n_classes,)
        self.chosen_: dict[str, float] = {}
        self.n_parameters_ = len(self.share_)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the shares for each of n images, (n, n_classes) float64."""
        return np.tile(self.share_, (len(X), 1))

    def refit(self, X: np.ndarray, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> Prior:  # noqa: ARG002 - nothing was chosen
        """Count all labels."""
        return self.fit(X, y, X, y, seed)

    def save(self, folder: Path) -> None:
        """Write the shares as JSON."""
        (folder / "prior.json").write_text(json.dumps(self.share_.tolist()), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Prior:
        """Read what `save` wrote."""
        prior = cls()
        prior.share_ = np.array(json.loads((folder / "prior.json").read_text(encoding="utf-8")), np.float64)
        return prior
