"""The shared preprocessing: sizes, windowing, and a crop that never cuts anatomy."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from radiographs.preprocess import Preprocessing, exposed_field, to_uint8
from radiographs.read import read_picture
from skimage.filters import gaussian, median


def hand(height: int = 400, width: int = 300) -> np.ndarray:
    """A bright textured shape on a dark plate."""
    rng = np.random.default_rng(0)
    image = np.full((height, width), 30, np.uint8)
    image[120:300, 90:210] = rng.integers(100, 250, (180, 120))
    return image


@pytest.mark.parametrize("shape", ["pad", "stretch"])
@pytest.mark.parametrize("size", [(40, 30), (30, 400), (224, 224), (1000, 700)])
def test_every_size_becomes_a_square_of_bytes(shape: str, size: tuple[int, int]) -> None:
    found = Preprocessing(shape=shape).apply(np.random.default_rng(0).integers(0, 65536, size).astype(np.uint16))
    assert found.shape == (224, 224)
    assert found.dtype == np.uint8


def test_padding_keeps_the_aspect_ratio() -> None:
    circle = cv2.circle(np.zeros((300, 600), np.uint8), (300, 150), 100, 255, -1)
    found = Preprocessing(crop=False).apply(circle) > 127
    assert abs(found.any(axis=0).sum() - found.any(axis=1).sum()) <= 1


def test_eight_and_sixteen_bits_of_one_picture_give_the_same_pixels() -> None:
    eight = hand()
    sixteen = eight.astype(np.uint16) * 257
    assert np.abs(Preprocessing().apply(eight).astype(int) - Preprocessing().apply(sixteen)).max() <= 1


def test_one_dead_pixel_does_not_set_the_window() -> None:
    image = np.tile(np.linspace(1000, 2000, 500), (500, 1)).astype(np.uint16)
    image[0, 0] = 65535
    assert np.percentile(to_uint8(image), 90) > 220


def test_a_blank_picture_becomes_black() -> None:
    assert (Preprocessing().apply(np.full((50, 60), 1234, np.uint16)) == 0).all()


def test_the_crop_takes_the_border_and_nothing_of_the_shape() -> None:
    top, bottom, left, right = exposed_field(hand())
    assert top <= 120 < 300 <= bottom
    assert left <= 90 < 210 <= right
    assert (bottom - top) < 195
    assert (right - left) < 135


def test_a_side_marker_in_the_border_does_not_keep_the_border() -> None:
    image = hand()
    image[20:25, 20:25] = 255
    assert exposed_field(image)[0] > 100


def test_a_uniform_picture_is_not_cropped() -> None:
    assert exposed_field(np.full((80, 90), 7, np.uint8)) == (0, 80, 0, 90)


def test_cropping_real_radiographs_leaves_the_contrast_inside(shared: Path) -> None:
    files = sorted((shared / "data/unifesp/images/train").iterdir())[::20]
    cut = 0
    for file in files:
        image = to_uint8(read_picture(file).grey)
        top, bottom, left, right = exposed_field(image)
        assert 0 <= top < bottom <= image.shape[0]
        edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 2), cv2.CV_32F))
        inside = edges[top:bottom, left:right].sum()
        assert inside > 0.85 * edges.sum(), file.name
        cut += (bottom - top) * (right - left) < 0.9 * image.size
    assert cut > len(files) / 5


def test_noise_reduction_is_scikit_images(radiographs: np.ndarray) -> None:
    image = radiographs[0]
    settings = {"crop": False, "normalise": False}
    assert (
        Preprocessing(denoise="median", **settings).apply(image) == median(image, np.ones((3, 3)), mode="nearest")
    ).mean() > 0.999
    blurred = gaussian(image, 1, preserve_range=True, truncate=4)
    assert (
        np.abs(Preprocessing(denoise="gaussian", **settings).apply(image)[4:-4, 4:-4] - blurred[4:-4, 4:-4]).max()
        <= 1.5
    )


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError):
        Preprocessing(denoise="magic")
    with pytest.raises(ValidationError):
        Preprocessing(sides=3)
