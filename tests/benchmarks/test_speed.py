"""How fast, side by side with what others would use: ``pytest -m slow tests/benchmarks``.

Each group of the table is one task; the numbers in brackets are how many times slower a row is than the fastest. Ours runs on a
batch and on all cores, as it does in a run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from radiographs.phantom import Recipe, write_folder
from skimage.feature import hog, local_binary_pattern

from baselines.hog import HOG
from baselines.lbp import codes

pytestmark = pytest.mark.slow

Benchmark = Callable[..., Any]


@pytest.fixture(scope="module")
def images(radiographs: np.ndarray) -> np.ndarray:
    return np.concatenate([radiographs] * 5)  # (60, 224, 224) uint8


def _skimage_hog(images: np.ndarray) -> np.ndarray:
    return np.stack([hog(image, 9, (16, 16), (2, 2), block_norm="L2-Hys") for image in images])


def _skimage_lbp(images: np.ndarray, points: int, radius: int) -> np.ndarray:
    return np.stack([local_binary_pattern(image, points, radius, "uniform") for image in images])


@pytest.mark.benchmark(group="HOG, 60 images of 224 x 224, cells of 16 x 16")
@pytest.mark.parametrize("encode", [HOG(16).encode, _skimage_hog], ids=["xraybench", "scikit-image"])
def test_hog(benchmark: Benchmark, images: np.ndarray, encode: Callable[[np.ndarray], np.ndarray]) -> None:
    encode(images[:2])  # compiles
    assert len(benchmark(encode, images)) == 60


@pytest.mark.benchmark(group="LBP, 60 images of 224 x 224, 24 points, radius 3")
@pytest.mark.parametrize("encode", [codes, _skimage_lbp], ids=["xraybench", "scikit-image"])
def test_lbp(benchmark: Benchmark, images: np.ndarray, encode: Callable[..., np.ndarray]) -> None:
    encode(images[:2], 24, 3)
    assert len(benchmark(encode, images, 24, 3)) == 60


@pytest.mark.benchmark(group="phantoms: images a second are 500 and 100 by the time")
@pytest.mark.parametrize("masks", [False, True], ids=["alone", "with masks"])
@pytest.mark.parametrize(("side", "n"), [(224, 500), (1024, 100)])
def test_phantoms(benchmark: Benchmark, tmp_path: Path, side: int, n: int, masks: bool) -> None:
    places = iter(range(10))

    def write() -> Path:
        out = tmp_path / str(next(places))
        write_folder(out, Recipe(n, 0, side=side, masks=masks))
        return out

    write()  # compiles, and reads the anatomy
    out = benchmark.pedantic(write, rounds=3)
    benchmark.extra_info["images per second"] = n / benchmark.stats["min"]
    assert len([*out.glob("images/train/*.png")]) == n
