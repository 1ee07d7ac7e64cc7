"""ROC and precision-recall curves of all folds on one grid, so that they have a mean and a band."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.runs.format import THRESHOLD
from reports.scores.evaluation import Decided, Evaluation
from reports.scores.metrics import mean_of_defined, operating_points

GRID = np.linspace(0, 1, 101)
ALL_CLASSES = "All classes (micro-average)"

CurveFunction = Callable[[NDArray, NDArray], NDArray]


def roc(truth: NDArray, scores: NDArray) -> NDArray:
    """Return the true positive rate at each false positive rate of `GRID`, by linear interpolation. Shape (101,)."""
    false_positives, true_positives = operating_points(truth, scores)
    x, y = np.append(0, false_positives / false_positives[-1]), np.append(0, true_positives / true_positives[-1])
    return np.where(GRID == 0, y[np.searchsorted(x, 0, side="right") - 1], np.interp(GRID, x, y))


def precision_recall(truth: NDArray, scores: NDArray) -> NDArray:
    """Precision at the highest score that reaches each recall of `GRID`. Shape (101,).

    Precision is not linear between two points (Davis and Goadrich 2006), so it is not interpolated.
    """
    false_positives, true_positives = operating_points(truth, scores)
    reached = np.searchsorted(true_positives, np.maximum(GRID * true_positives[-1] - 1e-9, 1e-9))
    return (true_positives / (true_positives + false_positives))[reached]


def bands(evaluation: Evaluation, curve: CurveFunction) -> Iterator[dict]:
    """Give each model's curve for all classes together and for each class.

    Yields
    ------
    dict
        model, class, cells (number of folds where the curve is defined), and mean, low, high: lists of 101 values, the
        mean, minimum and maximum over those folds.
    """
    for model in evaluation.finished:
        parts = evaluation.parts(model)
        for k, label in enumerate((ALL_CLASSES, *evaluation.results.classes)):
            folds = [curve(truth, scores) for truth, scores in _one_against_rest(parts, k - 1)]
            if folds:
                low, mean, high = np.min(folds, axis=0), np.mean(folds, axis=0), np.max(folds, axis=0)
                yield {"model": model, "class": label, "cells": len(folds)} | {
                    name: values.round(3).tolist() for name, values in (("mean", mean), ("low", low), ("high", high))
                }


def operating_rates(evaluation: Evaluation) -> pd.DataFrame:
    """Locate the decisions of each model on its curves: mean rates over the folds where they are defined.

    Returns
    -------
    DataFrame
        model, class, cells, threshold (mean; NaN where labels are decided without one), and false_positive_rate, recall, precision.
    """
    rows = []
    for model in evaluation.finished:
        threshold = _mean_threshold(evaluation, model)
        for k, label in enumerate((ALL_CLASSES, *evaluation.results.classes)):
            rates = []
            for part in evaluation.parts(model):
                truth, decided = (
                    (part.truth, part.decided) if k == 0 else (part.truth[:, k - 1], part.decided[:, k - 1])
                )
                if truth.any() and not truth.all():
                    hits = (truth & decided).sum()
                    named = decided.sum()
                    rates.append(
                        (
                            (decided & ~truth).sum() / (~truth).sum(),
                            hits / truth.sum(),
                            hits / named if named else math.nan,
                        )
                    )
            if rates:
                false_positive_rate, recall, precision = (mean_of_defined(each) for each in zip(*rates, strict=True))
                rows.append((model, label, len(rates), threshold, false_positive_rate, recall, precision))
    return pd.DataFrame(
        rows, columns=["model", "class", "cells", "threshold", "false_positive_rate", "recall", "precision"]
    )


def _mean_threshold(evaluation: Evaluation, model: str) -> float:
    """Mean over the cells of the threshold that decides; NaN where labels are decided without one."""
    used = evaluation.results.decision == THRESHOLD
    return mean_of_defined([t for key, t in evaluation.thresholds.items() if key[0] == model and used])


def _one_against_rest(parts: list[Decided], k: int) -> Iterator[tuple[NDArray, NDArray]]:
    """Truth and scores of class k in each part that has a positive and a negative of it; all entries where k is -1."""
    for part in parts:
        truth, scores = (
            (part.truth.ravel(), part.probability.ravel()) if k < 0 else (part.truth[:, k], part.probability[:, k])
        )
        if truth.any() and not truth.all():
            yield truth, scores
