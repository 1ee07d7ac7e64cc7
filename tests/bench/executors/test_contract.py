"""What every executor promises, tried on all of them: in this process, in processes of it, and on Dask workers that are real processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from radiographs.disk import sha256
from rich.console import Console

from bench.cells.encodings import Encodings
from bench.cells.experiment import Experiment
from bench.cells.record import CellResult
from bench.data.dataset import Data
from bench.executors.executor import Executor
from bench.executors.loop import SerialExecutor
from bench.executors.processes import ProcessExecutor
from bench.recipes.build import Resources
from bench.recipes.suite import load_suite
from bench.store.run_folder import Cell
from bench.terminal.progress import Progress

SUITE = """
name = "contract"
[models.prior]
head = { class = "baselines.prior:Prior" }
[models.svm]
mirror = true
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 4 }]
head = { class = "baselines.svm:SVM", C = [1], gamma = [1] }
[models.landmarks]
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 4 }]
head = { class = "baselines.svm:SVM", C = [1], gamma = [1], exact_up_to = 4, landmarks = 12 }
[models.pixels]
family = "classical"
head = { class = "contract_heads:Pixels" }
[models.failing]
family = "classical"
head = { class = "contract_heads:Failing" }
[models.slow]
family = "classical"
head = { class = "contract_heads:Slow" }
[models.deadly]
family = "classical"
head = { class = "contract_heads:Deadly" }
"""
HEADS = '''
"""Heads that read pixels, fail, take too long, or take their process along, in the second fold."""
import os
import signal
import time
import numpy as np
from baselines.prior import Prior


class Pixels:
    def fit(self, X, y, X_valid, y_valid, seed):
        self.mean_, self.share_ = float(X.mean()), y.mean(axis=0)
        return self

    def predict_proba(self, X):
        return np.clip(self.share_ * (X.mean(axis=(1, 2)) / self.mean_)[:, None], 0, 1)


class Failing(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        if seed == 1:
            raise ValueError("cannot  be\\nfitted")
        return super().fit(X, y, X_valid, y_valid, seed)


class Slow(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        if seed == 1:
            time.sleep(120)
        return super().fit(X, y, X_valid, y_valid, seed)


class Deadly(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        if seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y, X_valid, y_valid, seed)
'''
Make = Callable[[Experiment, float | None], Executor]


def progress() -> Progress:
    return Progress(Console(quiet=True))


def serial(experiment: Experiment, timeout: float | None) -> Executor:
    assert timeout is None, "the session takes processes where there is a time limit"
    return SerialExecutor(experiment, progress())


def processes(experiment: Experiment, timeout: float | None) -> Executor:
    scratch = experiment.encodings.cache.parent / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return ProcessExecutor(experiment, 2, scratch, progress(), timeout=timeout)


def dask(experiment: Experiment, timeout: float | None) -> Executor:
    pytest.importorskip("distributed")
    from bench.cluster.config import Plan
    from bench.cluster.executor import DaskExecutor

    return DaskExecutor(experiment, Plan(local=2), progress(), timeout=timeout)


EXECUTORS = [serial, processes, dask]
SEPARATE = [processes, dask]  # a cell can take its process along


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Experiment]:
    """Sixty images of three classes in two folds, mapped from a file, and the suite above."""
    rng = np.random.default_rng(0)
    y = np.eye(3, dtype=np.int8)[rng.integers(0, 3, 60)]
    images = np.memmap(tmp_path / "images.raw", np.uint8, "w+", shape=(60, 16, 16))
    images[:] = rng.integers(0, 256, images.shape) // 2 + 40 * y.argmax(axis=1)[:, None, None]
    images.flush()
    ids = np.array([f"i{k:02d}" for k in range(60)])
    part = np.repeat(["train", "valid", "test"], [30, 15, 15])
    folds = [pd.DataFrame({"image_id": ids, "repeat": 0, "fold": k, "part": np.roll(part, 30 * k)}) for k in range(2)]
    data = Data(ids, images, ids, y, ("a", "b", "c"), "multiclass", True, pd.concat(folds), "0" * 64, 0.0)
    (tmp_path / "contract_heads.py").write_text(HEADS)
    (tmp_path / "contract.toml").write_text(SUITE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    resources = Resources(task="multiclass", device="cpu", threads=2)
    encodings = Encodings(images, sha256(tmp_path / "images.raw"), tmp_path / "cache", resources)
    yield Experiment(load_suite(str(tmp_path / "contract.toml")).models, data, encodings, resources, 0)
    sys.modules.pop("contract_heads", None)


def cells(*models: str) -> list[Cell]:
    return [Cell(model, 0, fold) for model in models for fold in range(2)]


def results(executor: Executor, wanted: list[Cell]) -> dict[Cell, CellResult]:
    found = list(executor.run(wanted))
    assert len(found) == len(wanted)
    return dict(found)


def children() -> list[psutil.Process]:
    tracker = "resource_tracker"
    return [p for p in psutil.Process().children(recursive=True) if tracker not in " ".join(p.cmdline())]


@pytest.mark.parametrize("make", SEPARATE)
def test_the_same_cells_give_the_same_predictions_bit_for_bit(make: Make, experiment: Experiment) -> None:
    wanted = cells("prior", "svm", "landmarks", "pixels")
    alone, found = results(serial(experiment, None), wanted), results(make(experiment, None), wanted)
    assert set(found) == set(wanted)
    for cell, result in found.items():
        expected = alone[cell]
        assert result.record["status"] == "done", result.record["reason"]
        assert result.predictions is not None
        assert expected.predictions is not None
        pd.testing.assert_frame_equal(result.predictions, expected.predictions, check_exact=True)
        for key in ("key", "provenance", "chosen", "n_parameters", "n_train", "n_valid", "n_test", "model_bytes"):
            assert result.record[key] == expected.record[key]


@pytest.mark.parametrize("make", EXECUTORS)
def test_a_failing_cell_is_a_record_and_the_others_finish(make: Make, experiment: Experiment) -> None:
    found = results(make(experiment, None), cells("failing", "prior"))
    failed = found.pop(Cell("failing", 0, 1))
    assert (failed.record["status"], failed.record["reason"]) == ("failed", "ValueError: cannot be fitted")
    assert "contract_heads" in failed.record["traceback"]
    assert failed.predictions is None
    assert {result.record["status"] for result in found.values()} == {"done"}


@pytest.mark.parametrize("make", SEPARATE)
def test_a_cell_over_its_time_limit_has_failed_and_the_others_finish(make: Make, experiment: Experiment) -> None:
    found = results(make(experiment, 5.0), cells("slow", "prior"))
    failed = found.pop(Cell("slow", 0, 1))
    assert (failed.record["status"], failed.record["reason"]) == (
        "failed",
        "it took longer than --timeout 5 (seconds)",
    )
    assert {result.record["status"] for result in found.values()} == {"done"}


@pytest.mark.parametrize(("make", "reason"), [(processes, "its process ended with signal 9"), (dask, "its worker died three times (last: worker")])  # fmt: skip
def test_a_cell_that_takes_its_process_along_has_failed_and_says_so(
    make: Make, reason: str, experiment: Experiment
) -> None:
    found = results(make(experiment, None), cells("deadly", "prior"))
    failed = found.pop(Cell("deadly", 0, 1))
    assert failed.record["status"] == "failed"
    assert failed.record["reason"].startswith(reason)
    assert {result.record["status"] for result in found.values()} == {"done"}


@pytest.mark.parametrize("make", EXECUTORS)
def test_an_interruption_leaves_no_process_behind(make: Make, experiment: Experiment) -> None:
    before = set(children())
    running = make(experiment, None).run(cells("prior", "slow"))
    next(running)
    with suppress(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    deadline = time.monotonic() + 20
    while set(children()) - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not set(children()) - before


@pytest.mark.parametrize("make", EXECUTORS)
def test_a_record_says_how_many_cells_shared_the_machine(make: Make, experiment: Experiment) -> None:
    (result,) = results(make(experiment, None), [Cell("prior", 0, 0)]).values()
    jobs = result.record["timings"]["jobs"]
    assert jobs == (1 if make is serial else 2)
    warned = any("computed on worker" in warning for warning in result.record["warnings"])
    assert warned == (make is dask)


@pytest.mark.parametrize("make", EXECUTORS)
def test_without_cells_nothing_is_started(make: Make, experiment: Experiment) -> None:
    before = set(children())
    assert list(make(experiment, None).run([])) == []
    assert set(children()) == before
