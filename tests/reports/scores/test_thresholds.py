"""Thresholds of each class are the best of all, and the rules stand side by side."""

import numpy as np
import pytest

from reports.runs.results import Results
from reports.scores.decision import class_thresholds
from reports.scores.evaluation import evaluate, matrices
from reports.scores.metrics import class_f1, f1_samples
from reports.scores.thresholds import RULES, decision_rules, rules_as_text, thresholds


def test_no_threshold_is_better_than_the_one_found() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random((60, 5)) < 0.3
    probability = np.round(np.clip(0.4 * truth + rng.random(truth.shape) * 0.6, 0, 1), 2)  # with equal values
    found = class_thresholds(truth, probability)
    at_found = class_f1(truth, probability >= found)
    for threshold in np.linspace(0, 1.001, 400):
        assert (np.nan_to_num(class_f1(truth, probability >= threshold)) <= at_found + 1e-12).all()


def test_a_class_without_a_positive_has_no_threshold_of_its_own() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 0]], dtype=bool)
    found = class_thresholds(truth, np.array([[0.9, 0.2], [0.1, 0.3], [0.8, 0.1]]))
    assert found[0] == pytest.approx(0.45)
    assert np.isnan(found[1])


def test_the_shared_rule_is_the_one_that_the_results_rest_on(results: Results) -> None:
    evaluation = evaluate(results)
    table = decision_rules(evaluation)
    if results.data["task"] == "multiclass":
        assert table.empty
        assert thresholds(evaluation).empty
        return
    assert set(table["rule"]) == set(RULES)
    shared = table[table["rule"] == "shared"].reset_index(drop=True)
    for metric in ("accuracy", "f1_samples", "f1_macro", "f1_micro"):
        np.testing.assert_array_equal(shared[metric], evaluation.scores[metric])
    key = ("hog-svm", 0, 2)
    part = evaluation.test_parts[key]
    half = part.probability >= 0.5
    rows = ~half.any(axis=1)
    half[rows, part.probability[rows].argmax(axis=1)] = True
    found = table[(table["model"] == key[0]) & (table["fold"] == 2) & (table["rule"] == "half")]
    assert found["f1_samples"].item() == pytest.approx(f1_samples(part.truth, half))
    assert rules_as_text(table).shape == (len(evaluation.finished), 13)


def test_the_table_of_thresholds_says_on_how_many_cells_each_rests(results: Results) -> None:
    evaluation = evaluate(results)
    if results.data["task"] == "multiclass":
        return
    table = thresholds(evaluation).set_index(["model", "class"])
    assert len(table) == len(evaluation.finished) * len(results.classes)
    own = [
        class_thresholds(*matrices(results.predictions["hog-svm", 0, fold], "valid", results.classes))
        for fold in range(3)
    ]
    assert table.loc["hog-svm", "threshold_cells"].tolist() == np.isfinite(own).sum(axis=0).tolist()
    hand = [values[results.classes.index("Hand")] for values in own]
    assert table.loc[("hog-svm", "Hand"), "threshold_mean"] == pytest.approx(np.mean(hand))
