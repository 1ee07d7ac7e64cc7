"""One picture in several guises is found, other pictures of the same part are not, and the work does not explode."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from radiographs.audit import duplicates
from radiographs.audit.duplicates import (
    Pair,
    candidates,
    fingerprints,
    known_near_duplicates,
    merge_groups,
    near_duplicates,
)
from radiographs.preprocess import Preprocessing
from radiographs.read import read_picture

GUISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "encoded again": lambda grey: cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0),
    "half the size": lambda grey: cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda grey: (255 * (grey / 255.0) ** 0.6).astype(np.uint8),
    "darker": lambda grey: (255 * (grey / 255.0) ** 1.6).astype(np.uint8),
    "cropped": lambda grey: grey[len(grey) // 20 : -len(grey) // 20, grey.shape[1] // 20 : -grey.shape[1] // 20],
}
LEAST = {"encoded again": 0.97, "half the size": 0.97, "brighter": 0.9, "darker": 0.9, "cropped": 0.85}


@pytest.fixture(scope="module")
def pictures(phantom_folder: Path) -> list[np.ndarray]:
    """Forty simulated radiographs of three parts as they stand in their files, 8 bits."""
    return [read_picture(file).grey for file in sorted(phantom_folder.rglob("*.png"))]


@pytest.fixture(scope="module")
def real(shared: Path) -> list[np.ndarray]:
    files = sorted((shared / "data/unifesp").rglob("*.png"))[::8]
    return [read_picture(file).grey for file in files]


def preprocessed(pictures: list[np.ndarray]) -> np.ndarray:
    return np.stack([Preprocessing().apply(grey) for grey in pictures])


@pytest.mark.shared
@pytest.mark.parametrize("guise", GUISES)
def test_real_pictures_in_another_guise_are_found_and_no_others(real: list[np.ndarray], guise: str) -> None:
    n = len(real)
    images = np.concatenate([preprocessed(real), preprocessed([GUISES[guise](grey) for grey in real])])
    found = {(pair.a, pair.b) for pair in near_duplicates(images, workers=2)}
    twins = {(i, n + i) for i in range(n)}
    assert len(found & twins) >= LEAST[guise] * n
    strangers = {(a % n, b % n) for a, b in found - twins} - {(i, i) for i in range(n)}
    assert len(strangers) <= 0.01 * n


@pytest.mark.parametrize("guise", GUISES)
def test_simulated_pictures_in_another_guise_are_found(pictures: list[np.ndarray], guise: str) -> None:
    n = len(pictures)
    images = np.concatenate([preprocessed(pictures), preprocessed([GUISES[guise](grey) for grey in pictures])])
    found = {(pair.a, pair.b) for pair in near_duplicates(images)}
    assert len(found & {(i, n + i) for i in range(n)}) >= 0.7 * n
    assert near_duplicates(images) == near_duplicates(images, workers=3)


def test_the_number_of_candidates_grows_with_the_number_of_images_and_not_with_its_square() -> None:
    rng = np.random.default_rng(0)
    counts = []
    for n in (2_000, 8_000):
        centers = rng.random((40, 128)) < 0.5  # as forty body parts, alike among themselves
        bits = centers[rng.integers(40, size=n)] ^ (rng.random((n, 128)) < 0.06)
        counts.append(len(candidates(bits)))
        assert counts[-1] <= duplicates.NEAREST * n
    assert counts[1] < 6 * counts[0]


def test_identical_fingerprints_are_candidates_however_many_there_are() -> None:
    bits = np.zeros((500, 128), dtype=bool)
    found = candidates(bits)
    assert {row for pair in found for row in pair} == set(range(500))
    assert len(found) <= duplicates.NEAREST * 500
    assert candidates(bits[:1]) == set()


def test_blank_pictures_are_like_nothing() -> None:
    blank = np.zeros((3, 64, 64), np.uint8)
    assert near_duplicates(blank) == []
    assert fingerprints(blank).shape == (3, 128)


def test_groups_are_joined_through_chains() -> None:
    groups = pd.Series(["a", "b", "c", "d", "b"])
    merged = merge_groups(groups, [Pair(0, 1, 1.0), Pair(4, 2, 0.95)])
    assert merged.tolist() == ["a", "a", "a", "d", "a"]


def test_what_was_found_is_kept_and_a_damaged_file_is_made_again(pictures: list[np.ndarray], tmp_path: Path) -> None:
    images = preprocessed([*pictures[:4], pictures[0]])
    first = known_near_duplicates(images, "digest", tmp_path, workers=1)
    assert [(pair.a, pair.b) for pair in first] == [(0, 4)]
    (kept,) = (tmp_path / "near").iterdir()
    assert known_near_duplicates(images[:0], "digest", tmp_path, workers=1) == first
    kept.write_text("junk")
    assert known_near_duplicates(images, "digest", tmp_path, workers=1) == first
