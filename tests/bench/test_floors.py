"""Accuracy floors on real radiographs, over patient-grouped folds. Minutes: ``pytest -m slow tests/bench/test_floors.py``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

FLOORS = {
    "hog-svm": 0.775,
    "hog-lbp-svm": 0.80,
    "squeezenet-probe": 0.85,
    "squeezenet-svm": 0.865,
    "efficientnet-svm": 0.87,
}


def summary(
    bench_command: Callable[..., Any], tmp_path: Path, data: Path, weights_dir: Path, models: tuple[str, ...]
) -> pd.DataFrame:
    done = bench_command(
        "run", *models, "--suite", "standard", "--data", data, "--weights-dir", weights_dir, "--out", "run"
    )
    assert done.returncode == 0, done.stderr
    assert bench_command("report", "run", "--csv").returncode == 0
    return pd.read_csv(tmp_path / "run/report/tables/summary.csv").set_index("model")


def test_unifesp_reaches_its_floors(
    bench_command: Callable[..., Any], tmp_path: Path, shared: Path, weights_dir: Path
) -> None:
    found = summary(bench_command, tmp_path, shared / "data/unifesp", weights_dir, ("prior", *FLOORS))
    assert found.loc["prior", "f1_samples_mean"] < 0.5
    for model, floor in FLOORS.items():
        assert found.loc[model, "f1_samples_mean"] >= floor, model


def test_mednist_is_nearly_solved_by_both_families(
    bench_command: Callable[..., Any], tmp_path: Path, shared: Path, weights_dir: Path
) -> None:
    found = summary(
        bench_command, tmp_path, shared / "data/mednist", weights_dir, ("hog-svm", "hog-lbp-svm", "squeezenet-svm")
    )
    assert found.loc[["hog-svm", "hog-lbp-svm"], "accuracy_mean"].max() >= 0.99
    assert found.loc["squeezenet-svm", "accuracy_mean"] >= 0.99
