"""The same data, suite and seed give the same bytes: whatever the folder, the language, the clock, the threads and the order of files."""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.injection import contents

MODELS = ("prior", "hog-svm", "hog-xgboost")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def run(folder: Path, data: Path, **environment: str) -> str:
    command = [
        sys.executable,
        "-m",
        "bench.cli",
        "run",
        *MODELS,
        "--data",
        str(data),
        "--folds",
        "2",
        "--out",
        "run",
    ]
    whole = {**os.environ, "XRAYBENCH_CACHE": str(folder / "cache"), **environment}
    folder.mkdir(exist_ok=True)
    done = subprocess.run(command, cwd=folder, env=whole, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("first")
    run(folder, phantom_folder)
    return folder


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "7", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "tr_TR.UTF-8"},
        ONE_THREAD,
    ],
    ids=["environment", "one thread"],
)
def test_a_clean_run_elsewhere_gives_the_same_bytes(
    first: Path, phantom_folder: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    run(tmp_path / "elsewhere", phantom_folder, **environment)
    assert contents(tmp_path / "elsewhere/run") == contents(first / "run")


def test_the_order_of_files_does_not_matter(first: Path, phantom_folder: Path, tmp_path: Path) -> None:
    files = [p for p in phantom_folder.rglob("*") if p.is_file()]
    random.Random(0).shuffle(files)
    for path in files:
        place = tmp_path / "shuffled" / path.relative_to(phantom_folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    run(tmp_path / "elsewhere", tmp_path / "shuffled")
    assert contents(tmp_path / "elsewhere/run") == contents(first / "run")


def test_a_run_with_nothing_to_do_changes_no_byte_and_loads_nothing_heavy(first: Path, phantom_folder: Path) -> None:
    def tree() -> dict[str, tuple[int, bytes]]:
        places = (first / "run", first / "cache")
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for f in places for p in f.rglob("*") if p.is_file()}

    before = tree()
    code = "import sys, bench.cli; bench.cli.invoke(sys.argv[1:]); print('loaded', sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'sklearn', 'xgboost', 'numba'}))"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        *MODELS,
        "--data",
        str(phantom_folder),
        "--folds",
        "2",
        "--out",
        "run",
    ]
    environment = {**os.environ, "XRAYBENCH_CACHE": str(first / "cache")}
    done = subprocess.run(command, cwd=first, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"0 cells computed, 6 kept", done.stdout)
    assert "loaded []" in done.stdout
    assert tree() == before
