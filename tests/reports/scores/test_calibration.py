"""Temperatures are found where they are known, and change the scores but never the order."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

from reports.runs.results import Results
from reports.scores.calibration import VERSIONS, calibration, reliability, temperature, tempered
from reports.scores.evaluation import evaluate, matrices
from reports.scores.metrics import BINS, calibration_error, log_loss


@pytest.mark.parametrize("known", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_known_temperature_is_found_again(task: str, known: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(20_000, 4))
    if task == "multiclass":
        honest, said = softmax(logits, axis=1), softmax(logits * known, axis=1)
        truth = np.array([rng.multinomial(1, p) for p in honest], dtype=bool)
    else:
        honest, said = expit(logits), expit(logits * known)
        truth = rng.random(logits.shape) < honest
    found = temperature(truth, said, task)
    assert found == pytest.approx(known, rel=0.05)
    after = tempered(said, found, task)
    np.testing.assert_allclose(after, honest, atol=0.03)
    assert (after.argsort(axis=1) == said.argsort(axis=1)).all()
    assert calibration_error(truth, after, task) < 0.02


def test_no_images_and_certain_predictions_have_a_temperature() -> None:
    assert temperature(np.zeros((0, 3)), np.zeros((0, 3)), "multilabel") == 1
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    for task in ("multiclass", "multilabel"):
        assert 0.05 <= temperature(certain, certain, task) <= 20
        assert np.isfinite(tempered(certain, 0.05, task)).all()


def test_every_cell_is_scored_before_and_after_with_its_own_temperature(results: Results) -> None:
    evaluation, task = evaluate(results), results.data["task"]
    table = calibration(evaluation)
    assert list(zip(table["model"], table["repeat"], table["fold"], strict=True)) == list(evaluation.test_parts)
    row = table[(table["model"] == "efficientnet-finetune") & (table["fold"] == 1)].iloc[0]
    key = ("efficientnet-finetune", 0, 1)
    part = evaluation.test_parts[key]
    fitted = temperature(*matrices(results.predictions[key], "valid", results.classes), task)
    assert row["temperature"] == fitted
    assert row["log_loss"] == log_loss(part.truth, part.probability, task)
    assert row["log_loss_scaled"] == log_loss(part.truth, tempered(part.probability, fitted, task), task)
    scores = evaluation.scores.set_index(["model", "repeat", "fold"])
    for name in ("log_loss", "brier", "calibration_error"):
        np.testing.assert_array_equal(table[name], scores[name])


def test_the_reliability_diagram_counts_every_prediction_once_and_gives_the_calibration_error(results: Results) -> None:
    evaluation, task = evaluate(results), results.data["task"]
    table = reliability(evaluation)
    for model in evaluation.finished:
        parts = evaluation.parts(model)
        truth, probability = (np.concatenate([getattr(p, name) for p in parts]) for name in ("truth", "probability"))
        for version in VERSIONS:
            rows = table[(table["model"] == model) & (table["version"] == version)]
            assert len(rows) <= BINS
            assert rows["n"].sum() == (len(truth) if task == "multiclass" else truth.size)
        rows = table[(table["model"] == model) & (table["version"] == VERSIONS[0])]
        error = float(
            ((rows["fraction_of_positives"] - rows["mean_predicted_probability"]).abs() * rows["n"]).sum()
            / rows["n"].sum()
        )
        assert error == pytest.approx(calibration_error(truth, probability, task))
    assert isinstance(table, pd.DataFrame)
