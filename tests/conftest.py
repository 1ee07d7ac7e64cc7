"""What every room's tests share: the real radiographs and weights, and small data made on the spot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("XRAYBENCH_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with data/unifesp, data/mednist and weights; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no shared data at {SHARED}: set XRAYBENCH_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def weights_dir(shared: Path) -> Path:
    """Folder with SqueezeNet's real ImageNet weights."""
    return shared / "weights"


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty simulated radiographs of three parts in Kaggle's layout."""
    from radiographs.phantom import write_folder

    out = tmp_path_factory.mktemp("phantom") / "data"
    write_folder(out, 40, seed=3, side=256, only=["Chest", "Hand", "Knee"])
    return out


@pytest.fixture(scope="session")
def radiographs(phantom_folder: Path) -> np.ndarray:
    """Preprocessed phantoms, (12, 224, 224) uint8."""
    from radiographs.preprocess import Preprocessing
    from radiographs.read import read_picture

    files = sorted((phantom_folder / "images" / "train").iterdir())[:12]
    return np.stack([Preprocessing().apply(read_picture(f).grey) for f in files])


@pytest.fixture
def bench_command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command in an empty folder with its own cache; returns the finished process."""

    def run(*arguments: object, cache: Path = tmp_path / "cache") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "XRAYBENCH_CACHE": str(cache), "COLUMNS": "200"}
        environment.pop("XRAYBENCH_WEIGHTS", None)
        command = [sys.executable, "-m", "bench.cli", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=500
        )

    return run
