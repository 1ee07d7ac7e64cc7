"""Dense RootSIFT and Fisher vectors, against plain references that follow the papers line by line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import convolve1d
from scipy.special import logsumexp

from baselines import fisher
from baselines.fisher import Dictionary, FisherVector, Sampling, learn_dictionary, read_dictionary, sample_descriptors
from baselines.sift import Grid, grids, root_sift, window


@pytest.fixture
def images() -> np.ndarray:
    """Three smooth pictures with edges, and one that is black but for a corner."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 96, 80))
    smooth = convolve1d(convolve1d(noise, np.ones(9) / 9, axis=1), np.ones(9) / 9, axis=2)
    found = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    found[3, 20:], found[3, :, 20:] = 0, 0
    return found


@pytest.fixture
def dictionary(images: np.ndarray) -> Dictionary:
    """A small one."""
    sampling = Sampling(cells=(3, 4), step=5)
    return learn_dictionary(sample_descriptors(images, sampling, 0), sampling, 6, 4, 0, {})


def plain_sift(image: np.ndarray, grid: Grid, blur: float) -> np.ndarray:
    """Return RootSIFT with a loop over descriptors and cells, in float64."""
    at = np.arange(-math.ceil(3 * blur), math.ceil(3 * blur) + 1)
    kernel = np.exp(-(at**2) / (2 * blur**2))
    grey = image.astype(float)
    for axis in (0, 1):
        grey = convolve1d(grey, kernel / kernel.sum(), axis=axis, mode="nearest")
    padded = np.pad(grey, 1, mode="edge")
    dr, dc = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2, (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    turn = np.arctan2(dr, dc) * 8 / (2 * math.pi) % 8
    apart = np.abs(turn[..., None] - np.arange(8))
    maps = np.hypot(dr, dc)[..., None] * np.clip(1 - np.minimum(apart, 8 - apart), 0, None)
    triangle = (grid.cell - np.abs(np.arange(1 - grid.cell, grid.cell))) / grid.cell**2
    for axis in (0, 1):
        maps = convolve1d(maps, triangle, axis=axis, mode="constant")
    found = []
    for row in grid.rows:
        for column in grid.columns:
            cells = [
                maps[row + i * grid.cell, column + j * grid.cell] * window()[i, j] for i in range(4) for j in range(4)
            ]
            values = np.concatenate(cells)
            values = np.minimum(values / max(np.linalg.norm(values), 1e-12), 0.2)
            found.append(np.sqrt(values / max(values.sum(), 1e-12)))
    return np.array(found)


def plain_fisher(dictionary: Dictionary, X: np.ndarray) -> np.ndarray:
    """Return the improved Fisher vector of one region, equations 16 to 18 of Sánchez et al. (2013), in float64."""
    weights, means, deviations = (
        np.asarray(each, float) for each in (dictionary.weights, dictionary.means, dictionary.deviations)
    )
    z = (X[:, None] - means) / deviations  # (n, k, d)
    log = np.log(weights) - 0.5 * (z**2).sum(2) - np.log(deviations * math.sqrt(2 * math.pi)).sum(1)
    q = np.exp(log - logsumexp(log, axis=1, keepdims=True))
    first = np.einsum("nk,nkd->kd", q, z) / (len(X) * np.sqrt(weights)[:, None])
    second = np.einsum("nk,nkd->kd", q, z**2 - 1) / (len(X) * np.sqrt(2 * weights)[:, None])
    found = np.concatenate([first.ravel(), second.ravel()])
    found = np.sign(found) * np.sqrt(np.abs(found))
    return found / np.linalg.norm(found)


@pytest.mark.parametrize("cell", [2, 3, 4, 5, 8])
def test_descriptors_are_those_of_a_plain_loop(images: np.ndarray, cell: int) -> None:
    where = grids(*images.shape[1:], (cell,), 6)
    for image in images:
        descriptors, contrast = root_sift(image, where, 1.0)
        assert np.abs(descriptors - plain_sift(image, where[0], 1.0))[contrast > 0.1].max() < 1e-5


def test_descriptors_have_length_one_and_are_zero_where_nothing_changes() -> None:
    image = np.zeros((64, 64), np.uint8)
    image[:16] = 200
    descriptors, contrast = root_sift(image, grids(64, 64, (4,), 6), 1.0)
    lengths = np.linalg.norm(descriptors, axis=1)
    assert np.allclose(lengths[contrast > 0], 1, atol=1e-5)
    assert (lengths[contrast == 0] == 0).all()
    assert (contrast == 0).any()


def test_a_vector_is_that_of_the_papers_in_every_region(
    images: np.ndarray, dictionary: Dictionary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fisher, "_SMALL", 0)
    file = tmp_path / "small.safetensors"
    fisher.save_dictionary(dictionary, file)
    found = FisherVector(str(file), pyramid=("1x1", "2x1"), step=5).encode(images[:1])[0].reshape(3, -1)
    where = grids(*images.shape[1:], dictionary.sampling.cells, 5)
    descriptors, contrast = root_sift(images[0], where, dictionary.sampling.blur)
    X = (descriptors.astype(float) - dictionary.mean) @ dictionary.components
    kept = contrast >= dictionary.sampling.contrast
    rows = np.concatenate([grid.centres() for grid in where])[:, 0]
    for region, inside in zip(found, (kept, kept & (rows + 0.5 < 48), kept & (rows + 0.5 >= 48)), strict=True):
        # Posteriors below 1e-4 count as 0 in the encoder, which moves the vector by less than a thousandth of its length.
        assert np.linalg.norm(region * math.sqrt(3) - plain_fisher(dictionary, X[inside])) < 2e-2


def test_an_image_has_the_same_vector_alone_as_among_others_whatever_the_threads(images: np.ndarray) -> None:
    encoder = FisherVector(pyramid=("1x1",))
    together = encoder.encode(images)
    assert all(np.array_equal(encoder.encode(images[k : k + 1])[0], together[k]) for k in range(len(images)))


def test_a_black_image_is_a_vector_of_zeros() -> None:
    assert not FisherVector(pyramid=("1x1",)).encode(np.zeros((1, 64, 64), np.uint8)).any()


def test_the_dictionary_of_the_package_says_what_it_was_learned_from() -> None:
    found = read_dictionary("phantom")
    assert found.about["data"] == "phantom (synthetic)"
    assert found.components.shape == (128, found.means.shape[1])
    assert np.allclose(found.weights.sum(), 1, atol=1e-5)
    assert np.allclose(found.components.T @ found.components, np.eye(found.means.shape[1]), atol=1e-5)


def test_other_dictionaries_are_other_encodings(dictionary: Dictionary, tmp_path: Path) -> None:
    fisher.save_dictionary(dictionary, tmp_path / "mine.safetensors")
    assert FisherVector(str(tmp_path / "mine.safetensors")).fingerprint() != FisherVector().fingerprint()


def test_an_exported_model_brings_its_dictionary(dictionary: Dictionary, images: np.ndarray, tmp_path: Path) -> None:
    mine, packaged = tmp_path / "mine.safetensors", tmp_path / "packaged.safetensors"
    fisher.save_dictionary(dictionary, mine)
    encoder = FisherVector(str(mine), step=5)
    expected = encoder.encode(images)
    encoder.save(packaged)
    mine.unlink()
    assert np.array_equal(FisherVector(str(mine), step=5, weights=str(packaged)).encode(images), expected)


@pytest.mark.parametrize("content", [b"", b"no dictionary", (8).to_bytes(8, "little") + b"{}      "])
def test_a_file_that_is_no_dictionary_is_refused_by_name(content: bytes, tmp_path: Path, images: np.ndarray) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"dictionary .*x\.safetensors: is not a file that `bench dictionary` wrote"):
        FisherVector(str(tmp_path / "x.safetensors")).encode(images)


def test_wrong_parameters_are_refused_in_words(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no descriptor of 4 x 4 cells"):
        FisherVector().encode(images[:, :12])
    with pytest.raises(ValueError, match="'2by2' is not rows x columns"):
        FisherVector(pyramid=("2by2",)).encode(images)
    with pytest.raises(ValueError, match=r"missing\.safetensors: No such file"):
        FisherVector("missing.safetensors").encode(images)
