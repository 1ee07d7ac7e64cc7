"""Two runs side by side: every difference is named, and only runs on the same splits are tested."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import invoke
from reports.comparison.pairwise import TestSettings
from reports.comparison.two_runs import changes, differences, why_untested
from reports.runs.results import load
from reports.scores.evaluation import evaluate

MODELS = {"prior": ("dummy", 0.0), "hog-svm": ("classical", 0.9), "efficientnet-probe": ("deep", 1.4)}


@pytest.fixture
def runs(make_run: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A run, and one on the same splits that lacks a model, has a better one, and another parameter and version."""
    first = make_run("multiclass", classes=("Hand", "Knee", "Chest"), models=MODELS, n_images=600, folds=5)
    shutil.move(first, tmp_path / "first")
    models = {"prior": ("dummy", 0.0), "hog-svm": ("classical", 1.6)}
    second = make_run("multiclass", classes=("Hand", "Knee", "Chest"), models=models, n_images=600, folds=5)
    described = json.loads((second / "run.json").read_text())
    described["suite"]["models"]["hog-svm"]["encoders"][0]["cell"] = 32
    described["environment"]["packages"]["numpy"] = "9.9"
    (second / "run.json").write_text(json.dumps(described))
    return tmp_path / "first", second


def test_every_difference_is_named_and_no_other(runs: tuple[Path, Path]) -> None:
    first, second = (load(run) for run in runs)
    assert differences(first, first) == []
    found = {each.key: (each.first, each.second) for each in differences(first, second)}
    assert set(found) == {"models.hog-svm.encoders", "environment.packages.numpy", "models.efficientnet-probe"}
    assert found["environment.packages.numpy"] == ("2.4.6", "9.9")
    assert found["models.efficientnet-probe"] == ("run", "–")
    assert "'cell': 32" in found["models.hog-svm.encoders"][1]


def test_changes_are_tested_on_the_same_splits(runs: tuple[Path, Path]) -> None:
    first, second = (evaluate(load(run)) for run in runs)
    table = changes(first, second, TestSettings()).set_index("model")
    assert list(table.index) == ["prior", "hog-svm"]
    assert table.loc["prior", ["difference", "p", "same"]].tolist() == [0, 1, 1]
    hog = table.loc["hog-svm"]
    assert hog["difference"] == pytest.approx(hog["second"] - hog["first"])
    assert 0 < hog["low"] < hog["difference"] < hog["high"]
    assert hog["p"] < 0.05
    assert hog["same"] == 0


def test_other_splits_or_classes_are_not_tested(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    first, second = runs
    described = json.loads((second / "run.json").read_text())
    described["splits"]["digest"] = "d" * 64
    (second / "run.json").write_text(json.dumps(described))
    assert "the splits differ" in why_untested(load(first), load(second))
    assert changes(evaluate(load(first)), evaluate(load(second)), TestSettings())["p"].isna().all()
    assert invoke(["compare", str(first), str(second)]) == 0
    assert "Not tested: the splits differ" in capsys.readouterr().out
    assert invoke(["compare", str(first), str(first)]) == 0
    assert "Nothing differs" in capsys.readouterr().out
    assert invoke(["compare", str(first)]) == 2
    assert "give two run folders" in capsys.readouterr().err
