"""From probabilities to a decision: labels, confidence, and whether the model is sure. Everything is learned on the validation parts of the folds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reports.scores.calibration import temperature, tempered
from reports.scores.decision import apply_rule, label_set_matrix, label_set_numbers, learn_threshold

SURE, NOT_SURE, OUT_OF_DISTRIBUTION = "sure", "not sure", "out of distribution"


@dataclass(frozen=True)
class Decision:
    """Decisions on n images.

    Attributes
    ----------
    labels : ndarray of bool, shape (n, n_classes)
        The predicted classes of each image.
    confidence : ndarray of float, shape (n,)
        Calibrated probability of the most probable of the classes given, of all classes where none is.
    sure : ndarray of bool, shape (n,)
        Whether the confidence reaches the threshold.
    """

    labels: np.ndarray
    confidence: np.ndarray
    sure: np.ndarray


@dataclass(frozen=True)
class Rule:
    """How probabilities become decisions.

    Attributes
    ----------
    task : {"multiclass", "multilabel"}
        Whether an image has one label or may have several.
    at_least_one : bool
        Whether every image is known to have a label.
    threshold : float or None
        Probability from which a label is given where there are no `label_sets`; None with one label per image, where the most probable
        class is given.
    temperature : float
        Divides the logits for the confidence (Guo et al. 2017, "On calibration of modern neural networks").
    confidence_threshold : float
        Confidence from which a decision is sure.
    target : float
        Share of sure decisions on the validation parts that must be correct.
    coverage : float
        Share of validation images with a sure decision.
    max_confidence : float
        Upper limit of the confidence: after n correct decisions on n validation images the next one is correct with probability
        (n + 1) / (n + 2) (Laplace's rule of succession).
    label_sets : tuple of tuple of int, optional
        Numbers of the classes (from 0) in each label set that the training images have: the one with the highest expected F1 is given.
    """

    task: str
    at_least_one: bool
    threshold: float | None
    temperature: float
    confidence_threshold: float
    target: float
    coverage: float
    max_confidence: float
    label_sets: tuple[tuple[int, ...], ...] | None = None

    def decide(self, probability: np.ndarray) -> Decision:
        """Decide on probabilities (n, n_classes)."""
        sets = label_set_matrix(self.label_sets, probability.shape[1])
        labels = apply_rule(probability, self.threshold, self.at_least_one, sets)
        confidence = np.minimum(_among(labels, self.calibrated(probability)).max(axis=1), self.max_confidence)
        return Decision(labels, confidence, confidence >= self.confidence_threshold)

    def calibrated(self, probability: np.ndarray) -> np.ndarray:
        """Return probabilities (n, n_classes) after temperature scaling."""
        return tempered(probability, self.temperature, self.task)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values; `label_sets` only where there are any."""
        return {key: value for key, value in asdict(self).items() if key != "label_sets" or value is not None}


def choose_rule(
    truth: np.ndarray,
    probability: np.ndarray,
    task: str,
    at_least_one: bool,
    target: float,
    sets: np.ndarray | None = None,
) -> Rule:
    """Learn a rule from the validation parts of all folds together.

    Parameters
    ----------
    truth : ndarray of shape (n, n_classes)
        1 where an image has a label.
    probability : ndarray of shape (n, n_classes)
        Probabilities of the models of the folds.
    task : {"multiclass", "multilabel"}
        Whether an image has one label or may have several.
    at_least_one : bool
        Whether every image is known to have a label.
    target : float
        Share of the sure answers that must be right: their most probable label is one of the image's.
    sets : ndarray of bool, shape (n_sets, n_classes), optional
        Label sets to decide among, where this is the rule of the run.

    Returns
    -------
    Rule
        The rule with the highest coverage that reaches the target.
    """
    threshold = learn_threshold(truth, probability, task, at_least_one)
    scale = temperature(truth, probability, task)
    calibrated = tempered(probability, scale, task)
    given = _among(apply_rule(probability, threshold, at_least_one, sets), calibrated)
    right = truth[np.arange(len(truth)), given.argmax(axis=1)].astype(bool)
    max_confidence = (len(truth) + 1) / (len(truth) + 2)
    limit, coverage = _confidence_threshold(np.minimum(given.max(axis=1), max_confidence), right, target)
    numbers = None if sets is None else label_set_numbers(sets)
    return Rule(task, at_least_one, threshold, scale, limit, target, coverage, max_confidence, numbers)


def _among(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Probabilities (n, n_classes) of the classes given, 0 elsewhere; of all classes where an image is given none."""
    return np.where(labels | ~labels.any(axis=1, keepdims=True), probability, 0.0)


def _confidence_threshold(confidence: np.ndarray, right: np.ndarray, target: float) -> tuple[float, float]:
    """Return the lowest confidence from which a share `target` of the decisions is correct, and the share of such decisions.

    If no confidence reaches the target, the threshold is above all of them.
    """
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last_of_equals = np.append(np.diff(confidence[order]) != 0, True)
    good = np.flatnonzero((share >= target) & last_of_equals)
    if not len(good):
        return float(np.nextafter(confidence.max(initial=0.0), 2.0)), 0.0
    return float(confidence[order][good[-1]]), float((good[-1] + 1) / len(order))
