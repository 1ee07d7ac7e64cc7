"""Decisions among the label sets that occur: the best of all by brute force, and blind to the test part."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from reports.citation.bibliography import keys
from reports.citation.methods import markdown
from reports.comparison.across import check_same_decision
from reports.comparison.final_test import decided_part
from reports.comparison.pairwise import TestSettings
from reports.runs.provenance import caption
from reports.runs.results import Results, ResultsError, load
from reports.scores.curves import operating_rates
from reports.scores.decision import best_label_set, label_set_matrix, label_set_numbers, seen_label_sets
from reports.scores.evaluation import evaluate, label_sets_of_folds, label_sets_of_run
from reports.scores.thresholds import RULE_METRICS, decision_rules
from reports.tables.run_tables import all_tables
from reports.tables.verification import check_table


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


@pytest.fixture
def by_sets(make_run: Callable[..., Path]) -> Results:
    """A run of several labels whose labels are decided by label sets."""
    return load(_with_rule(make_run(), "label_sets"))


def test_a_run_by_label_sets_rests_on_them_alone(by_sets: Results, tmp_path: Path) -> None:
    evaluation = evaluate(by_sets)
    sets = label_sets_of_folds(by_sets)
    for key, part in evaluation.test_parts.items():
        np.testing.assert_array_equal(part.decided, best_label_set(part.probability, sets[key[1:]]))
    rules = decision_rules(evaluation)
    own = rules[rules["rule"] == "label_sets"].reset_index(drop=True)
    for metric in RULE_METRICS:
        np.testing.assert_array_equal(own[metric], evaluation.scores[metric])
    assert operating_rates(evaluation)["threshold"].isna().all()

    table = tmp_path / "cells.csv"
    all_tables(evaluation)["cells"].to_csv(table, index=False)
    assert not check_table(evaluation, table, TestSettings()).wrong
    by_threshold = evaluate(load(_with_rule(by_sets.path, "threshold")))
    assert check_table(by_threshold, table, TestSettings()).wrong
    np.testing.assert_array_equal(rules.to_numpy(), decision_rules(by_threshold).to_numpy())


def test_papers_and_captions_state_label_sets(by_sets: Results) -> None:
    assert caption(by_sets).endswith("labels decided by label sets")
    text = markdown(by_sets, TestSettings())
    assert "the label set with the highest expected F1 [@dembczynski2011]" in text
    assert "threshold" not in text
    assert "dembczynski2011" in keys(by_sets)
    by_threshold = load(_with_rule(by_sets.path, "threshold"))
    assert "label set" not in caption(by_threshold) + markdown(by_threshold, TestSettings())


def test_the_final_test_decides_among_the_sets_of_all_images_of_the_folds(by_sets: Results) -> None:
    sets = label_sets_of_run(by_sets)
    numbers = json.loads(json.dumps(label_set_numbers(sets)))
    restored = label_set_matrix(numbers, len(by_sets.classes))
    assert restored is not None
    np.testing.assert_array_equal(restored, sets)
    tested = by_sets.predictions["hog-svm", 0, 0].query("part == 'test'")
    part = decided_part(tested, {"threshold": 0.3, "label_sets": numbers}, by_sets)
    np.testing.assert_array_equal(part.decided, best_label_set(part.probability, sets))


def test_runs_by_two_rules_are_not_put_together(by_sets: Results, make_run: Callable[..., Path]) -> None:
    one_label = load(make_run("multiclass"))
    check_same_decision([by_sets, one_label, by_sets])
    other = replace(by_sets, run={**by_sets.run, "suite": {**by_sets.run["suite"], "decision": "threshold"}})
    with pytest.raises(ResultsError, match=r"by label_sets and .* by threshold"):
        check_same_decision([by_sets, other])


def test_an_unknown_rule_is_refused(make_run: Callable[..., Path]) -> None:
    with pytest.raises(ResultsError, match="'guess', which this version does not know"):
        load(_with_rule(make_run(), "guess"))


def _with_rule(run: Path, rule: str) -> Path:
    facts = json.loads((run / "run.json").read_text())
    facts["suite"]["decision"] = rule
    (run / "run.json").write_text(json.dumps(facts))
    return run


def _f1(truth: np.ndarray, named: np.ndarray) -> float:
    size = truth.sum() + named.sum()
    return 1.0 if size == 0 else 2 * (truth & named).sum() / size
