"""Small random data on which encoders and heads are checked."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.recipes import contract
from bench.recipes.inputs import Rows

_CLASSES = (
    "bright above",
    "bright left",
    "bright",
    "nowhere",
)  # the last one is in no training image, as happens in small folds


_N_TRAIN, _N_VALID, _N_FEATURES = 24, 12, 20


@dataclass(frozen=True)
class SmallData:
    """Inputs and labels (n, n_classes) of both parts."""

    X: Any
    y: np.ndarray
    X_valid: Any
    y_valid: np.ndarray


def small_data(head: Any, encoders: Sequence[Any] | None, side: int, task: str) -> SmallData:
    """Make inputs of the kind that the head takes."""
    n = _N_TRAIN + _N_VALID
    y = _labels(n, task)
    train, valid = np.arange(_N_TRAIN), np.arange(_N_TRAIN, n)
    if encoders is not None and not encoders:
        images = small_images(n, side, 0, y)
        return SmallData(images[train], y[train], images[valid], y[valid])
    if encoders is None:
        noise = np.random.default_rng(0).normal(size=(n, _N_FEATURES))
        found = [(noise + 2 * y @ np.eye(len(_CLASSES), _N_FEATURES)).astype(np.float32)]
    else:
        images = small_images(n, side, 0, y)
        found = [copy.deepcopy(encoder).encode(images) for encoder in encoders]
    if contract.is_rowwise(head):
        return SmallData(Rows(found[0], train), y[train], Rows(found[0], valid), y[valid])
    if contract.is_pairwise(head):
        flat = [values.reshape(n, -1) for values in found]
        distances = np.stack([((x[:, None] - x) ** 2).sum(axis=2) for x in flat])[:, :, :_N_TRAIN]
        wanted = contract.n_landmarks(head, _N_TRAIN) or _N_TRAIN
        distances = distances[:, :, :wanted].astype(np.float32)
        return SmallData(distances[:, train], y[train], distances[:, valid], y[valid])
    X = np.concatenate(found, axis=1)
    return SmallData(X[train], y[train], X[valid], y[valid])


def _labels(n: int, task: str) -> np.ndarray:
    """Labels (n, n_classes) of 0 and 1; no image has the last class."""
    if task == "multiclass":
        return np.eye(len(_CLASSES), dtype=np.int8)[np.arange(n) % (len(_CLASSES) - 1)]
    y = np.random.default_rng(1).integers(0, 2, (n, len(_CLASSES)), dtype=np.int8)
    y[:, -1] = 0
    y[y.sum(axis=1) == 0, 0] = 1
    return y


def small_images(n: int, side: int, seed: int, y: np.ndarray | None = None) -> np.ndarray:
    """Images (n, side, side) uint8 of noise, with a pattern for each label."""
    images = np.random.default_rng(seed).integers(0, 120, (n, side, side), dtype=np.uint8)
    for image, labels in zip(images, y if y is not None else [], strict=False):
        for given, region in zip(labels, (np.s_[: side // 2], np.s_[:, : side // 2], np.s_[:]), strict=False):
            image[region] += np.uint8(40 * given)
    return images


def some_rows(X: Any, rows: slice, head: Any) -> Any:
    """Take some rows of any kind of input."""
    if isinstance(X, Rows):
        return Rows(X.array, X.rows[rows])
    return X[:, rows] if contract.is_pairwise(head) else X[rows]
