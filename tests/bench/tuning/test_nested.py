"""The test part decides nothing in a search."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from bench.cells.encodings import Encodings
from bench.cells.experiment import Experiment
from bench.cells.runner import Runner
from bench.data.dataset import Data
from bench.recipes.build import Resources
from bench.recipes.suite import load_suite
from bench.store.run_folder import Cell
from bench.terminal.progress import Progress
from bench.tuning.journal import open_journal
from bench.tuning.study import Budget, Tuner


def small_data(rng: np.random.Generator) -> Data:
    """Sixty images of three classes that noise nearly hides, and the one fold that there is."""
    y = np.eye(3, dtype=np.int8)[rng.integers(0, 3, 60)]
    images = rng.integers(0, 256, (60, 32, 32)).astype(np.uint8)
    images[:, :16, :16] = np.minimum(255, images[:, :16, :16] // 2 + 40 * y.argmax(axis=1)[:, None, None])
    ids = np.array([f"i{k:02d}" for k in range(60)])
    part = np.repeat(["train", "valid", "test"], [30, 15, 15])
    splits = pd.DataFrame({"image_id": ids, "repeat": 0, "fold": 0, "part": part})
    return Data(ids, images, ids, y, ("a", "b", "c"), "multiclass", True, splits, "0" * 64, 0.0)


class Seeing(Runner):
    """A runner that keeps the validation part's probabilities of each trial."""

    seen: ClassVar[list[np.ndarray]] = []

    def validate(self) -> np.ndarray:
        """As the runner does."""
        probability = super().validate()
        self.seen.append(probability)
        return probability


def outcome(data: Data, place: Path, folder: Path, model: str) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """What a search gives on data, but for its seconds: the trials, and the probabilities that they were scored by."""
    folder.mkdir()
    Seeing.seen.clear()
    spec = load_suite(str(place / "small.toml")).models[model]
    resources = Resources(task="multiclass", threads=1)
    encodings = Encodings(data.images, str(hash(data.images.tobytes())), folder / "cache", resources)
    experiment = Experiment({model: spec}, data, encodings, resources, 0)
    tuner = Tuner(open_journal(folder), experiment, Budget(trials=4), Progress(Console(quiet=True)))
    study = tuner.tune(Cell(model, 0, 0), spec)
    trials = [(trial.values, trial.status, repr(trial.score), trial.reason) for trial in study.trials]
    return trials, np.stack(Seeing.seen)  # (n_scored, n_valid, n_classes)


@pytest.mark.parametrize(
    ("model", "rounding"),
    [
        ("means", 0.0),
        ("svm", 1e-5),  # distances are taken from the mean of all images, which moves their last bits and nothing else
    ],
)
def test_the_test_part_decides_nothing(
    place: Path, tmp_path: Path, model: str, rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr("bench.cells.experiment.Runner", Seeing)
    data = small_data(np.random.default_rng(0))

    def poisoned(part: str) -> Data:
        rows = data.part(0, 0) == part
        images, y = data.images.copy(), data.y.copy()
        images[rows], y[rows] = 255 - images[rows], np.roll(y[rows], 1, axis=1)
        return replace(data, images=images, y=y)

    clean, seen = outcome(data, place, tmp_path / "clean", model)
    trials, probabilities = outcome(poisoned("test"), place, tmp_path / "test", model)
    assert trials == clean
    np.testing.assert_allclose(probabilities, seen, rtol=0, atol=rounding)
    trials, probabilities = outcome(poisoned("valid"), place, tmp_path / "valid", model)  # which may decide
    assert trials != clean
    assert abs(probabilities - seen).max() > 0.01
