"""The score by which a head chooses its hyper-parameters on the validation part."""

from __future__ import annotations

import numpy as np

_CANDIDATES = 200


def best_f1_samples(scores: np.ndarray, y: np.ndarray) -> float:
    """Mean over images of each image's F1, at the threshold that maximises it.

    This is the criterion by which the results of a run choose their threshold, tried on quantiles of the scores, for these may be of
    any scale. A class counts as predicted where its score reaches the threshold, and the highest class where none does; for one label per
    image this is the accuracy.

    Parameters
    ----------
    scores, y : ndarray
        (n, n_classes) of any scale, and of 0 and 1.
    """
    y = y.astype(bool)
    top = np.zeros_like(y)
    top[np.arange(len(y)), scores.argmax(axis=1)] = True
    if (y.sum(axis=1) == 1).all():
        return float((top & y).any(axis=1).mean())
    thresholds = np.quantile(scores, np.linspace(0.5, 1, _CANDIDATES))
    return max(_f1_samples((scores >= t) | (top & (scores < t).all(axis=1, keepdims=True)), y) for t in thresholds)


def _f1_samples(predicted: np.ndarray, y: np.ndarray) -> float:
    both, all_ = (predicted & y).sum(axis=1), predicted.sum(axis=1) + y.sum(axis=1)
    return float(np.mean(np.where(all_ > 0, 2 * both / np.maximum(all_, 1), 1.0)))
