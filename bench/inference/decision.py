"""From probabilities to an answer: labels, how sure, and when to say "not sure". Everything is chosen on the validation parts of the folds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SURE, NOT_SURE, OUT_OF_DISTRIBUTION = "sure", "not sure", "out of distribution"


@dataclass(frozen=True)
class Decision:
    """Answers to n images.

    Attributes
    ----------
    labels : array of bool, shape (n, n_classes)
    confidence : array, shape (n,)
        Calibrated probability that the most probable class is right.
    sure : array of bool, shape (n,)
    """

    labels: np.ndarray
    confidence: np.ndarray
    sure: np.ndarray


@dataclass(frozen=True)
class Rule:
    """How probabilities become answers.

    Attributes
    ----------
    threshold : float or None
        From which probability on a label is given; None with one label per image, where the most probable class is.
    temperature : float
        By which logits are divided for the confidence (Guo et al. 2017).
    confidence_threshold : float
        Confidence from which on an answer is sure.
    target : float
        Share of sure answers that are right on the validation parts, or more.
    coverage : float
        Share of the validation images that are answered surely.
    max_confidence : float
        Confidence is never more than this: where n validation images were all right, the next one is so with a probability of
        (n + 1) / (n + 2) (Laplace's rule of succession).
    """

    task: str
    at_least_one: bool
    threshold: float | None
    temperature: float
    confidence_threshold: float
    target: float
    coverage: float
    max_confidence: float

    def decide(self, probability: np.ndarray) -> Decision:
        """Answer probabilities (n, n_classes)."""
        from reports.scores.decision import at_threshold, most_probable

        if self.threshold is None:
            labels = most_probable(probability)
        else:
            labels = at_threshold(probability, self.threshold, self.at_least_one)
        confidence = np.minimum(self.calibrated(probability).max(axis=1), self.max_confidence)
        return Decision(labels, confidence, confidence >= self.confidence_threshold)

    def calibrated(self, probability: np.ndarray) -> np.ndarray:
        """Probabilities after temperature scaling, (n, n_classes)."""
        from reports.scores.calibration import tempered

        return tempered(probability, self.temperature, self.task)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def choose_rule(truth: np.ndarray, probability: np.ndarray, task: str, at_least_one: bool, target: float) -> Rule:
    """Choose threshold, temperature and the limit of sureness.

    Parameters
    ----------
    truth, probability
        (n, n_classes) of the validation parts of all folds together.
    target
        Share of the sure answers that must be right.
    """
    from reports.scores.calibration import temperature, tempered
    from reports.scores.decision import best_threshold

    threshold = None if task == "multiclass" else best_threshold(truth, probability, at_least_one)
    chosen_temperature = temperature(truth, probability, task)
    calibrated = tempered(probability, chosen_temperature, task)
    right = truth[np.arange(len(truth)), calibrated.argmax(axis=1)].astype(bool)
    max_confidence = (len(truth) + 1) / (len(truth) + 2)
    confidence_threshold, coverage = _confidence_threshold(
        np.minimum(calibrated.max(axis=1), max_confidence), right, target
    )
    return Rule(
        task, at_least_one, threshold, chosen_temperature, confidence_threshold, target, coverage, max_confidence
    )


def _confidence_threshold(confidence: np.ndarray, right: np.ndarray, target: float) -> tuple[float, float]:
    """Lowest confidence from which on at least `target` of the answers are right, and how many those are; where none is, above all."""
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last_of_equals = np.append(np.diff(confidence[order]) != 0, True)
    good = np.flatnonzero((share >= target) & last_of_equals)
    if not len(good):
        return float(np.nextafter(confidence.max(initial=0.0), 2.0)), 0.0
    return float(confidence[order][good[-1]]), float((good[-1] + 1) / len(order))
