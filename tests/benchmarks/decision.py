"""From scores to labels, and how good these are: in a module of its own, which scikit-learn's worker processes can import."""

from typing import Any

import numpy as np

from baselines.selection import best_f1_samples


def decided(scores: np.ndarray) -> np.ndarray:
    """Classes above 0, and the highest."""
    return (scores > 0) | (scores == scores.max(axis=1, keepdims=True))


def f1_per_image(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Score by which our machine chooses too, of one with a decision function."""
    return best_f1_samples(model.decision_function(X), y)
