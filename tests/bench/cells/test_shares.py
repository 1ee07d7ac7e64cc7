"""Models on shares of the training patients become learning curves in the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from reports.comparison.pairwise import TestSettings
from reports.runs.results import load
from reports.scores.evaluation import evaluate
from reports.tables.verification import check_table

HEAD = 'head = { class = "baselines.boosting:XGBoost", rounds = 5 }'
ENCODER = 'encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]'


def test_a_run_on_shares_has_curves(bench_command: Callable, phantom_folder: Path, tmp_path: Path) -> None:
    suite = tmp_path / "shares.toml"
    models = [
        f"[models.trees-{name}]\n{share}\n{ENCODER}\n{HEAD}"
        for name, share in (("50", "train_share = 0.5"), ("100", ""))
    ]
    suite.write_text("\n".join(models))
    options = ("--all", "--suite", suite, "--folds", 2, "--no-pictures", "--data", phantom_folder, "--out", "run")
    assert bench_command("run", *options).returncode == 0
    done = bench_command("report", "run", "--html", "--csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv("run/report/tables/learning.csv")
    assert table["train_share"].tolist() == [0.5, 1.0]
    assert np.isclose(table["n_patients"][0] / table["n_patients"][1], 0.5, atol=0.1)
    assert (table["low"] <= table["score"]).all()
    assert 'id="patients"' in Path("run/report/report.html").read_text(encoding="utf-8")
    path = Path("run/report/tables/learning.csv")
    assert check_table(evaluate(load(Path("run"))), path, TestSettings()).wrong == ()
