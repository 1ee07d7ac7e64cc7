"""How well facts about a file predict its label, without the picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

FOLDS = 5
NEIGHBOURS = 15
EXCESS = 0.05  # accuracy above that of the most frequent label from which a fact reveals the label
_APART = 1e6  # distance between two values of a fact that is not a number: larger than any within a value


def facts(manifest: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return facts about each file that are unrelated to anatomy, as points (n, d); strings are numbered, far apart."""
    width, height = (manifest[name].to_numpy(float) for name in ("width", "height"))
    known = {
        "size": np.stack([width, height], axis=1),
        "aspect ratio": np.log(np.maximum(width, 1) / np.maximum(height, 1))[:, None],
    }
    titles = {"mode": "format and bit depth", "photometric": "photometric interpretation", "modality": "modality"}
    for name, title in titles.items():
        if name in manifest and manifest[name].nunique() > 1:
            known[title] = _APART * pd.factorize(manifest[name])[0].astype(float)[:, None]
    if len(known) > 2:
        known["all of these together"] = np.concatenate(list(known.values()), axis=1)
    return known


def shortcut_accuracies(
    known: Mapping[str, np.ndarray], labels: pd.Series, groups: pd.Series, *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Predict each label set from one fact alone: the most frequent among the nearest training images, over folds of whole groups.

    Parameters
    ----------
    known : mapping
        Name -> points (n, d), as `facts` gives them.
    labels, groups : Series
        Label set as text and group of each image.

    Returns
    -------
    dict
        Name -> (accuracy, accuracy of the most frequent label). Empty with fewer than two groups.
    """
    names = groups.unique()
    if len(names) < 2:
        return {}
    n_folds = min(FOLDS, len(names))
    numbers = np.arange(len(names)) % n_folds
    fold = groups.map(dict(zip(np.random.default_rng(seed).permutation(names), numbers, strict=True))).to_numpy()
    label, kinds = pd.factorize(labels)
    out = {}
    for name, points in known.items():
        right = base = 0
        for k in range(n_folds):
            train, test = fold != k, fold == k
            said = _vote(points[train], label[train], points[test], len(kinds))
            right += int((said == label[test]).sum())
            base += int((np.bincount(label[train]).argmax() == label[test]).sum())
        out[name] = (right / len(label), base / len(label))
    return out


def _vote(points: np.ndarray, label: np.ndarray, wanted: np.ndarray, n_labels: int) -> np.ndarray:
    """Most frequent label among the `NEIGHBOURS` nearest points, (n_wanted,)."""
    k = min(NEIGHBOURS, len(points))
    _, near = KDTree(points).query(wanted, k=k)
    votes = label[np.reshape(near, (len(wanted), k))]  # (n_wanted, k)
    counts = np.zeros((len(wanted), n_labels), dtype=np.int16)
    np.add.at(counts, (np.arange(len(wanted))[:, None], votes), 1)
    return counts.argmax(axis=1)
