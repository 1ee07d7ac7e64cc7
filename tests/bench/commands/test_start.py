"""What the command answers without a run: lists, a quick start, and rooms that work on their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]


def test_lists_and_doctor_answer(bench_command: Command) -> None:
    assert "hog-svm" in bench_command("list", "models").stdout
    assert "kaggle competitions download" in bench_command("list", "datasets").stdout
    assert "standard" in bench_command("list", "suites").stdout
    assert "no run below runs/" in bench_command("list", "runs").stdout
    assert "scikit-learn" in bench_command("doctor").stdout
    assert bench_command("report").returncode == 2


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = "import sys, bench.cli; print([m for m in ('torch', 'xgboost', 'sklearn', 'pandas', 'numba', 'altair') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize(
    ("room", "absent"),
    [
        ("deep.finetune, deep.frozen, deep.probe", ("xgboost", "skimage", "sklearn")),
        ("baselines.hog, baselines.svm, baselines.boosting", ("torch", "torchvision", "timm")),
        ("reports.pages.report, reports.runs.results", ("torch", "sklearn", "xgboost")),
    ],
)
def test_each_room_works_without_the_others_packages(room: str, absent: tuple[str, ...]) -> None:
    code = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {absent!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import {room}
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_no_package_reports_its_use() -> None:
    pytest.importorskip("mlflow")
    code = (
        "import sys, bench.cli\n"
        "sys.argv = ['bench', '--version']\n"
        "try:\n    bench.cli.main()\nexcept SystemExit:\n    pass\n"
        "from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(HF_HUB_DISABLE_TELEMETRY, is_telemetry_disabled())"
    )
    plain = {
        key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ
    }  # MLflow is silent under pytest by itself
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True True"
