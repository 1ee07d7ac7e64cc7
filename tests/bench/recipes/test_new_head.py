"""A new head is one file and one table: everything the project does with a model works for it without another edit."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.recipes.checks import check_head

NEIGHBOURS = '''
"""The nearest training images decide (Cover and Hart 1967)."""
import json
import numpy as np


class KNearest:
    search_space = {"k": [1, 3, 5]}

    def __init__(self, k=3):
        self.k = k

    def fit(self, X, y, X_valid, y_valid, seed):
        self.X_, self.y_ = X, y
        self.chosen_ = {"k": self.k}
        return self

    def predict_proba(self, X):
        distances = ((X[:, None] - self.X_) ** 2).sum(axis=2)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.k]
        return self.y_[nearest].mean(axis=1)

    def refit(self, X, y, folds, seed):
        return self.fit(X, y, X, y, seed)

    def randomise_weights(self, seed):
        fresh = KNearest(self.k)
        return fresh.fit(self.X_, np.random.default_rng(seed).permutation(self.y_), None, None, seed)

    def save(self, folder):
        facts = {"k": self.k, "X": self.X_.tolist(), "y": self.y_.tolist()}
        (folder / "neighbours.json").write_text(json.dumps(facts))

    @classmethod
    def load(cls, folder):
        facts = json.loads((folder / "neighbours.json").read_text())
        return cls(facts["k"]).fit(np.array(facts["X"], np.float32), np.array(facts["y"], np.int8), None, None, 0)
'''
SUITE = """
name = "neighbours"
[preprocessing]
side = 32
[cv]
folds = 2
[models.knn]
family = "classical"
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]
head = { class = "neighbours:KNearest", k = 1 }
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the head's file and its suite, found as a suite beside it would be."""
    (tmp_path / "neighbours.py").write_text(NEIGHBOURS)
    (tmp_path / "mine.toml").write_text(SUITE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "neighbours", raising=False)
    return tmp_path


def test_a_new_head_runs_is_reported_exported_explained_and_tuned(
    place: Path, bench_command: Callable[..., Any], phantom_folder: Path
) -> None:
    from neighbours import KNearest  # pyright: ignore[reportMissingImports] - the file above

    from bench.explaining.subject import OCCLUSION, Subject

    check_head(KNearest)
    data = ("--suite", "mine.toml", "--data", phantom_folder)
    for command in (
        ("run", "knn", *data, "--out", "run"),
        ("report", "run", "--csv"),
        ("export", "run", "--model", "knn", "--out", "model"),
        ("predict", "model", phantom_folder / "images", "--trust-code", "--out", "answers.csv"),
        ("explain", "model", phantom_folder / "images", "--trust-code", "--out", "explained"),
        ("tune", "knn", *data, "--trials", 3, "--out", "tuned"),
        ("run", "knn", "--suite", "tuned/tuned.toml", "--data", phantom_folder, "--out", "run2"),
    ):
        done = bench_command(*command)
        assert done.returncode == 0, (command, done.stdout + done.stderr)
    (row,) = csv.DictReader((place / "run/report/tables/summary.csv").open())
    assert float(row["accuracy_mean"]) > 0.5
    with (place / "answers.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 40
    assert '"head.k" = [1, 3, 5]' in (place / "tuned/tuned.toml").read_text()
    assert len(list(csv.DictReader((place / "tuned/trials.csv").open()))) == 2 * 3

    assert (place / "explained/explanations.html").is_file()
    subject = Subject(place / "model", device="cpu", trusted=True)
    assert subject.method == OCCLUSION
    image = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    heat, other = subject.heat(image, 0), subject.random_heat(image, 0, "head", 0)
    assert heat.shape == (14, 14)
    assert other is not None


def test_a_head_of_earlier_parameter_names_is_built() -> None:
    from bench.recipes.build import Resources, build
    from bench.recipes.suite import Part

    part = Part.model_validate({"class": "baselines.boosting:XGBoost", "turn": 5})
    assert build(part, Resources(), "head").rounds_per_chunk == 5
