"""A refitted model keeps what its validation part chose, predicts the test part with a head that learned from both, and says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from radiographs.phantom import Recipe, write_folder

from bench.recipes.suite import ModelSpec, load_suite
from reports.citation.methods import markdown
from reports.comparison.pairwise import TestSettings
from reports.runs.costs import model_costs
from reports.runs.format import model_digest, sealed
from reports.runs.provenance import caption
from reports.runs.results import load
from tests.bench.made import Made

HEADS = {
    "svm": '{ class = "baselines.svm:SVM" }',
    "xgboost": '{ class = "baselines.boosting:XGBoost", rounds = 30 }',
    "probe": '{ class = "deep.probe:LogisticProbe" }',
}
STUBBORN = """
import numpy as np

class Stubborn:
    def fit(self, X, y, X_valid, y_valid, seed):
        self.share_ = y.mean(axis=0)
        return self

    def predict_proba(self, X):
        return np.tile(self.share_, (len(X), 1)).astype(np.float64)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run of each head with and without a refit, and of one that has none."""
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("refit")
    write_folder(root / "data", Recipe(n=90, seed=4, side=96))
    (root / "stubborn_head.py").write_text(STUBBORN)
    tables = [_table(name, head, "") + _table(f"{name}-refit", head, "refit = true") for name, head in HEADS.items()]
    tables.append(_table("stubborn", '{ class = "stubborn_head:Stubborn" }', "refit = true"))
    (root / "mine.toml").write_text("[preprocessing]\nside = 64\n[cv]\nfolds = 2\n" + "".join(tables))
    made = Made(root / "run", root / "data", {"PATH": "/usr/bin", "XRAYBENCH_CACHE": str(root / "cache")})
    found = made.bench(*_run(made, root / "run"))
    assert found.returncode == 1, found.stderr + found.stdout  # the stubborn one failed
    return made


def _table(name: str, head: str, more: str) -> str:
    encoders = '[{ class = "baselines.hog:HOG", cell = 16 }]'
    return f'[models.{name}]\nfamily = "classical"\nmirror = true\n{more}\nencoders = {encoders}\nhead = {head}\n'


def _run(made: Made, out: Path, *more: str) -> tuple[object, ...]:
    return (
        "run",
        "--all",
        "--suite",
        made.run.parent / "mine.toml",
        "--data",
        made.data,
        "--no-pictures",
        "--out",
        out,
        *more,
    )


def _record(run: Path, model: str, fold: int = 0) -> dict[str, Any]:
    return json.loads((run / "cells" / model / f"r0-f{fold}" / "cell.json").read_text())


@pytest.mark.parametrize("name", HEADS)
def test_validation_predictions_are_those_of_the_first_fit_and_test_predictions_those_of_the_second(
    made: Made, name: str
) -> None:
    results = load(made.run)
    for fold in range(2):
        plain, refitted = results.predictions[name, 0, fold], results.predictions[f"{name}-refit", 0, fold]
        valid, test = (plain["part"] == part for part in ("valid", "test"))
        pd.testing.assert_frame_equal(plain[valid], refitted[valid])
        assert not plain[test].equals(refitted[test])
        columns = [f"probability/{label}" for label in results.classes]
        difference = np.abs(plain.loc[test, columns].to_numpy() - refitted.loc[test, columns].to_numpy())
        assert 0 < difference.mean() < 0.2


@pytest.mark.parametrize("name", HEADS)
def test_the_record_has_both_fits_and_the_choice_of_the_first(made: Made, name: str) -> None:
    plain, refitted = _record(made.run, name), _record(made.run, f"{name}-refit")
    assert refitted["refit"] == {"n_train": plain["n_train"] + plain["n_valid"]}
    assert "refit" not in plain
    assert refitted["chosen"] == plain["chosen"]
    assert refitted["n_train"] == plain["n_train"]
    timings = refitted["timings"]
    assert timings["fit_seconds"] > 0
    assert timings["refit_seconds"] > 0
    assert "refit_seconds" not in plain["timings"]
    costs = model_costs(load(made.run)).loc[f"{name}-refit", "fit_seconds_mean"]
    both = [
        sum(_record(made.run, f"{name}-refit", fold)["timings"][key] for key in ("fit_seconds", "refit_seconds"))
        for fold in (0, 1)
    ]
    assert costs == pytest.approx(np.mean(both))


def test_the_saved_machine_is_of_both_parts_with_the_values_and_the_calibration_of_the_first(made: Made) -> None:
    from safetensors.numpy import load_file

    folder = made.run / "cells" / "svm-refit" / "r0-f0"
    record, facts = _record(made.run, "svm-refit"), json.loads((folder / "model" / "svm.json").read_text())
    before = json.loads((made.run / "cells" / "svm" / "r0-f0" / "model" / "svm.json").read_text())
    dual = load_file(folder / "model" / "svm.safetensors")["dual"]
    assert len(dual) == record["refit"]["n_train"]
    assert {key: facts[key] for key in ("C", "gamma")} == {key: before[key] for key in ("C", "gamma")}
    for key in ("slope", "intercept"):
        assert facts["calibration"][key] == pytest.approx(before["calibration"][key])


def test_captions_and_methods_name_who_was_refitted(made: Made) -> None:
    results = load(made.run)
    names = "svm-refit and xgboost-refit and probe-refit and stubborn"
    assert f"refitted to training and validation part: {names}" in caption(results)
    text = markdown(results, TestSettings())
    assert "Models said to be refitted were fitted a second time" in text
    assert text.count("refitted to the training and validation part") == 4


def test_a_head_without_refit_fails_with_a_reason(made: Made) -> None:
    record = _record(made.run, "stubborn")
    assert record["status"] == "failed"
    assert "refit = true, but stubborn_head:Stubborn has no refit(X, y, folds, seed)" in record["reason"]


def test_verify_finds_a_refit_that_is_not_what_the_suite_states(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    assert "states refit" not in made.bench("verify", run).stdout
    file = run / "cells" / "svm-refit" / "r0-f0" / "cell.json"
    record = json.loads(file.read_text())
    record["refit"]["n_train"] -= 1
    file.write_text(json.dumps(sealed(record)))
    found = made.bench("verify", run)
    assert found.returncode == 1
    assert "states refit" in found.stdout + found.stderr


def test_processes_give_the_same_predictions_and_a_refitted_model_is_exported(made: Made, tmp_path: Path) -> None:
    options = ("run", "svm-refit", *_run(made, tmp_path / "run", "--jobs", "2")[2:])
    assert made.bench(*options).returncode == 0
    alone, side_by_side = load(made.run).predictions, load(tmp_path / "run").predictions
    for key, table in side_by_side.items():
        pd.testing.assert_frame_equal(table, alone[key], rtol=0, atol=1e-12)
    found = made.bench("export", tmp_path / "run", "--model", "svm-refit", "--out", tmp_path / "model")
    assert found.returncode == 0, found.stderr


def test_only_a_model_that_is_refitted_has_another_digest() -> None:
    table = load_suite("quick").models["hog-svm"].as_dict()
    assert "refit" not in table
    refitted = ModelSpec.model_validate({**table, "refit": True})
    assert model_digest(refitted.as_dict()) != model_digest(table)
    assert model_digest(ModelSpec.model_validate({**table, "refit": False}).as_dict()) == model_digest(table)
    with pytest.raises(ValueError, match="refit and train_share"):
        ModelSpec.model_validate({**table, "refit": True, "train_share": 0.5})
