"""Memory, time, and data at the edge: a cell's failure is that cell's, and a result has a stated meaning or is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

Command = Callable[..., Any]
OWN = """
import time
import numpy as np
from baselines.prior import Prior

class Hungry(Prior):
    def fit(self, *a):
        np.empty(1 << 50, np.uint8)

class Batched(Prior):
    def __init__(self, batch=32):
        self.batch = batch
    def fit(self, *a):
        if self.batch > 16:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().fit(*a)

class NotANumber(Prior):
    def predict_proba(self, X):
        return super().predict_proba(X) * np.nan

class Slow(Prior):
    def fit(self, *a):
        time.sleep(60)

class Unsaved(Prior):
    def save(self, folder):
        raise TypeError("no such format")
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own_models.py").write_text(OWN)
    lines = [
        f'[models.{name.lower()}]\nfamily = "classical"\nhead = {{ class = "own_models:{name}" }}'
        for name in ("Hungry", "Batched", "NotANumber", "Slow", "Unsaved")
    ]
    (tmp_path / "own.toml").write_text(
        "\n".join([*lines, '[models.prior]\nhead = { class = "baselines.prior:Prior" }'])
    )
    return tmp_path / "own.toml"


def cell(run: Path, model: str, fold: int = 0) -> dict[str, Any]:
    return json.loads((run / f"cells/{model}/r0-f{fold}/cell.json").read_text())


def test_what_goes_wrong_in_a_cell_is_that_cells_failure(
    bench_command: Command, own: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    models = ("hungry", "batched", "notanumber", "unsaved", "prior")
    command = ("run", *models, "--suite", own, "--data", phantom_folder, "--folds", 2, "--out", "run")
    done = bench_command(*command)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    run = tmp_path / "run"
    assert cell(run, "hungry")["status"] == "failed"
    assert "not enough memory: a smaller batch, side or --jobs needs less" in cell(run, "hungry")["reason"]
    assert cell(run, "batched")["status"] == "done"
    assert "out of memory with the suite's batch: fitted with batch = 16" in cell(run, "batched")["warnings"]
    assert "values that are not finite" in cell(run, "notanumber")["reason"]
    assert "could not be saved: TypeError: no such format" in cell(run, "unsaved")["reason"]
    assert cell(run, "prior")["status"] == "done"
    assert bench_command("report", "run", "--html").returncode == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cell_that_takes_too_long_is_ended(
    bench_command: Command, own: Path, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = ("run", "slow", "prior", "--suite", own, "--data", phantom_folder, "--folds", 2, "--out", "run")
    done = bench_command(*command, "--timeout", 1, "--jobs", jobs)
    assert done.returncode == 1, done.stderr
    assert cell(tmp_path / "run", "slow")["reason"] == "it took longer than --timeout 1 (seconds)"
    assert {cell(tmp_path / "run", "prior", fold)["status"] for fold in (0, 1)} == {"done"}


def pictures(folder: Path, names: list[str], make: Callable[[int], np.ndarray]) -> Path:
    for k, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(make(k)).save(folder / name / f"{k}.png")
    return folder


CLASSICAL = ("prior", "hog-svm", "lbp-svm", "hog-xgboost")


def test_images_without_any_difference_give_the_floor(bench_command: Command, tmp_path: Path) -> None:
    """All features are constant: no model can be better than the share of each class."""
    data = pictures(tmp_path / "flat", ["a", "b"] * 12, lambda k: np.full((40, 40), k, np.uint8))
    done = bench_command("run", *CLASSICAL, "--data", data, "--folds", 2, "--out", "run")
    assert done.returncode == 0, done.stdout
    for model in CLASSICAL:
        table = pd.read_parquet(tmp_path / f"run/cells/{model}/r0-f0/predictions.parquet")
        probability = table[[c for c in table if c.startswith("probability/")]].to_numpy()
        assert np.isfinite(probability).all()
        assert np.ptp(probability, axis=0).max() < 1e-6
    assert bench_command("report", "run", "--html").returncode == 0


def test_a_class_of_one_patient_is_undefined_where_it_is_absent(bench_command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["a"] * 12 + ["b"] * 12 + ["rare"]
    data = pictures(tmp_path / "rare", names, lambda _: rng.integers(0, 255, (40, 40), np.uint8))
    done = bench_command("run", *CLASSICAL, "--data", data, "--folds", 3, "--out", "run")
    assert done.returncode == 0, done.stdout
    assert "D010" in done.stdout
    assert bench_command("report", "run", "--csv").returncode == 0
    rows = pd.read_csv(tmp_path / "run/report/tables/per_class.csv")
    rare = rows[rows["class"] == "rare"]
    assert len(rare) == len(CLASSICAL)
    assert not (rare.filter(like="auc") == 0).any().any()


@pytest.mark.parametrize(
    ("n", "models"),
    [(100, ("prior",)), *(pytest.param(1000, m, marks=pytest.mark.slow) for m in (("prior",), ("prior", "hog-svm")))],
)
def test_a_thousand_classes_are_a_result(
    bench_command: Command, tmp_path: Path, n: int, models: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(0)
    names = [f"class{k % n:04d}" for k in range(2 * n)]
    data = pictures(tmp_path / "many", names, lambda _: rng.integers(0, 255, (16, 16), np.uint8))
    options = ("--folds", 2, "--out", "run", "--set", "preprocessing.side=64", "--no-pictures")
    done = bench_command("run", *models, "--data", data, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench_command("report", "run", "--csv").returncode == 0
