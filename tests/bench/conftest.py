"""Runs with a final test, and their models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.made import Made


@pytest.fixture(scope="session")
def make(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Run models on forty phantoms of three parts, a quarter of the patients held out."""

    def run(*models: str, weights: Path | None = None) -> Made:
        folder = tmp_path_factory.mktemp("deployed")
        environment = {**os.environ, "XRAYBENCH_CACHE": str(folder / "cache"), "COLUMNS": "200"}
        environment.pop("XRAYBENCH_WEIGHTS", None)
        if weights:
            environment["XRAYBENCH_WEIGHTS"] = str(weights)
        made = Made(folder / "run", phantom_folder, environment)
        options = ("--suite", "quick", "--folds", "2", "--holdout", "0.25", "--no-pictures", "--data", phantom_folder)
        done = made.bench("run", *models, *options, "--out", made.run)
        assert done.returncode == 0, done.stdout + done.stderr
        return made

    return run


@pytest.fixture(scope="session")
def classical(make: Callable[..., Made]) -> Made:
    """A dummy, a kernel machine and trees."""
    return make("prior", "hog-svm", "hog-xgboost")


@pytest.fixture(scope="session")
def deep(make: Callable[..., Made]) -> Made:
    """A probe, a kernel machine on frozen activations, a fine-tuned network, from real ImageNet weights; and what such a network watches over."""
    return make("hog-svm", "efficientnet-probe", "efficientnet-svm", "efficientnet-finetune")
