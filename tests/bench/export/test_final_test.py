"""Held-out images are seen by no fold, scored once, and every further look is written down."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from radiographs.disk import sha256
from radiographs.phantom import Recipe, write_folder
from radiographs.splits import SplitsError, held_out

from bench.cli import invoke
from reports.comparison.final_test import held_out_table
from reports.comparison.pairwise import TestSettings
from reports.runs.format import sealed
from reports.runs.results import ResultsError, load
from reports.scores.evaluation import evaluate
from reports.scores.metrics import score
from reports.tables.run_tables import all_tables
from reports.tables.verification import check_table
from tests.bench.made import Made


def test_no_fold_sees_a_held_out_patient(classical: Made) -> None:
    results = load(classical.run)
    tested = {name: table for name, (_, table) in results.held_out.items()}
    held = set(tested["hog-svm"]["image_id"])
    assert len(held) == results.run["holdout"]["n_images"] > 5
    assert held.isdisjoint(results.splits["image_id"])
    groups = results.groups
    assert set(groups[list(held)]).isdisjoint(groups[results.splits["image_id"].unique()])
    assert held | set(results.splits["image_id"]) == set(results.manifest["image_id"])


def test_scores_are_those_of_the_stored_predictions(classical: Made) -> None:
    results = load(classical.run)
    row = held_out_table(results).set_index("model").loc["hog-svm"]
    record, table = results.held_out["hog-svm"]
    truth = table[[f"truth/{name}" for name in results.classes]].to_numpy(bool)
    probability = table[[f"probability/{name}" for name in results.classes]].to_numpy()
    decided = probability >= record["decision"]["threshold"]
    decided[np.arange(len(decided)), probability.argmax(axis=1)] |= ~decided.any(axis=1)
    assert row["f1_samples"] == score(truth, decided, probability, "multilabel")["f1_samples"]
    assert row["f1_samples_low"] <= row["f1_samples"] <= row["f1_samples_high"]
    assert row["n_train"] == results.data["n_images"] - len(table)


def copied(made: Made, folder: Path) -> Path:
    shutil.copytree(made.run, folder / "run")
    return folder / "run"


def test_one_more_model_is_one_more_look(classical: Made, tmp_path: Path) -> None:
    run = copied(classical, tmp_path)
    options = ("--suite", "quick", "--folds", "2", "--holdout", "0.25", "--no-pictures", "--data", classical.data)
    before = (run / "holdout" / "hog-svm" / "holdout.json").read_bytes()
    same = classical.bench("run", "hog-svm", *options, "--out", run)
    assert same.returncode == 0
    assert len(load(run).test_accesses) == 1
    more = classical.bench("run", "lbp-xgboost", *options, "--out", run)
    assert more.returncode == 0, more.stderr
    assert "this is access 2" in more.stdout
    accesses = load(run).test_accesses
    assert [access["models"] for access in accesses] == [["prior", "hog-svm", "hog-xgboost"], ["lbp-xgboost"]]
    assert (run / "holdout" / "hog-svm" / "holdout.json").read_bytes() == before
    without = classical.bench("run", "hog-svm", *options[:4], *options[6:], "--out", run)
    assert without.returncode == 2
    assert "another" in without.stderr


def test_the_report_shows_the_last_test_and_verify_checks_it(classical: Made, tmp_path: Path) -> None:
    run = copied(classical, tmp_path)
    assert invoke(["report", str(run), "--html", "--csv"]) == 0
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert 'id="held-out"' in page
    assert "tested once" in page
    table = run / "report" / "tables" / "holdout.csv"
    assert check_table(evaluate(load(run)), table, TestSettings()).wrong == ()
    table.write_text(table.read_text().replace("hog-svm,classical,", "hog-svm,classical,1"))
    assert check_table(evaluate(load(run)), table, TestSettings()).wrong
    assert "holdout" in all_tables(evaluate(load(run)))


def test_a_changed_result_is_refused(classical: Made, tmp_path: Path) -> None:
    run = copied(classical, tmp_path)
    path = run / "holdout" / "hog-svm" / "predictions.parquet"
    table = pd.read_parquet(path)
    table["probability/Hand"] = 1.0
    table.to_parquet(path, index=False)
    with pytest.raises(ResultsError, match=r"holdout/hog-svm/predictions\.parquet does not match its checksum"):
        load(run)


def test_a_folder_of_its_own_is_scored(classical: Made, tmp_path: Path) -> None:
    write_folder(tmp_path / "other", Recipe(24, 9, side=256, parts=("Chest", "Hand", "Elbow"), masks=False))
    shutil.copy(
        next((classical.data / "images" / "train").iterdir()), tmp_path / "other" / "images" / "train" / "copy-c.png"
    )
    options = ("--suite", "quick", "--folds", "2", "--no-pictures", "--data", classical.data)
    done = classical.bench("run", "hog-svm", *options, "--test", tmp_path / "other", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "classes that no model is trained on, and are left out: Elbow" in done.stdout
    results = load(tmp_path / "run")
    _, table = results.held_out["hog-svm"]
    assert results.run["holdout"]["kind"] == "folder"
    assert 0 < len(table) < 24
    assert set(table["image_id"]).isdisjoint(results.manifest["image_id"])
    both = classical.bench("run", "hog-svm", *options, "--test", tmp_path / "other", "--holdout", "0.2")
    assert both.returncode == 2
    assert "give one of them" in both.stderr


def test_a_share_is_stratified_and_grouped() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), 2).astype(str)
    y = np.eye(5, dtype=np.int8)[np.repeat(rng.choice(5, 300, p=[0.4, 0.3, 0.2, 0.05, 0.05]), 2)]
    for share in (0.1, 0.2, 0.25, 0.3):
        held = held_out(y, groups, share, 0)
        assert abs(held.mean() - share) < 0.03
        assert set(groups[held]).isdisjoint(groups[~held])
        assert np.abs(y[held].mean(axis=0) - y.mean(axis=0)).max() < 0.03
        assert np.array_equal(held, held_out(y, groups, share, 0))
    with pytest.raises(SplitsError, match=r"--holdout 0\.7"):
        held_out(y, groups, 0.7, 0)


def test_the_log_of_test_set_accesses_is_sealed(classical: Made, tmp_path: Path) -> None:
    run = copied(classical, tmp_path)
    path = run / "holdout" / "test_access.json"
    log = json.loads(path.read_text())
    log["accesses"] = []
    path.write_text(json.dumps(log))
    with pytest.raises(ResultsError, match="does not match its seal"):
        load(run)


def _sealed(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), **changes}), indent=1))


def _one_row_less(run: Path) -> None:
    place = run / "holdout/hog-svm"
    pd.read_parquet(place / "predictions.parquet").iloc[1:].to_parquet(place / "predictions.parquet", index=False)
    _sealed(place / "holdout.json", checksums={"predictions.parquet": sha256(place / "predictions.parquet")})


def _other_truth(run: Path) -> None:
    place = run / "holdout/hog-svm"
    table = pd.read_parquet(place / "predictions.parquet")
    table.assign(**{"truth/Hand": 1 - table["truth/Hand"]}).to_parquet(place / "predictions.parquet", index=False)
    _sealed(place / "holdout.json", checksums={"predictions.parquet": sha256(place / "predictions.parquet")})


def _other_counts(run: Path) -> None:
    _sealed(run / "run.json", holdout={**json.loads((run / "run.json").read_text())["holdout"], "n_images": 999})


def _no_accesses(run: Path) -> None:
    (run / "holdout/test_access.json").unlink()


def _forgotten_look(run: Path) -> None:
    _sealed(run / "holdout/test_access.json", accesses=[])


def _other_threshold(run: Path) -> None:
    record = json.loads((run / "holdout/hog-svm/holdout.json").read_text())
    _sealed(run / "holdout/hog-svm/holdout.json", decision={**record["decision"], "threshold": 0.1})


def _other_model(run: Path) -> None:
    (run / "holdout/hog-svm/model/SHA256SUMS").write_text("")


def _result_removed(run: Path) -> None:
    shutil.rmtree(run / "holdout/hog-svm")


def _set_forgotten(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(sealed({k: v for k, v in content.items() if k != "holdout"})))


@pytest.mark.parametrize(
    "forge",
    [
        _one_row_less,
        _other_truth,
        _other_counts,
        _no_accesses,
        _forgotten_look,
        _other_threshold,
        _other_model,
        _result_removed,
        _set_forgotten,
    ],
)
def test_a_last_test_that_contradicts_its_run_is_found(
    classical: Made, tmp_path: Path, forge: Callable[[Path], None]
) -> None:
    run = copied(classical, tmp_path)
    assert classical.bench("verify", run).returncode == 0
    forge(run)
    done = classical.bench("verify", run)
    assert done.returncode in (1, 2)
    assert "holdout" in done.stdout + done.stderr or "held-out" in done.stdout or "final test" in done.stdout
    assert "Traceback" not in done.stderr
