"""The inputs of heads, and the one way to fit heads and predict with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.recipes.contract import Head


@dataclass(frozen=True)
class Rows:
    """Rows of an array that may be larger than memory, read on demand; for a head with ``rowwise = True``."""

    array: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array of these rows."""
        return (len(self.rows), *self.array.shape[1:])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """Read some of the rows."""
        return self.array[self.rows[index]]


@dataclass(frozen=True)
class Inputs:
    """What a head gets: (n, d) features, (n_encodings, n, n_train) squared distances, or (n, h, w) pixels.

    `mirrored` holds the features of the mirror images, for a head that is trained on both.
    """

    values: np.ndarray | Rows
    mirrored: np.ndarray | None = None

    def joined(self, y: np.ndarray) -> tuple[np.ndarray | Rows, np.ndarray]:
        """Return the training input of a head with its labels (n, n_classes): images, then their mirror images if there are features of them."""
        if self.mirrored is None or isinstance(self.values, Rows):
            return self.values, y
        return np.concatenate([self.values, self.mirrored]), np.concatenate([y, y])


def fit(head: Head, train: Inputs, y: np.ndarray, valid: Inputs, y_valid: np.ndarray, seed: int) -> None:
    """Fit a head, on the mirror images too if there are features of them."""
    X, y = train.joined(y)
    head.fit(X, y, valid.values, y_valid, seed)


def predict(head: Head, inputs: Inputs) -> np.ndarray:
    """Probabilities (n, n_classes) float64, the mean over image and mirror image if there are features of both."""
    probability = head.predict_proba(inputs.values)
    if inputs.mirrored is None:
        return probability
    return (probability + head.predict_proba(inputs.mirrored)) / 2
