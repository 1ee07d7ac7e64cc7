"""What every room's tests share: the real radiographs and weights, and small data made on the spot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # test processes side by side: who waits lets the others work
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
    from radiographs.phantom import Recipe, write_folder

    out = tmp_path_factory.mktemp("phantom") / "data"
    write_folder(out, Recipe(40, 3, side=256, parts=("Chest", "Hand", "Knee")))
    return out


@pytest.fixture(scope="session")
def radiographs(phantom_folder: Path) -> np.ndarray:
    """Preprocessed phantoms, (12, 224, 224) uint8."""
    from radiographs.preprocess import Preprocessing
    from radiographs.read import read_picture

    files = sorted((phantom_folder / "images" / "train").iterdir())[:12]
    return np.stack([Preprocessing().apply(read_picture(f).grey) for f in files])


@dataclass(frozen=True)
class Finished:
    """What a command printed and returned."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def bench_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """Run a command as the shell would, in an empty folder with its own cache, but in this process: its libraries load once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("XRAYBENCH_WEIGHTS", raising=False)

    def run(*arguments: object, cache: Path = tmp_path / "cache") -> Finished:
        from bench.cli import invoke

        monkeypatch.setenv("XRAYBENCH_CACHE", str(cache))
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        paths = list(sys.path)
        capsys.readouterr()
        try:
            code = invoke([str(a) for a in arguments])
        finally:  # as a new process would: the next command may have a suite with classes of the same names beside it
            added = [path for path in sys.path if path not in paths]
            sys.path[:] = paths
            for name, module in list(sys.modules.items()):
                if str(Path(getattr(module, "__file__", None) or "/").parent) in added:
                    del sys.modules[name]
        out, err = capsys.readouterr()
        return Finished(code, out, err)

    return run
