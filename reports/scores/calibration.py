"""Calibration of the probabilities: as predicted, and after temperature scaling fitted on the validation part.

Guo et al. (2017), "On Calibration of Modern Neural Networks", ICML: dividing the logits by one number leaves the order of the classes
as it is and removes most of the overconfidence of a network. For several labels per image each class has its own logit, and the same
number divides them all.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax

from reports.scores.decision import FloatArray
from reports.scores.evaluation import Evaluation, matrices
from reports.scores.metrics import BINS, bin_numbers, brier, calibration_error, confidences, log_loss

LOSSES = {"log_loss": log_loss, "brier": brier, "calibration_error": calibration_error}
LOWEST = 1e-15  # probabilities are clipped there, as for the log loss
RANGE = (0.05, 20.0)  # of temperatures
VERSIONS = ("as predicted", "temperature-scaled")


def temperature(truth: ArrayLike, probability: ArrayLike, task: str) -> float:
    """Find the temperature with the lowest log loss on a validation part, between 0.05 and 20; 1 where there are no images.

    Parameters
    ----------
    truth, probability : array-like of shape (n, n_classes)
    task : {"multiclass", "multilabel"}
    """
    truth, probability = np.asarray(truth, dtype=bool), np.asarray(probability, dtype=float)
    if not len(truth):
        return 1.0
    low, high = np.log(RANGE)

    def loss(log_temperature: float) -> float:
        return log_loss(truth, tempered(probability, float(np.exp(log_temperature)), task), task)

    found: Any = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5})  # typed as object
    return float(np.exp(found.x))


def tempered(probability: ArrayLike, temperature: float, task: str) -> FloatArray:
    """Divide the logits of probabilities by a temperature. Shape (n, n_classes)."""
    probability = np.clip(np.asarray(probability, dtype=float), LOWEST, 1 - LOWEST)
    if task == "multiclass":
        return softmax(np.log(probability) / temperature, axis=1)
    return expit(logit(probability) / temperature)


def calibration(evaluation: Evaluation) -> pd.DataFrame:
    """Score the probabilities of every finished cell before and after temperature scaling.

    Returns
    -------
    DataFrame
        model, repeat, fold, temperature (fitted on the validation part of the cell), and on its test part log_loss, brier,
        calibration_error, each also with _scaled at its end.
    """
    task = evaluation.results.data["task"]
    rows = []
    for (model, repeat, fold), truth, before, after, fitted in _scaled(evaluation):
        row = {"model": model, "repeat": repeat, "fold": fold, "temperature": fitted}
        for name, measure in LOSSES.items():
            row |= {name: measure(truth, before, task), f"{name}_scaled": measure(truth, after, task)}
        rows.append(row)
    names = [each for name in LOSSES for each in (name, f"{name}_scaled")]
    return pd.DataFrame(rows, columns=["model", "repeat", "fold", "temperature", *names])


def reliability(evaluation: Evaluation) -> pd.DataFrame:
    """Compute the reliability curve of each model over all its test predictions (DeGroot and Fienberg 1983).

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    DataFrame
        model, version (of `VERSIONS`), mean_predicted_probability and fraction_of_positives of a bin, n (its predictions); one row for
        each of the `reports.scores.metrics.BINS` bins that is not empty.
    """
    task = evaluation.results.data["task"]
    found: dict[tuple[str, str], list[tuple[FloatArray, FloatArray]]] = {}
    for (model, *_), truth, before, after, _ in _scaled(evaluation):
        for version, probability in zip(VERSIONS, (before, after), strict=True):
            found.setdefault((model, version), []).append(confidences(truth, probability, task))
    frames = []
    for (model, version), pairs in found.items():
        probability, positive = (np.concatenate(each) for each in zip(*pairs, strict=True))
        number = bin_numbers(probability)
        n = np.bincount(number, minlength=BINS)
        filled = np.flatnonzero(n)
        sums = {
            "mean_predicted_probability": np.bincount(number, probability, BINS),
            "fraction_of_positives": np.bincount(number, positive, BINS),
        }
        means = {name: total[filled] / n[filled] for name, total in sums.items()}
        frames.append(pd.DataFrame({"model": model, "version": version, **means, "n": n[filled]}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def calibration_as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Write the means over the folds of each model for people: before, and after."""
    means = table.groupby("model", sort=False).mean()
    titles = {"log_loss": "Log loss", "brier": "Brier score", "calibration_error": "Calibration error"}
    columns = {"Model": means.index.astype(str), "Temperature": [f"{value:.2f}" for value in means["temperature"]]}
    for name, title in titles.items():
        for end, version in zip(("", "_scaled"), VERSIONS, strict=True):
            columns[f"{title}, {version}"] = [f"{value:.3f}" for value in means[name + end]]
    return pd.DataFrame(columns, dtype=str)


def _scaled(evaluation: Evaluation) -> Iterator[tuple[tuple, np.ndarray, FloatArray, FloatArray, float]]:
    """Key, truth, probability, tempered probability and temperature of every finished cell."""
    results = evaluation.results
    task = results.data["task"]
    for key, part in evaluation.test_parts.items():
        fitted = temperature(*matrices(results.predictions[key], "valid", results.classes), task)
        yield key, part.truth, part.probability, tempered(part.probability, fitted, task), fitted
