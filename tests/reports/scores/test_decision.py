"""The decision rule is one: learned and applied at once, in two steps, and by the evaluation of a run."""

import math

import numpy as np
import pytest

from reports.comparison.final_test import decided_part
from reports.runs.results import Results
from reports.scores.decision import apply_threshold, decide, learn_threshold, most_probable
from reports.scores.evaluation import evaluate, matrices


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_learning_and_applying_apart_is_deciding(task: str) -> None:
    rng = np.random.default_rng(0)
    probability, valid = rng.random((40, 5)), rng.random((30, 5))
    truth = rng.random((30, 5)) < 0.3
    threshold = learn_threshold(truth, valid, task, at_least_one=True)
    assert (threshold is None) == (task == "multiclass")
    decided = apply_threshold(probability, threshold, at_least_one=True)
    np.testing.assert_array_equal(decided, decide(probability, truth, valid, task, at_least_one=True))
    if task == "multiclass":
        np.testing.assert_array_equal(decided, most_probable(probability))


def test_every_cell_and_the_final_test_are_decided_by_the_same_rule(results: Results) -> None:
    evaluation = evaluate(results)
    task, at_least_one = results.data["task"], results.data["at_least_one"]
    for key, part in evaluation.test_parts.items():
        valid = matrices(results.predictions[key], "valid", results.classes)
        np.testing.assert_array_equal(part.decided, decide(part.probability, *valid, task, at_least_one))
        threshold = evaluation.thresholds[key]
        tested = results.predictions[key].query("part == 'test'")
        held_out = decided_part(tested, {"threshold": None if math.isnan(threshold) else threshold}, results)
        np.testing.assert_array_equal(held_out.decided, part.decided)
