"""The inputs of a cell's head: images, encodings, or distances to training images, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from radiographs.splits import nested_share

from bench.cells.encodings import Encodings
from bench.data.dataset import Data
from bench.recipes import contract
from bench.recipes.inputs import Inputs, Rows
from bench.recipes.suite import ModelSpec


@dataclass(frozen=True)
class Parts:
    """Rows of the images in each part of one fold, each (n_part,) int."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    def without_test(self) -> Parts:
        """Return the same parts with an empty test part: none of it is even read."""
        return replace(self, test=self.test[:0])


@dataclass(frozen=True)
class CellInputs:
    """What a head gets.

    Attributes
    ----------
    parts : Parts
        Rows of the images in the order of the inputs: where distances are taken to landmarks, those come first in the training part.
    train, valid, test : Inputs
    landmarks : ndarray of shape (n_landmarks,) or None
        Rows of the images that distances are taken to, in all folds; None where they are taken to all images, or none are taken.
    """

    parts: Parts
    train: Inputs
    valid: Inputs
    test: Inputs
    landmarks: np.ndarray | None = None


def parts_of(data: Data, spec: ModelSpec, repeat: int, fold: int, seed: int) -> Parts:
    """Return the parts of a fold; of the training part the model's share of the groups.

    Parameters
    ----------
    data : Data
    spec : ModelSpec
    repeat, fold : int
    seed : int
        Of the fold; it draws the share.

    Returns
    -------
    Parts
    """
    part = data.part(repeat, fold)
    train, valid, test = (np.flatnonzero(part == name) for name in ("train", "valid", "test"))
    if spec.train_share < 1:
        train = train[nested_share(data.groups[train], spec.train_share, seed)]
    return Parts(train, valid, test)


@dataclass(frozen=True)
class InputMaker:
    """Makes the inputs of one model in one fold.

    Attributes
    ----------
    spec : ModelSpec
        The model as it is in this fold.
    seed : int
        Of the run: it draws the landmarks, which are the same in every fold.
    """

    spec: ModelSpec
    data: Data
    encodings: Encodings
    seed: int

    def make(self, head: Any, parts: Parts) -> CellInputs:
        """Return what this head gets of these parts."""
        if not self.spec.encoders:
            return _by_part(parts, lambda rows: Inputs(self.data.images[rows]))
        if contract.is_pairwise(head):
            return self._distances(head, parts)
        if contract.is_rowwise(head):
            values = self.encodings.get(self.spec.encoders[0]).values
            return _by_part(parts, lambda rows: Inputs(Rows(values, rows)))
        return _by_part(parts, self._features)

    def landmarks(self, head: Any) -> np.ndarray | None:
        """Rows of the images that this head takes distances to, (n_landmarks,) int; None for all, or none.

        They are drawn from all images, once for all folds, so that the distances are shared.
        """
        if not contract.is_pairwise(head):
            return None
        n_train = self._n_train()
        wanted = contract.n_landmarks(head, n_train)
        return None if wanted is None else draw_landmarks(len(self.data.images), wanted / n_train, self.seed)

    def cache(self, head: Any) -> None:
        """Compute everything the cell shares with others that the cache lacks."""
        if contract.is_pairwise(head):
            landmarks = self.landmarks(head)
            for part in self.spec.encoders:
                self.encodings.distances(part, mirror=self.spec.mirror, landmarks=landmarks)
        for part in self.spec.encoders:
            for mirrored in (False, True) if self.spec.mirror else (False,):
                self.encodings.get(part, mirrored=mirrored)

    def _features(self, rows: np.ndarray) -> Inputs:
        return Inputs(
            self._joined(rows, mirrored=False), self._joined(rows, mirrored=True) if self.spec.mirror else None
        )

    def _joined(self, rows: np.ndarray, *, mirrored: bool) -> np.ndarray:
        encoded = [self.encodings.get(part, mirrored=mirrored).values[rows] for part in self.spec.encoders]
        return np.concatenate(encoded, axis=1)  # (n, d of all encoders)

    def _distances(self, head: Any, parts: Parts) -> CellInputs:
        """Squared distances to all training images, (n_encodings, n, n_train), or to those that are landmarks, which come first there."""
        landmarks, columns = self.landmarks(head), parts.train
        if landmarks is not None:
            columns = np.flatnonzero(np.isin(landmarks, parts.train))
            others = np.setdiff1d(parts.train, landmarks)
            parts = replace(parts, train=np.concatenate([landmarks[columns], others]))
        mirror = self.spec.mirror
        found = [
            self.encodings.distances(part, mirror=mirror, landmarks=landmarks).values for part in self.spec.encoders
        ]
        stacked = _by_part(parts, lambda rows: Inputs(np.stack([matrix[np.ix_(rows, columns)] for matrix in found])))
        return replace(stacked, landmarks=landmarks)

    def _n_train(self) -> int:
        """Training images of the first fold: what depends on it is the same in every fold."""
        first = self.data.splits.iloc[0]
        return round(self.spec.train_share * (self.data.part(first["repeat"], first["fold"]) == "train").sum())


def _by_part(parts: Parts, make: Callable[[np.ndarray], Inputs]) -> CellInputs:
    return CellInputs(parts, make(parts.train), make(parts.valid), make(parts.test))


def draw_landmarks(n: int, share: float, seed: int) -> np.ndarray:
    """Rows of a share of n images, sorted, the same for the same seed."""
    return np.sort(np.random.default_rng(seed).permutation(n)[: round(min(1.0, share) * n)])
