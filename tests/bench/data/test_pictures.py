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


THIN = {"a": (1, 5000), "b": (5000, 1), "c": (1, 1), "d": (2, 3), "e": (3, 40_000), "f": (40_000, 3), "g": (1, 300)}


def test_pictures_of_any_shape_are_checked_and_run(bench_command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape in THIN.items():
        for k in range(3):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / f"data/{name}/{k}.png"), rng.integers(0, 255, shape, np.uint8))
    checked = bench_command("data", "check", tmp_path / "data", "--html", tmp_path / "check.html")
    assert "Very long pictures" in checked.stdout, checked.stderr
    run = bench_command("run", "prior", "hog-svm", "--data", tmp_path / "data", "--folds", 2, "--out", tmp_path / "run")
    assert run.returncode == 0, run.stdout + run.stderr
    before = sorted((tmp_path / "run" / "samples").glob("*-before.png"))
    assert before
    assert all(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).size for file in before)


def test_every_place_that_makes_pictures_smaller_leaves_a_pixel_of_each_side() -> None:
    from radiographs.audit.lettering import letters
    from radiographs.preprocess import Preprocessing, shrunk

    from bench.data.pictures import thumbnail
    from bench.explaining.overlay import picture

    rng = np.random.default_rng(0)
    for shape in THIN.values():
        image = rng.integers(0, 255, shape, np.uint8)
        small = shrunk(image, 224)
        assert max(small.shape) == min(224, max(shape))
        assert min(small.shape) >= 1
        assert cv2.imdecode(np.frombuffer(picture(image), np.uint8), cv2.IMREAD_GRAYSCALE).shape == small.shape
        assert picture(image, rng.random((7, 7)))
        assert thumbnail(image)
        assert letters(image) == 0
        for settings in (Preprocessing(), Preprocessing(shape="stretch", clahe=True, denoise="median", side=32)):
            assert settings.apply(image).shape == (settings.side, settings.side)
