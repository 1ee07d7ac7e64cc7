"""Weights stand for repeated rows, and draws are paired."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reports.comparison.bootstrap import bootstrap, weighted_scores
from reports.comparison.significance import percentile_interval
from reports.runs.results import Results, load
from reports.scores.decision import at_threshold, most_probable
from reports.scores.evaluation import Decided, evaluate
from reports.scores.metrics import score


def part(task: str, seed: int) -> Decided:
    rng = np.random.default_rng(seed)
    n, n_classes = 70, 5
    truth = np.eye(n_classes, dtype=bool)[rng.integers(0, n_classes - 1, n)]  # the last class is almost absent
    if task == "multilabel":
        truth |= rng.random(truth.shape) < 0.1
    truth[0] = np.arange(n_classes) == n_classes - 1
    probability = np.round(1 / (1 + np.exp(-(2 * truth - 1 + rng.normal(size=truth.shape)))), 2)  # with ties
    probability = np.clip(probability, 0.01, 0.99)
    if task == "multiclass":
        probability /= probability.sum(axis=1, keepdims=True)
    decided = most_probable(probability) if task == "multiclass" else at_threshold(probability, 0.5, at_least_one=True)
    return Decided(np.arange(n).astype(str), truth, decided, probability)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_weight_counts_as_so_many_rows(task: str) -> None:
    original = part(task, 0)
    weights = np.random.default_rng(1).integers(0, 4, (20, len(original.truth)))
    weights[:3, 0] = 0  # then a class is absent
    found = weighted_scores(original, weights, task)
    for b, counts in enumerate(weights):
        rows = [np.repeat(a, counts, axis=0) for a in (original.truth, original.decided, original.probability)]
        expected = score(*rows, task)
        for metric, values in found.items():
            assert values[b] == pytest.approx(expected[metric], abs=1e-6, nan_ok=True), metric


def test_the_interval_holds_the_pooled_score_and_equal_models_never_differ(results: Results) -> None:
    evaluation = evaluate(results)
    draws = bootstrap(evaluation, 200)
    assert set(draws) == {m for m in evaluation.finished if len(evaluation.parts(m)) == results.n_planned}
    for model, metrics in draws.items():
        (pooled,) = evaluation.pooled(model)
        values = score(pooled.truth, pooled.decided, pooled.probability, results.data["task"])
        for metric, drawn in metrics.items():
            low, high = percentile_interval(drawn, 0.01)
            assert low - 0.02 <= values[metric] <= high + 0.02, (model, metric)
    again = bootstrap(evaluation, 200)
    for model, metrics in draws.items():
        for metric, drawn in metrics.items():
            np.testing.assert_array_equal(drawn, again[model][metric])


def test_repeats_are_averaged_on_the_same_draws(make_run: Callable[..., Path]) -> None:
    results = load(make_run("multilabel", repeats=2))
    draws = bootstrap(evaluate(results), 50)
    assert all(len(values) == 50 for metrics in draws.values() for values in metrics.values())
