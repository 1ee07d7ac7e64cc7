"""Every metric against scikit-learn."""

import math
import warnings

import numpy as np
import pytest

from reports.scores.decision import at_threshold, best_threshold, decide, most_probable
from reports.scores.metrics import METRICS, fold_score, score

sklearn = pytest.importorskip("sklearn.metrics")


def multilabel(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((80, 6)) < 0.25
    truth[~truth.any(axis=1), 0] = True
    probability = np.round(1 / (1 + np.exp(-(2 * truth - 1 + rng.normal(size=truth.shape)))), 2)  # with ties
    return truth, at_threshold(probability, 0.5, at_least_one=True), np.clip(probability, 0.01, 0.99)


def multiclass(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.eye(6, dtype=bool)[rng.integers(0, 6, 80)]
    weights = np.exp(1.5 * truth + rng.normal(size=truth.shape))
    probability = weights / weights.sum(axis=1, keepdims=True)
    return truth, most_probable(probability), probability


def binned_gap(said: np.ndarray, came: np.ndarray) -> float:
    """Expected calibration error as its definition reads."""
    total = 0.0
    for k in range(15):
        inside = (said > k / 15) & (said <= (k + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(came[inside].mean() - said[inside].mean())
    return total


@pytest.mark.parametrize("seed", range(5))
def test_metrics_for_several_labels_equal_scikit_learn(seed: int) -> None:
    truth, decided, probability = multilabel(seed)
    expected = {
        "accuracy": sklearn.accuracy_score(truth, decided),
        "f1_samples": sklearn.f1_score(truth, decided, average="samples"),
        "f1_macro": sklearn.f1_score(truth, decided, average="macro"),
        "f1_micro": sklearn.f1_score(truth, decided, average="micro"),
        "balanced_accuracy": np.mean(
            [sklearn.balanced_accuracy_score(truth[:, k], decided[:, k]) for k in range(truth.shape[1])]
        ),
        "roc_auc_macro": sklearn.roc_auc_score(truth, probability, average="macro"),
        "average_precision_macro": sklearn.average_precision_score(truth, probability, average="macro"),
        "log_loss": np.mean([sklearn.log_loss(t, p) for t, p in zip(truth.T, probability.T, strict=True)]),
        "mcc": np.mean([sklearn.matthews_corrcoef(t, d) for t, d in zip(truth.T, decided.T, strict=True)]),
        "cohen_kappa": np.mean([sklearn.cohen_kappa_score(t, d) for t, d in zip(truth.T, decided.T, strict=True)]),
        "hamming_loss": sklearn.hamming_loss(truth, decided),
        "roc_auc_micro": sklearn.roc_auc_score(truth, probability, average="micro"),
        "average_precision_micro": sklearn.average_precision_score(truth, probability, average="micro"),
        "brier": np.mean([sklearn.brier_score_loss(t, p) for t, p in zip(truth.T, probability.T, strict=True)]),
        "calibration_error": binned_gap(probability.ravel(), truth.ravel()),
    }
    values = score(truth, decided, probability, "multilabel")
    assert {name: values[name] for name in METRICS} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_for_one_label_equal_scikit_learn(seed: int) -> None:
    truth, decided, probability = multiclass(seed)
    true, predicted = truth.argmax(axis=1), decided.argmax(axis=1)
    expected = {
        "accuracy": sklearn.accuracy_score(true, predicted),
        "f1_samples": sklearn.accuracy_score(true, predicted),
        "f1_macro": sklearn.f1_score(true, predicted, average="macro"),
        "f1_micro": sklearn.f1_score(true, predicted, average="micro"),
        "balanced_accuracy": sklearn.balanced_accuracy_score(true, predicted),
        "roc_auc_macro": sklearn.roc_auc_score(true, probability, multi_class="ovr", average="macro"),
        "average_precision_macro": sklearn.average_precision_score(true, probability, average="macro"),
        "log_loss": sklearn.log_loss(true, probability),
        "mcc": sklearn.matthews_corrcoef(true, predicted),
        "cohen_kappa": sklearn.cohen_kappa_score(true, predicted),
        "hamming_loss": sklearn.hamming_loss(true, predicted),
        "roc_auc_micro": sklearn.roc_auc_score(truth, probability, average="micro"),
        "average_precision_micro": sklearn.average_precision_score(truth, probability, average="micro"),
        "brier": np.mean(np.sum((probability - truth) ** 2, axis=1)),
        "calibration_error": binned_gap(probability.max(axis=1), true == predicted),
    }
    values = score(truth, decided, probability, "multiclass")
    assert {name: values[name] for name in METRICS} == pytest.approx(expected, abs=1e-9)


def test_a_class_that_is_absent_is_left_out_of_the_mean_and_counted() -> None:
    truth, decided, probability = multilabel(0)
    truth[:, 2] = decided[:, 2] = False
    values = score(truth, decided, probability, "multilabel")
    others = [k for k in range(6) if k != 2]
    assert values["roc_auc_macro"] == pytest.approx(sklearn.roc_auc_score(truth[:, others], probability[:, others]))
    assert values["roc_auc_macro_classes"] == values["f1_macro_classes"] == values["balanced_accuracy_classes"] == 5


def test_what_cannot_be_computed_is_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = score(np.ones((3, 1)), np.ones((3, 1)), np.full((3, 1), 0.9), "multilabel")
    assert math.isnan(values["roc_auc_macro"])
    assert values["roc_auc_macro_classes"] == 0


def test_an_image_without_labels_that_gets_none_counts_as_right() -> None:
    truth, decided = np.array([[0, 0], [1, 0]], dtype=bool), np.zeros((2, 2), dtype=bool)
    expected = sklearn.f1_score(truth, decided, average="samples", zero_division=1.0)
    assert score(truth, decided, np.full((2, 2), 0.1), "multilabel")["f1_samples"] == expected == 0.5


@pytest.mark.parametrize("at_least_one", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_is_better_than_the_best_one(seed: int, at_least_one: bool) -> None:
    truth, _, probability = multilabel(seed)

    def f1(threshold: float) -> float:
        return sklearn.f1_score(truth, at_threshold(probability, threshold, at_least_one), average="samples")

    values = np.unique(probability)
    midpoints = (values[1:] + values[:-1]) / 2
    scores = np.array([f1(threshold) for threshold in midpoints])
    best = midpoints[scores >= scores.max() - 1e-12]
    assert best_threshold(truth, probability, at_least_one) == best[np.abs(best - 0.5).argmin()]


def test_the_threshold_is_one_half_where_all_probabilities_are_equal() -> None:
    assert best_threshold(np.eye(3), np.full((3, 3), 0.2), at_least_one=False) == 0.5


def test_an_image_due_a_label_gets_the_most_probable() -> None:
    probability = np.array([[0.1, 0.3, 0.2], [0.9, 0.8, 0.1]])
    assert at_threshold(probability, 0.5, at_least_one=True).tolist() == [[False, True, False], [True, True, False]]
    assert at_threshold(probability, 0.5, at_least_one=False).tolist() == [[False, False, False], [True, True, False]]


def test_the_decision_for_several_labels_ignores_the_truth_of_the_test_part() -> None:
    truth, _, probability = multilabel(1)
    threshold = best_threshold(truth, probability, at_least_one=True)
    decided = decide(probability[::-1], truth, probability, "multilabel", True)
    assert (decided == at_threshold(probability[::-1], threshold, True)).all()


@pytest.mark.parametrize(("make", "task"), [(multilabel, "multilabel"), (multiclass, "multiclass")])
def test_the_quick_score_equals_the_full_one(make, task: str) -> None:
    (truth, _, probability), (valid, _, valid_probability) = make(0), make(1)
    quick = fold_score(truth, probability, valid, valid_probability, task, at_least_one=True)
    full = score(truth, decide(probability, valid, valid_probability, task, True), probability, task)
    assert quick == {name: full[name] for name in ("accuracy", "f1_samples", "f1_macro")}
