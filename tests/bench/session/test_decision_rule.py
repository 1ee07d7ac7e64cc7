"""The decision rule of a run: stated by its suite, kept when it is resumed, and the same in the final test and in exported models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from radiographs.phantom import Recipe, write_folder

from bench.inference.decision import Rule, choose_rule
from bench.inference.model import load_model
from bench.recipes.suite import load_suite
from bench.recipes.toml import suite_as_toml
from reports.comparison.final_test import held_out_table
from reports.runs.format import sealed
from reports.runs.results import load
from reports.scores.decision import best_label_set, seen_label_sets
from reports.scores.evaluation import evaluate, label_sets_of_run, matrices
from tests.bench.made import Made

MODELS = ("hog-svm", "prior")
BY_SETS = ("--set", "decision=label_sets")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A small run by label sets, with a final test."""
    root = tmp_path_factory.mktemp("by-sets")
    write_folder(root / "data", Recipe(n=90, seed=4, side=96))
    made = Made(root / "run", root / "data", {"PATH": "/usr/bin", "XRAYBENCH_CACHE": str(root / "cache")})
    found = made.bench(*_run(made, root / "run"), *BY_SETS)
    assert found.returncode == 0, found.stderr + found.stdout
    return made


def _run(made: Made, out: Path) -> tuple[object, ...]:
    options = (
        "--suite",
        "quick",
        "--set",
        "preprocessing.side=64",
        "--folds",
        "2",
        "--holdout",
        "0.25",
        "--no-pictures",
    )
    return ("run", *MODELS, *options, "--data", made.data, "--out", out)


def test_a_suite_states_the_rule_and_its_digest_knows_it(made: Made) -> None:
    assert load(made.run).decision == "label_sets"
    plain, by_sets = load_suite("quick"), load_suite("quick", {"decision": "label_sets"})
    assert plain.digest != by_sets.digest
    assert "decision" not in plain.model_dump()
    assert 'decision = "label_sets"' in suite_as_toml(by_sets)
    assert made.bench("run", "--all", "--set", "decision=guess").returncode == 2


def test_a_resumed_run_keeps_its_rule_and_another_is_refused(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    again = made.bench(*_run(made, run))
    assert again.returncode == 0, again.stderr
    assert load(run).decision == "label_sets"
    other = made.bench(*_run(made, run), "--set", "decision=threshold")
    assert other.returncode == 2
    assert "another decision rule (label_sets; now threshold)" in other.stderr


def test_the_final_test_and_the_exported_model_decide_by_label_sets(made: Made) -> None:
    results = load(made.run)
    record, table = results.held_out["hog-svm"]
    assert table is not None
    sets = label_sets_of_run(results)
    truth, probability = (
        table[[f"{kind}/{name}" for name in results.classes]].to_numpy(float) for kind in ("truth", "probability")
    )
    decided = best_label_set(probability, sets)
    row = held_out_table(results).set_index("model").loc["hog-svm"]
    assert row["accuracy"] == pytest.approx((decided == (truth == 1)).all(axis=1).mean())

    model = load_model(made.model("hog-svm"), "native", "cpu", trusted=True)
    assert model.rule.as_dict() == record["decision"] | {"label_sets": model.rule.label_sets}
    np.testing.assert_array_equal(model.decide(probability).labels, decided)
    for k in range(len(probability)):
        np.testing.assert_array_equal(model.decide(probability[k : k + 1]).labels[0], decided[k])


def test_verify_finds_another_list_of_label_sets(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    assert made.bench("verify", run).returncode == 0
    file = run / "holdout" / "hog-svm" / "holdout.json"
    record = json.loads(file.read_text())
    record["decision"]["label_sets"] = record["decision"]["label_sets"][:-1]
    file.write_text(json.dumps(sealed(record)))
    found = made.bench("verify", run)
    assert found.returncode == 1
    assert "the label sets of its decision rule are not those of the run" in found.stdout + found.stderr


def test_progress_shows_the_scores_of_the_report(made: Made) -> None:
    from bench.executors.loop import _scores
    from bench.store.run_folder import Cell

    results = load(made.run)
    evaluation, key = evaluate(results), ("hog-svm", 0, 1)
    shown = _scores(Cell(*key), _Labels(results), "label_sets", results.predictions[key])
    row = evaluation.scores.set_index(["model", "repeat", "fold"]).loc[key]
    assert shown == {name: row[name] for name in shown}


def test_sure_means_that_the_most_probable_label_given_is_right(made: Made) -> None:
    results = load(made.run)
    truth, probability = matrices(results.predictions["hog-svm", 0, 0], "valid", results.classes)
    sets = seen_label_sets(truth, at_least_one=True)
    rule = choose_rule(truth, probability, "multilabel", at_least_one=True, target=0.8, sets=sets)
    decision = rule.decide(probability)
    given = np.where(decision.labels, rule.calibrated(probability), -1)
    np.testing.assert_allclose(decision.confidence, np.minimum(given.max(axis=1), rule.max_confidence))
    right = truth[np.arange(len(truth)), given.argmax(axis=1)]
    assert decision.sure.mean() == pytest.approx(rule.coverage)
    assert not decision.sure.any() or right[decision.sure].mean() >= 0.8


def test_models_of_earlier_versions_keep_their_threshold() -> None:
    facts = {
        "task": "multilabel",
        "at_least_one": True,
        "threshold": 0.4,
        "temperature": 1.0,
        "confidence_threshold": 0.5,
    }
    rule = Rule(**facts, target=0.95, coverage=1.0, max_confidence=0.99)
    assert "label_sets" not in rule.as_dict()
    decision = rule.decide(np.array([[0.45, 0.41, 0.1], [0.1, 0.2, 0.3]]))
    assert decision.labels.tolist() == [[True, True, False], [False, False, True]]
    np.testing.assert_allclose(decision.confidence, [0.45, 0.3])


class _Labels:
    """Of `bench.data.dataset.Data`, what scores of a cell are made of."""

    def __init__(self, results) -> None:
        used = results.manifest[results.manifest["status"] == "ok"]
        self.ids, self.splits = used["image_id"], results.splits
        self.classes, self.task, self.at_least_one = results.classes, "multilabel", True
        self.y = np.array([[name in labels for name in results.classes] for labels in used["labels"]])

    def part(self, repeat: int, fold: int) -> np.ndarray:
        here = self.splits[(self.splits["repeat"] == repeat) & (self.splits["fold"] == fold)]
        return pd.Series(here["part"].to_numpy(), here["image_id"]).reindex(self.ids, fill_value="").to_numpy(str)
