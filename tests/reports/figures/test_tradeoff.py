"""What nothing beats is on the front, and no name covers another."""

import numpy as np
import pytest

from reports.figures.tradeoff import COSTS, points
from reports.runs.costs import pareto_front
from reports.runs.results import Results
from reports.scores.evaluation import evaluate


def test_the_front_has_what_nothing_beats() -> None:
    cost, score = [1, 2, 3, 3, 5, 6], [0.5, 0.7, 0.6, 0.9, 0.9, 0.95]
    assert pareto_front(cost, score).tolist() == [True, True, False, True, False, True]
    assert pareto_front([1, 1], [0.5, 0.5]).tolist() == [True, True]
    assert pareto_front([], []).tolist() == []


def test_the_front_agrees_with_its_definition() -> None:
    rng = np.random.default_rng(0)
    cost, score = rng.integers(0, 8, 60), rng.integers(0, 8, 60)
    for i, on_front in enumerate(pareto_front(cost, score)):
        beaten = any(
            (cost[j] <= cost[i] and score[j] > score[i]) or (cost[j] < cost[i] and score[j] >= score[i])
            for j in range(60)
        )
        assert on_front == (not beaten)


def test_every_model_that_sees_has_a_point_for_every_cost(results: Results) -> None:
    table = points(evaluate(results))
    assert set(table["cost"]) == set(COSTS.values())
    assert "dummy" not in set(table["family"])
    means = (
        evaluate(results)
        .scores.groupby("model")["f1_samples" if results.data["task"] == "multilabel" else "accuracy"]
        .mean()
    )
    for row in table.to_dict("records"):
        assert row["score"] == pytest.approx(means[row["model"]])
        assert row["low"] <= row["score"] <= row["high"]
    fit = table[table["cost"] == "Fit (s per fold)"].set_index("model")["value"]
    assert fit["hog-svm"] == pytest.approx(3.5)
    assert table.groupby("cost")["front"].any().all()
