"""What every cell sees of the data: images, labels and splits, and the images held out for a final test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.recipes.inputs import Rows


@dataclass(frozen=True)
class HeldOut:
    """Images for a final test, which no cell sees."""

    images: Rows  # (n, h, w) uint8
    image_ids: np.ndarray  # (n,) str
    groups: np.ndarray  # (n,) str
    y: np.ndarray  # (n, n_classes) int8
    facts: dict[str, Any]  # as stored in run.json


@dataclass(frozen=True)
class Data:
    """What every cell sees: images, labels and splits, in one order. Held-out images are among them, but in no part of the splits."""

    image_ids: np.ndarray  # (n,) str
    images: np.ndarray  # (n, h, w) uint8
    groups: np.ndarray  # (n,) str
    y: np.ndarray  # (n, n_classes) int8
    classes: tuple[str, ...]
    task: str
    at_least_one: bool
    splits: pd.DataFrame
    splits_digest: str
    preprocess_seconds: float
    held_out: HeldOut | None = None

    def part(self, repeat: int, fold: int) -> np.ndarray:
        """Return the part of each image in one fold, (n,) of train, valid, test; empty where the image is held out."""
        rows = self.splits[(self.splits["repeat"] == repeat) & (self.splits["fold"] == fold)]
        return rows.set_index("image_id")["part"].reindex(self.image_ids, fill_value="").to_numpy(str)


def label_matrix(labels: Iterable[Iterable[str]], classes: Sequence[str]) -> np.ndarray:
    """Return which labels each image has.

    Parameters
    ----------
    labels : iterable of iterable of str
        Of each image; those that are not among the classes are ignored.
    classes : sequence of str

    Returns
    -------
    ndarray of shape (n, n_classes), int8
        1 where the image has the label, in the order of the classes.
    """
    given = [set(each) for each in labels]
    return np.array([[name in each for name in classes] for each in given], np.int8).reshape(len(given), len(classes))
