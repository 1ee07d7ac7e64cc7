"""Gradient-boosted trees (Chen and Guestrin 2016): one booster for all classes, stopped on the validation part."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xgboost

VERSION = 2


class XGBoost:
    """XGBoost on joined encodings.

    One label per image: one soft-max booster. Several: one booster with a sigmoid and a
    tree per class in each round. (Trees with a vector of scores in each leaf were measured 14 times slower.)

    Parameters
    ----------
    rounds : int
        Maximum number of rounds, of one tree per class each.
    stop_after : int
        Rounds without a lower validation loss after which fitting ends.
    learning_rate : float
    max_depth, max_bin : int
    min_child_weight, subsample, colsample_bynode : float
        As in XGBoost. Few bins and few columns per node make ten thousand HOG columns fast.
    rows, rounds_per_chunk : int
        More training rows than `rows` are split at random into chunks of at most that many, used in turn for `rounds_per_chunk` rounds each:
        stochastic gradient boosting (Friedman 2002), whose rounds do not cost more on a larger data set. Recorded in `chosen_`.
    task : str
        "multilabel" or "multiclass".
    device : str
    threads : int
        "cpu" or "cuda"; 0 threads means all.
    """

    family = "classical"
    order_: np.ndarray | None = None  # of the features, if shuffled
    search_space = MappingProxyType(
        {
            "learning_rate": {"low": 0.05, "high": 0.4, "log": True},
            "max_depth": {"low": 2, "high": 6, "int": True},
            "min_child_weight": {"low": 0.5, "high": 10, "log": True},
            "subsample": {"low": 0.5, "high": 1},
            "colsample_bynode": {"low": 0.02, "high": 0.3, "log": True},
        }
    )
    former_names = MappingProxyType({"turn": "rounds_per_chunk"})

    def __init__(
        self,
        rounds: int = 300,
        stop_after: int = 20,
        learning_rate: float = 0.15,
        max_depth: int = 3,
        max_bin: int = 32,
        min_child_weight: float = 1.0,
        subsample: float = 0.8,
        colsample_bynode: float = 0.05,
        rows: int = 10_000,
        rounds_per_chunk: int = 10,
        task: str = "multilabel",
        device: str = "cpu",
        threads: int = 0,
    ) -> None:
        self.rounds = rounds
        self.stop_after = stop_after
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.max_bin = max_bin
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bynode = colsample_bynode
        self.rows = rows
        self.rounds_per_chunk = rounds_per_chunk
        self.task = task
        self.device = device
        self.threads = threads

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> XGBoost:
        """Fit to encodings (n, d) float32 and labels (n, n_classes) of 0 and 1; stop on the validation part."""
        if self.rounds < 1:
            raise ValueError(f"XGBoost: rounds = {self.rounds}: give 1 or more")
        parts = self._parts(X, y, seed)
        valid = self._matrix(X_valid, y_valid, like=parts[0])
        # One booster throughout: it keeps its scores of each matrix, so that a round costs one round, on whatever part it is boosted.
        booster = xgboost.Booster(self._parameters(y.shape[1], seed), [*parts, valid])
        losses: list[float] = []
        for k in range(self.rounds):
            booster.update(parts[k // self.rounds_per_chunk % len(parts)], k)
            losses.append(float(booster.eval_set([(valid, "valid")], k).rpartition(":")[2]))
            if k - int(np.argmin(losses)) >= self.stop_after:
                break
        best = int(np.argmin(losses))
        self.full_booster_ = booster
        self.booster_ = booster[: best + 1]
        self.chosen_ = {"trees": float(best + 1)} | ({} if len(X) <= self.rows else {"rows": float(self.rows)})
        self.history_ = [{"epoch": k + 1, "valid_loss": loss} for k, loss in enumerate(losses)]
        self.n_parameters_ = sum(tree.count("leaf=") for tree in self.booster_.get_dump())
        return self

    def refit(self, X: np.ndarray, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> XGBoost:
        """Fit to all images, with as many rounds as the folds kept in the median; `folds` have the number of ``trees`` of each."""
        self.rounds = self.stop_after = max(1, round(float(np.median([fold["trees"] for fold in folds]))))
        self.fit(X, y, X[:1], y[:1], seed)
        self.booster_ = self.full_booster_
        self.chosen_ = {"trees": float(self.rounds)}
        return self

    def _parts(self, X: np.ndarray, y: np.ndarray, seed: int) -> list[xgboost.QuantileDMatrix]:
        """Training rows, split at random into as few chunks of at most `rows` as possible; all have the bins of the first."""
        n_parts = -(-len(X) // self.rows)
        if n_parts == 1:
            return [self._matrix(X, y)]
        dealt = np.random.default_rng(seed).permutation(len(X)) % n_parts
        parts = [self._matrix(X[dealt == 0], y[dealt == 0])]
        for part in range(1, n_parts):
            parts.append(self._matrix(X[dealt == part], y[dealt == part], like=parts[0]))
        return parts

    def _matrix(
        self, X: np.ndarray, y: np.ndarray, *, like: xgboost.QuantileDMatrix | None = None
    ) -> xgboost.QuantileDMatrix:
        return xgboost.QuantileDMatrix(
            X, self._targets(y), ref=like, max_bin=self.max_bin, nthread=self.threads or None
        )

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 for encodings (n, d) float32."""
        if self.order_ is not None:
            X = np.ascontiguousarray(X[:, self.order_])
        return np.asarray(self.booster_.inplace_predict(X), dtype=np.float64).reshape(len(X), -1)

    def randomise_weights(self, seed: int) -> XGBoost:
        """Return a copy in which each split uses another feature."""
        fresh = copy.copy(self)
        fresh.order_ = np.random.default_rng(seed).permutation(self.booster_.num_features())
        return fresh

    def save(self, folder: Path) -> None:
        """Write the booster in XGBoost's own binary JSON."""
        (folder / "xgboost.ubj").write_bytes(self.booster_.save_raw("ubj"))

    @classmethod
    def load(cls, folder: Path) -> XGBoost:
        """Read what `save` wrote: trees that predict."""
        boosted = cls()
        boosted.booster_ = xgboost.Booster(model_file=folder / "xgboost.ubj")
        return boosted

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return y.argmax(axis=1) if self.task == "multiclass" else y

    def _parameters(self, n_classes: int, seed: int) -> dict[str, Any]:
        names = ("learning_rate", "max_depth", "max_bin", "min_child_weight", "subsample", "colsample_bynode", "device")
        shared = {name: getattr(self, name) for name in names} | {
            "tree_method": "hist",
            "seed": seed,
            "nthread": self.threads or None,
            "verbosity": 0,
        }
        if self.task == "multiclass":
            return shared | {"objective": "multi:softprob", "num_class": n_classes}
        return shared | {"objective": "binary:logistic"}
