"""Decisions among the label sets that occur: the best of all by brute force, and blind to the test part."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from reports.runs.results import Results
from reports.scores.decision import best_label_set, seen_label_sets
from reports.scores.evaluation import evaluate, label_sets_of_folds
from reports.scores.thresholds import decision_rules


def test_the_set_decided_has_the_highest_expected_f1_of_all() -> None:
    rng = np.random.default_rng(3)
    sets = seen_label_sets(rng.random((20, 5)) < 0.3, at_least_one=False)
    probability = rng.random((40, 5))
    decided = best_label_set(probability, sets)
    for p, found in zip(probability, decided, strict=True):
        weights = np.array([np.prod(np.where(each, p, 1 - p)) for each in sets])
        expected = [weights @ [_f1(truth, named) for truth in sets] / weights.sum() for named in sets]
        assert tuple(found) in {tuple(each) for each in sets}
        assert expected[[tuple(each) for each in sets].index(tuple(found))] == pytest.approx(max(expected))


def test_with_one_label_per_set_the_most_probable_is_decided() -> None:
    probability = np.random.default_rng(1).random((30, 4))
    decided = best_label_set(probability, np.eye(4, dtype=bool))
    np.testing.assert_array_equal(decided.argmax(axis=1), probability.argmax(axis=1))


def test_certain_probabilities_decide_for_their_set_and_a_foreign_one_for_the_nearest() -> None:
    sets = np.array([[1, 0, 0], [0, 1, 1]], dtype=bool)
    decided = best_label_set(np.array([[1.0, 0, 0], [0, 1, 1], [1, 0, 1], [0, 1, 0]]), sets)
    np.testing.assert_array_equal(decided[[0, 1, 3]], sets[[0, 1, 1]])
    assert np.isfinite(decided[2]).all()


def test_many_images_are_decided_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    sets = np.array(list(product([False, True], repeat=4)))[1:]
    probability = rng.random((5000, 4))  # more than one block
    decided = best_label_set(probability, sets)
    for k in (0, 4095, 4096, 4999):
        np.testing.assert_array_equal(decided[k], best_label_set(probability[k : k + 1], sets)[0])
    assert best_label_set(probability[:0], sets).shape == (0, 4)
    with pytest.raises(ValueError, match="no label set"):
        best_label_set(probability, sets[:0])


def test_no_label_is_a_set_only_where_an_image_may_have_none() -> None:
    truth = np.array([[0, 0], [1, 0], [1, 0]])
    assert seen_label_sets(truth, at_least_one=False).tolist() == [[False, False], [True, False]]
    assert seen_label_sets(truth, at_least_one=True).tolist() == [[True, False]]


def test_the_label_sets_of_a_fold_are_those_outside_of_its_test_part(results: Results) -> None:
    labels = results.manifest.set_index("image_id")["labels"]
    for (repeat, fold), sets in label_sets_of_folds(results).items():
        place = (results.splits["repeat"] == repeat) & (results.splits["fold"] == fold)
        here = results.splits[place & (results.splits["part"] != "test")]
        expected = {frozenset(labels[image]) for image in here["image_id"]}
        assert {frozenset(np.array(results.classes)[each]) for each in sets} == expected


def test_labels_of_the_test_part_change_no_decision(results: Results) -> None:
    if results.data["task"] == "multiclass":
        return
    of_fold = results.splits.query("repeat == 0 and fold == 0 and part == 'test'")["image_id"]
    foreign = [results.classes[0], results.classes[-1]]
    labels = [
        foreign if image in set(of_fold) else each
        for image, each in zip(results.manifest["image_id"], results.manifest["labels"], strict=True)
    ]
    changed = replace(results, manifest=results.manifest.assign(labels=labels))
    np.testing.assert_array_equal(label_sets_of_folds(changed)[0, 0], label_sets_of_folds(results)[0, 0])


def test_every_model_has_a_row_by_label_sets(results: Results) -> None:
    evaluation = evaluate(results)
    table = decision_rules(evaluation)
    if results.data["task"] == "multiclass":
        return
    rows = table[table["rule"] == "label_sets"]
    assert len(rows) == len(evaluation.test_parts)
    assert rows[["accuracy", "f1_samples", "f1_micro"]].notna().all(axis=None)


def _f1(truth: np.ndarray, named: np.ndarray) -> float:
    size = truth.sum() + named.sum()
    return 1.0 if size == 0 else 2 * (truth & named).sum() / size
