"""The real command is killed at random times, again and again; the run that follows gives what an undisturbed one gives.

By default one run and three kills. The long form, 25 runs and 100 kills: ``pytest -m slow tests/faults/test_kills.py``.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.injection import SUITE, contents, leftovers

COMMAND = [sys.executable, "-m", "bench.cli", "run", "--all", "--suite", "small.toml", "--data", "data", "--out", "run"]
LONG_RUNS, LONG_KILLS = 25, 4


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> tuple[Path, dict[str, bytes], float]:
    """Data and suite, what a run gives that nothing happens to, and how long it takes."""
    place = tmp_path_factory.mktemp("kills")
    shutil.copytree(phantom_folder, place / "pristine" / "data")
    (place / "pristine" / "small.toml").write_text(SUITE)
    shutil.copytree(place / "pristine", place / "whole")
    start = time.monotonic()
    done = subprocess.run(
        COMMAND, cwd=place / "whole", env=environment(place / "whole"), check=True, capture_output=True
    )
    assert b"4 cells computed" in done.stdout
    return place, contents(place / "whole" / "run"), time.monotonic() - start


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XRAYBENCH_CACHE": str(folder / "cache")}


def survive(place: Path, expected: dict[str, bytes], whole: float, kills: int, seed: int) -> int:
    """Kill one run so often, then let it end; the number of kills that met it alive."""
    rng, met = random.Random(seed), 0
    shutil.rmtree(place / "run", ignore_errors=True)
    shutil.copytree(place / "pristine", place / "run")
    folder = place / "run"
    for _ in range(kills):
        before = finished(folder)
        with subprocess.Popen(COMMAND, cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL) as process:
            time.sleep(rng.uniform(0.3, 1.0) * whole)
            met += process.poll() is None
            process.kill()
        assert before.items() <= finished(folder).items()  # no finished cell is lost or computed again
    before = finished(folder)
    done = subprocess.run(COMMAND, cwd=folder, env=environment(folder), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert before.items() <= finished(folder).items()
    assert contents(folder / "run") == expected
    assert not leftovers(folder)
    return met


def finished(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.glob("run/cells/*/r*/cell.json")}


def test_a_run_survives_kills(undisturbed: tuple[Path, dict[str, bytes], float]) -> None:
    survive(*undisturbed, kills=3, seed=0)


@pytest.mark.slow
def test_many_runs_survive_many_kills(undisturbed: tuple[Path, dict[str, bytes], float]) -> None:
    met = sum(survive(*undisturbed, kills=LONG_KILLS, seed=seed) for seed in range(LONG_RUNS))
    print(f"\n{LONG_RUNS} runs, {LONG_RUNS * LONG_KILLS} kills, {met} of them while the run lived: nothing lost")
