"""A small suite with search spaces, data and a head of its own."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
SUITE = """
name = "small"
[preprocessing]
side = 32
[cv]
folds = 2
[models.prior]
head = { class = "baselines.prior:Prior" }
[models.svm]
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]
head = { class = "baselines.svm:SVM", C = [0.01], gamma = [0.01] }
[models.svm.search]
"head.C" = { low = 0.01, high = 100, log = true, as_list = true }
"head.gamma" = { low = 0.01, high = 5, log = true, as_list = true }
"encoders.0.side" = [2, 8]
[models.means]
family = "classical"
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 4 }]
head = { class = "heads:Means" }
[models.means.search]
"head.sharpness" = { low = 0.1, high = 10 }
"""
HEADS = '''
"""A head that has epochs, whose later trials are worse from the start, and that may be told to hang or to interrupt."""
import time
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent


class Means:
    def __init__(self, sharpness=5.0, on_epoch=None):
        self.sharpness, self.on_epoch = sharpness, on_epoch

    def fit(self, X, y, X_valid, y_valid, seed):
        self.means_ = np.stack([X[y[:, k] == 1].mean(axis=0) for k in range(y.shape[1])])
        for epoch in range(1, 4):
            if self.on_epoch:
                loss = abs(self.sharpness - 5)
                self.on_epoch({"epoch": epoch, "epochs": 3, "train_loss": loss, "valid_loss": loss, "seconds": 0.0})
        if (HERE / "interrupt").exists() and self.sharpness != 5.0:
            raise KeyboardInterrupt
        if (HERE / "hang").exists() and self.sharpness != 5.0:
            (HERE / "hangs").touch()
            time.sleep(60)
        return self

    def predict_proba(self, X):
        distance = ((X[:, None] - self.means_) ** 2).mean(axis=2)
        return np.exp(-self.sharpness * distance / distance.mean())
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> Path:
    """A folder with data, a suite, its own head, and a cache that the tests share."""
    place = tmp_path_factory.mktemp("tune")
    shutil.copytree(phantom_folder, place / "data")
    (place / "small.toml").write_text(SUITE)
    (place / "heads.py").write_text(HEADS)
    return place


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """A test of another file has a `heads` of its own."""
    yield
    sys.modules.pop("heads", None)


@pytest.fixture
def command(bench_command: Command, place: Path) -> Command:
    """Run a command on the data and the suite of `place`."""

    def run(name: str, *arguments: object, suite: Path = place / "small.toml") -> Any:
        given = ("--suite", suite, "--data", place / "data")
        return bench_command(name, *arguments, *given, cache=place / "cache")

    return run
