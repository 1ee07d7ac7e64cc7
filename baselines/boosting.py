"""Gradient-boosted trees (Chen and Guestrin 2016): one booster for all classes, stopped on the validation part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xgboost


class XGBoost:
    """XGBoost on joined encodings.

    One label per image: one soft-max booster. Several: one booster with a sigmoid and a
    tree per class in each round. (Trees with a vector of scores in each leaf were measured 14 times slower.)

    Parameters
    ----------
    rounds
        At most so many rounds, of one tree per class each.
    stop_after
        Rounds without a lower validation loss after which fitting ends.
    learning_rate, max_depth, max_bin, min_child_weight, subsample, colsample_bynode
        As in XGBoost. Few bins and few columns per node are what makes ten thousand HOG columns quick.
    task
        "multilabel" or "multiclass".
    device, threads
        "cpu" or "cuda"; 0 threads means all.
    """

    def __init__(
        self,
        rounds: int = 150,
        stop_after: int = 10,
        learning_rate: float = 0.3,
        max_depth: int = 3,
        max_bin: int = 64,
        min_child_weight: float = 1.0,
        subsample: float = 0.8,
        colsample_bynode: float = 0.05,
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
        self.task = task
        self.device = device
        self.threads = threads

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> XGBoost:
        """Fit to encodings (n, d) float32 and labels (n, n_classes) of 0 and 1; stop on the validation part."""
        train = xgboost.QuantileDMatrix(X, self._targets(y), max_bin=self.max_bin, nthread=self.threads or None)
        valid = xgboost.QuantileDMatrix(
            X_valid, self._targets(y_valid), ref=train, max_bin=self.max_bin, nthread=self.threads or None
        )
        losses: dict[str, dict[str, list[float]]] = {}
        self.booster_ = xgboost.train(
            self._parameters(y.shape[1], seed),
            train,
            num_boost_round=self.rounds,
            evals=[(valid, "valid")],
            evals_result=losses,
            early_stopping_rounds=self.stop_after,
            verbose_eval=False,
        )
        best = self.booster_.best_iteration
        self.booster_ = self.booster_[: best + 1]
        self.chosen_ = {"trees": float(best + 1)}
        (curve,) = losses["valid"].values()
        self.history_ = [{"epoch": k + 1, "valid_loss": float(loss)} for k, loss in enumerate(curve)]
        self.n_parameters_ = sum(tree.count("leaf=") for tree in self.booster_.get_dump())
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 for encodings (n, d) float32."""
        return np.asarray(self.booster_.inplace_predict(X), dtype=np.float64).reshape(len(X), -1)

    def save(self, folder: Path) -> None:
        """Write the booster in XGBoost's own binary JSON."""
        self.booster_.save_model(folder / "xgboost.ubj")

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return y.argmax(axis=1) if self.task == "multiclass" else y

    def _parameters(self, n_classes: int, seed: int) -> dict[str, object]:
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
