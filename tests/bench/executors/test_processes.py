"""Cells side by side: the same bytes, marked fits, and no process left behind whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

FOLDS = ("--folds", "3")
DEADLY = """
import os, signal, time
from baselines.prior import Prior

class Deadly(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        if seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y, X_valid, y_valid, seed)

class Slow(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        time.sleep(60)
"""
SUITE = """
name = "mine"
[models.prior]
head = { class = "baselines.prior:Prior" }
[models.deadly]
family = "classical"
head = { class = "deadly:Deadly" }
[models.slow]
family = "classical"
head = { class = "deadly:Slow" }
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bench.cli", "run", *map(str, arguments)]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XRAYBENCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}


def files(run: Path, name: str) -> dict[str, bytes]:
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted(run.glob(f"cells/*/*/{name}"))}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "mine.toml").write_text(SUITE)
    return tmp_path / "mine.toml"


def test_two_jobs_give_the_bytes_of_one_and_say_so(phantom_folder: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        models = ("prior", "hog-svm", "hog-xgboost", "--data", phantom_folder, *FOLDS)
        line = command(*models, "--jobs", jobs, "--out", tmp_path / f"run{jobs}")
        done = subprocess.run(line, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        cells = [json.loads(text) for text in files(tmp_path / f"run{jobs}", "cell.json").values()]
        assert [cell["status"] for cell in cells] == ["done"] * 9
        assert {cell["timings"]["jobs"] for cell in cells} == {jobs}
        assert all(cell["timings"]["predict_seconds"] for cell in cells)
        assert not [*(tmp_path / f"run{jobs}").glob(".*")]
    assert files(tmp_path / "run1", "predictions.parquet") == files(tmp_path / "run2", "predictions.parquet")
    assert files(tmp_path / "run1", "model/*") == files(tmp_path / "run2", "model/*")


def test_a_process_that_dies_fails_its_cell_alone(phantom_folder: Path, mine: Path, tmp_path: Path) -> None:
    line = command("prior", "deadly", "--suite", mine, "--data", phantom_folder, *FOLDS, "--jobs", 2, "--out", "run")
    done = subprocess.run(
        line, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    cells = {name: json.loads(text) for name, text in files(tmp_path / "run", "cell.json").items()}
    states = {name.removeprefix("cells/").removesuffix("/cell.json"): cell["status"] for name, cell in cells.items()}
    assert states.pop("deadly/r0-f1") == "failed"
    assert set(states.values()) == {"done"}
    assert "signal 9 (out of memory?" in cells["cells/deadly/r0-f1/cell.json"]["reason"]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_run(phantom_folder: Path, mine: Path, tmp_path: Path, sign: signal.Signals) -> None:
    line = command("slow", "--suite", mine, "--data", phantom_folder, *FOLDS, "--jobs", 2, "--out", "run")
    run = subprocess.Popen(line, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
    workers: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(workers) < 2:
        workers = [
            child for child in psutil.Process(run.pid).children(recursive=True) if "spawn_main" in str(child.cmdline())
        ]
        time.sleep(0.2)
    time.sleep(2)
    run.send_signal(sign)
    run.communicate(timeout=15)
    assert run.returncode == (130 if sign == signal.SIGINT else -signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
