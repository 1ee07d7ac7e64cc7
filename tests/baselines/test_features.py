"""HOG and LBP give scikit-image's numbers."""

import numpy as np
import pytest
from skimage.feature import hog, local_binary_pattern

from baselines.hog import HOG, _edges, _polar
from baselines.lbp import LBP, codes
from baselines.thumbnail import Thumbnail


@pytest.fixture(params=["radiographs", "noise", "flat", "odd size"])
def images(request: pytest.FixtureRequest, radiographs: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return {
        "radiographs": radiographs,
        "noise": rng.integers(0, 256, (3, 64, 64), np.uint8),
        "flat": np.full((2, 64, 64), 77, np.uint8),
        "odd size": rng.integers(0, 256, (2, 67, 81), np.uint8),
    }[request.param]


@pytest.mark.parametrize(("cell", "block", "orientations"), [(8, 2, 9), (16, 2, 9), (8, 3, 12), (10, 1, 1)])
def test_hog_is_scikit_images_hog(images: np.ndarray, cell: int, block: int, orientations: int) -> None:
    expected = [hog(image, orientations, (cell, cell), (block, block), block_norm="L2-Hys") for image in images]
    assert np.abs(HOG(cell, block, orientations).encode(images) - np.stack(expected)).max() < 1e-5


@pytest.mark.parametrize("orientations", [2, 3, 4, 6, 8, 9, 12, 18])
def test_every_gradient_of_bytes_falls_into_scikit_images_bin(orientations: int) -> None:
    difference = np.arange(-255, 256)
    angle = np.rad2deg(np.arctan2(difference[:, None], difference[None, :])) % 180
    expected = np.searchsorted(180 / orientations * np.arange(1, orientations + 1), angle, side="right")
    down, across = (a.ravel().astype(np.float32) for a in np.meshgrid(difference, difference, indexing="ij"))
    magnitude, bins = np.empty_like(down), np.empty_like(down)
    _polar(down, across, magnitude, _edges(orientations), bins)
    wrong = (bins != expected.ravel()) & (magnitude > 0)
    assert not wrong.any()


@pytest.mark.parametrize(("points", "radius"), [(8, 1), (8, 2), (24, 3), (16, 2.5)])
def test_lbp_codes_are_scikit_images_codes(images: np.ndarray, points: int, radius: float) -> None:
    expected = np.stack([local_binary_pattern(image, points, radius, "uniform") for image in images])
    assert (codes(images, points, radius) == expected).all()


def test_lbp_histograms_count_codes_per_region(radiographs: np.ndarray) -> None:
    found = LBP(8, 1, grid=4, root=False).encode(radiographs[:2]).reshape(2, 4, 4, 10)
    quarter = codes(radiographs[:2], 8, 1)[1, 56:112, 112:168]
    assert found[1, 1, 2] == pytest.approx(np.bincount(quarter.ravel(), minlength=10) / 56**2)


def test_an_image_that_holds_no_block_is_refused_by_size() -> None:
    with pytest.raises(ValueError, match="16 x 16 images hold no block"):
        HOG(16).encode(np.zeros((1, 16, 16), np.uint8))


def test_a_thumbnail_is_the_area_average() -> None:
    image = np.zeros((1, 32, 32), np.uint8)
    image[0, :16] = 255
    assert Thumbnail(2).encode(image).tolist() == [[1, 1, 0, 0]]
