"""The pictures that a run keeps for its report, and a run without any."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

Command = Callable[..., Any]


def test_a_run_keeps_a_small_picture_of_every_image_unless_told_not_to(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    arguments = ("run", "prior", "--data", phantom_folder, "--folds", 3)
    cache = tmp_path / "cache"
    assert bench_command(*arguments, "--out", tmp_path / "with", cache=cache).returncode == 0
    manifest = pd.read_parquet(tmp_path / "with" / "manifest.parquet")
    used = manifest[manifest["status"] == "ok"]
    table = pd.read_parquet(tmp_path / "with" / "thumbnails.parquet")
    assert table["image_id"].tolist() == used["image_id"].tolist()
    for picture, mean in zip(table["webp"], used["grey_mean"], strict=True):
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert image.shape == (112, 112)
        assert abs(image.mean() - mean) < 4
    assert (used["grey_sd"] > 0).all()
    assert bench_command(*arguments, "--no-pictures", "--out", tmp_path / "without", cache=cache).returncode == 0
    assert not (tmp_path / "without" / "thumbnails.parquet").exists()
    assert not (tmp_path / "without" / "samples").exists()
    report = bench_command("report", tmp_path / "without", "--html")
    assert report.returncode == 0, report.stderr
