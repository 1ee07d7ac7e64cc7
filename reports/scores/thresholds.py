"""Decisions at a threshold of 0.5, at one learned threshold for all classes, at one per class, and by label sets, side by side.

Both learned thresholds come from the validation part of the cell, the label sets from its training and validation part. The results of a run
rest on the shared threshold or on label sets (`reports.scores.decision`), as run.json states: classes with a handful of validation images would
move their own threshold by chance.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from reports.scores.decision import BoolArray, FloatArray, apply_threshold, best_label_set, class_thresholds
from reports.scores.evaluation import Evaluation, label_sets_of_folds, matrices
from reports.scores.metrics import accuracy, class_f1, f1_micro, f1_samples, mean_of_defined

THRESHOLDS = ("half", "shared", "per_class")
RULES = (*THRESHOLDS, "label_sets")
NAMES = {"half": "0.5", "shared": "one threshold", "per_class": "one per class", "label_sets": "label sets"}
RULE_METRICS = ("accuracy", "f1_samples", "f1_macro", "f1_micro")


def decision_rules(evaluation: Evaluation) -> pd.DataFrame:
    """Score each rule on the test part of every finished cell; empty for one label per image, where all are the same.

    Returns
    -------
    DataFrame
        model, repeat, fold, rule (of `RULES`), accuracy, f1_samples, f1_macro, f1_micro.
    """
    rows = [
        {"model": key[0], "repeat": key[1], "fold": key[2], "rule": rule}
        | {
            "accuracy": accuracy(truth, decided),
            "f1_samples": f1_samples(truth, decided),
            "f1_macro": mean_of_defined(class_f1(truth, decided)),
            "f1_micro": f1_micro(truth, decided),
        }
        for key, truth, by_rule, _ in _decided(evaluation)
        for rule, decided in by_rule.items()
    ]
    return pd.DataFrame(rows, columns=["model", "repeat", "fold", "rule", *RULE_METRICS])


def thresholds(evaluation: Evaluation) -> pd.DataFrame:
    """List the threshold of each class and the F1 it gives, for every model; empty for one label per image.

    Returns
    -------
    DataFrame
        model, class, threshold_mean, threshold_sd, threshold_cells (over the cells whose validation part has the class), and
        f1_half, f1_shared, f1_per_class on the test predictions of all cells together.
    """
    classes = evaluation.results.classes
    frames = []
    cells = list(_decided(evaluation))
    for model in dict.fromkeys(key[0] for key, *_ in cells):
        of_model = [(truth, by_rule, own) for key, truth, by_rule, own in cells if key[0] == model]
        truth, own = np.concatenate([t for t, *_ in of_model]), np.array([o for *_, o in of_model])
        defined = np.isfinite(own).sum(axis=0)
        spread = pd.DataFrame(own)
        frames.append(
            pd.DataFrame(
                {
                    "model": model,
                    "class": classes,
                    "threshold_mean": spread.mean(),
                    "threshold_sd": spread.std(),
                    "threshold_cells": defined,
                    **{
                        f"f1_{rule}": class_f1(truth, np.concatenate([by_rule[rule] for _, by_rule, _ in of_model]))
                        for rule in THRESHOLDS
                    },
                }
            )
        )
    columns = [
        "model",
        "class",
        "threshold_mean",
        "threshold_sd",
        "threshold_cells",
        *(f"f1_{rule}" for rule in THRESHOLDS),
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def rules_as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Write the means over the folds of each model for people, the rules side by side."""
    means = table.groupby(["model", "rule"], sort=False)[list(RULE_METRICS)].mean().unstack("rule")
    titles = {"accuracy": "Exact match", "f1_samples": "F1 per image", "f1_macro": "F1 macro"}
    columns = {"Model": [str(model) for model in means.index]}
    for metric, title in titles.items():
        for rule, name in NAMES.items():
            columns[f"{title}, {name}"] = [f"{value:.3f}" for value in means[metric, rule]]
    return pd.DataFrame(columns, dtype=str)


def _decided(evaluation: Evaluation) -> Iterator[tuple[tuple, BoolArray, dict[str, BoolArray], FloatArray]]:
    """Key, truth, decisions by rule and the class thresholds of every finished cell with several labels per image."""
    results = evaluation.results
    if results.data["task"] != "multilabel":
        return
    at_least_one, sets = results.data["at_least_one"], label_sets_of_folds(results)
    for key, part in evaluation.test_parts.items():
        own = class_thresholds(*matrices(results.predictions[key], "valid", results.classes))
        used = np.where(np.isfinite(own), own, evaluation.thresholds[key])
        by_rule = {
            "half": apply_threshold(part.probability, 0.5, at_least_one),
            "shared": apply_threshold(part.probability, evaluation.thresholds[key], at_least_one),
            "per_class": apply_threshold(part.probability, used, at_least_one),
            "label_sets": best_label_set(part.probability, sets[key[1:]]),
        }
        yield key, part.truth, by_rule, own
