"""Improved Fisher vectors of dense SIFT (Perronnin, Sánchez and Mensink 2010; Sánchez, Perronnin, Mensink and Verbeek 2013).

An image is described by how the descriptors in each of its regions would move a Gaussian mixture: the gradient of their log-likelihood
with respect to the means and the standard deviations. The mixture is learned once, from other images than those that are described.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from safetensors import SafetensorError
from safetensors.numpy import load, save

from baselines.blocks import one_thread, threads
from baselines.sift import LENGTH, Grid, grids, root_sift

VERSION = 1  # part of the key of kept encodings: raise it when the numbers change

PHANTOM = "phantom"  # the dictionary that comes with the package
_ARRAYS = ("mean", "components", "weights", "means", "deviations")
_DRAWN = 100_000  # descriptors that a dictionary is learned from
_SMALL = 1e-4  # a posterior below it counts as 0 (Sánchez et al. 2013, section 2.3)


@dataclass(frozen=True)
class Sampling:
    """How descriptors are taken from an image.

    Attributes
    ----------
    cells : sequence of int
        Sides of a descriptor's cells in pixels.
    step : int
        Distance of neighbouring descriptors in pixels; `FisherVector` may take another.
    blur : float
        Standard deviation of the Gaussian blur before the gradients, in pixels.
    contrast : float
        Descriptors with less are left out: there is nothing to describe where a detector saw nothing.
    """

    cells: Sequence[int] = (5, 7, 9)
    step: int = 6
    blur: float = 1.0
    contrast: float = 0.5


@dataclass(frozen=True)
class Dictionary:
    """Principal components of descriptors, and a Gaussian mixture with diagonal covariances over them.

    Attributes
    ----------
    mean : ndarray of shape (128,), float32
    components : ndarray of shape (128, d), float32
    weights : ndarray of shape (k,), float32
    means, deviations : ndarray of shape (k, d), float32
    sampling : Sampling
        How descriptors were taken, and are to be taken.
    about : dict
        What it was learned from.
    """

    mean: np.ndarray
    components: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    sampling: Sampling
    about: dict[str, Any]

    def project(self, descriptors: np.ndarray) -> np.ndarray:
        """Return descriptors (n, 128) in principal components, (n, d) float32."""
        return descriptors @ self.components - self.mean @ self.components

    @cached_property
    def densities(self) -> tuple[np.ndarray, np.ndarray]:
        """Log of weight times density as (x, x²) @ A + b: A (2d, k) and b (k,), float32."""
        precision = 1 / self.deviations.astype(np.float64) ** 2  # (k, d)
        A = np.concatenate([(self.means * precision).T, -0.5 * precision.T])
        constant = np.log(self.weights) + 0.5 * np.log(precision / (2 * math.pi)).sum(1)
        return A.astype(np.float32), (constant - 0.5 * (self.means**2 * precision).sum(1)).astype(np.float32)


class FisherVector:
    """Fisher vector of dense RootSIFT descriptors over a spatial pyramid.

    Parameters
    ----------
    dictionary : str
        "phantom" for the one that comes with the package, learned from simulated radiographs, or a file that `save_dictionary` wrote.
    pyramid : sequence of str
        Divisions of the image into rows x columns of regions; a vector is the regions' vectors one after another.
    step : int
        Distance of neighbouring descriptors in pixels.
    weights : str, optional
        A dictionary that an exported model brings with it; it takes the place of `dictionary`.
    """

    family = "classical"

    def __init__(
        self,
        dictionary: str = PHANTOM,
        pyramid: Sequence[str] = ("1x1", "2x2", "3x1"),
        step: int = 6,
        weights: str | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.pyramid = pyramid
        self.step = step
        self.weights = weights

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Describe images.

        Parameters
        ----------
        images : ndarray of shape (n, h, w), uint8

        Returns
        -------
        ndarray of shape (n, regions * 2 * k * d), float32
            Region after region of the pyramid; in each, gradients of the means and of the deviations, component after component. Every
            region has length 1 over the square root of their number, or 0 where no descriptor has contrast.

        Raises
        ------
        ValueError
            If an image is too small to hold one descriptor, or the dictionary cannot be read.
        """
        found = read_dictionary(self.weights or self.dictionary)
        sampling = found.sampling
        height, width = images.shape[1:]
        where = grids(height, width, sampling.cells, self.step)
        regions = _regions(where, (height, width), [_division(text) for text in self.pyramid])
        out = np.empty((len(images), len(regions) * 2 * found.means.size), np.float32)

        def describe(index: int) -> None:
            descriptors, contrast = root_sift(images[index], where, sampling.blur)
            out[index] = _fisher(found, descriptors, contrast >= sampling.contrast, regions)

        with (
            ThreadPoolExecutor(threads()) as pool,
            one_thread(),
        ):  # an image is one thread's: the same bits for any number of them
            list(pool.map(describe, range(len(images))))
        return out

    def fingerprint(self) -> str:
        """Return the SHA-256 of the dictionary: encodings by another one are other encodings."""
        return hashlib.sha256(_bytes(self.weights or self.dictionary)).hexdigest()

    def save(self, file: Path) -> None:
        """Write the dictionary, so that an exported model needs no file of this machine."""
        file.write_bytes(_bytes(self.weights or self.dictionary))


def _fisher(dictionary: Dictionary, descriptors: np.ndarray, kept: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Fisher vector of one image.

    Parameters
    ----------
    descriptors : ndarray of shape (n, 128), float32
    kept : ndarray of shape (n,), bool
        Those that count.
    regions : ndarray of shape (n_regions, n), bool
        Which descriptors lie in each region.

    Returns
    -------
    ndarray of shape (n_regions * 2 * k * d,), float32
    """
    kept = np.flatnonzero(kept)
    X = dictionary.project(descriptors[kept])  # (m, d)
    both = np.concatenate([X, X * X], axis=1)  # (m, 2d)
    A, constant = dictionary.densities
    posterior = both @ A
    posterior += constant
    _softmax(posterior)  # (m, k)
    count = np.maximum(regions[:, kept].sum(1), 1)  # (n_regions,)
    means, deviations, weights = dictionary.means, dictionary.deviations, dictionary.weights
    out = np.empty((len(regions), 2, *means.shape), np.float32)
    for r, inside in enumerate(regions[:, kept]):
        q = posterior[inside]
        mass, (first, second) = q.sum(0)[:, None], np.split(q.T @ both[inside], 2, axis=1)  # (k, 1), (k, d), (k, d)
        # Sánchez et al. 2013, equations 17 and 18
        out[r, 0] = (first - means * mass) / (deviations * np.sqrt(weights)[:, None] * count[r])
        out[r, 1] = ((second - 2 * means * first + means**2 * mass) / deviations**2 - mass) / (
            np.sqrt(2 * weights)[:, None] * count[r]
        )
    out = np.copysign(np.sqrt(np.abs(out)), out).reshape(len(regions), -1)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return (out / (np.maximum(length, 1e-12) * math.sqrt(len(regions)))).ravel()


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _softmax(logits):  # pragma: no cover - compiled
    """Turn each row into probabilities in place; small ones become 0."""
    for row in logits:
        top = row[0]
        for value in row:
            top = max(top, value)
        total = np.float32(0)
        for k in range(len(row)):
            row[k] = math.exp(row[k] - top)
            total += row[k]
        total = np.float32(1) / total
        for k in range(len(row)):
            share = row[k] * total
            row[k] = share if share >= np.float32(_SMALL) else np.float32(0)


def _division(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise ValueError(f"FisherVector: pyramid: {text!r} is not rows x columns, such as '2x2'")
    return int(rows), int(columns)


def _regions(where: Sequence[Grid], shape: tuple[int, ...], pyramid: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which descriptors lie in each region, (n_regions, n) bool, division after division and row by row."""
    centres = np.concatenate([grid.centres() for grid in where])
    found = []
    for rows, columns in pyramid:
        place = (centres + 0.5) / shape * (rows, columns)
        at = np.minimum(place.astype(int), (rows - 1, columns - 1)) @ (columns, 1)
        found += [at == region for region in range(rows * columns)]
    return np.stack(found)


def sample_descriptors(
    images: np.ndarray, sampling: Sampling, seed: int, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Draw descriptors of images, about as many of each.

    Parameters
    ----------
    images : ndarray of shape (n, h, w), uint8
    sampling : Sampling
    seed : int
    progress : callable, optional
        Called with the number of images done.

    Returns
    -------
    ndarray of shape (m, 128), float32
    """
    height, width = images.shape[1:]
    where = grids(height, width, sampling.cells, sampling.step)
    rng, found = np.random.default_rng(seed), []
    for index, image in enumerate(images):
        descriptors, contrast = root_sift(image, where, sampling.blur)
        seen = np.flatnonzero(contrast >= sampling.contrast)
        found.append(descriptors[rng.permutation(seen)[: _DRAWN // len(images)]])
        if progress:
            progress(index + 1)
    return np.concatenate(found)


def learn_dictionary(
    descriptors: np.ndarray, sampling: Sampling, d: int, k: int, seed: int, about: dict[str, Any]
) -> Dictionary:
    """Learn principal components and a mixture of Gaussians over them.

    Parameters
    ----------
    descriptors : ndarray of shape (n, 128), float32
    sampling : Sampling
        How they were taken.
    d, k : int
        Numbers of components and of Gaussians.
    seed : int
    about : dict
        What they were taken from; kept with the dictionary.

    Returns
    -------
    Dictionary

    Raises
    ------
    ValueError
        If there are fewer descriptors than Gaussians.
    """
    from sklearn.mixture import GaussianMixture

    if len(descriptors) < 2 * k:
        raise ValueError(f"{len(descriptors)} descriptors are too few for {k} Gaussians: give more images")
    mean = descriptors.mean(0, dtype=np.float64)
    _, vectors = np.linalg.eigh(np.cov(descriptors, rowvar=False))
    components = vectors[:, ::-1][:, :d]
    largest = components[np.abs(components).argmax(0), np.arange(d)]
    components *= np.sign(largest)  # one of the two signs, always the same
    mixture = GaussianMixture(k, covariance_type="diag", random_state=seed, reg_covar=1e-5)
    mixture.fit((descriptors - mean) @ components)
    deviations = np.sqrt(np.asarray(mixture.covariances_))
    arrays = (mean, components, mixture.weights_, mixture.means_, deviations)
    found = {name: np.ascontiguousarray(each, np.float32) for name, each in zip(_ARRAYS, arrays, strict=True)}
    return Dictionary(**found, sampling=sampling, about=about)


def save_dictionary(dictionary: Dictionary, path: Path) -> None:
    """Write a dictionary as safetensors, with how it was learned in the header."""
    arrays = {name: getattr(dictionary, name) for name in _ARRAYS}
    facts = {"sampling": json.dumps(asdict(dictionary.sampling)), "about": json.dumps(dictionary.about)}
    path.write_bytes(save(arrays, facts))


def read_dictionary(name: str) -> Dictionary:
    """Read the dictionary that comes with the package, or a file.

    Raises
    ------
    ValueError
        If it is not one.
    """
    return _parsed(name, _bytes(name))


@lru_cache(4)
def _parsed(name: str, content: bytes) -> Dictionary:
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        arrays = load(content)
        shapes = {key: arrays[key].shape for key in _ARRAYS}
        k, d = shapes["means"]
        due = {"mean": (LENGTH,), "components": (LENGTH, d), "weights": (k,), "means": (k, d), "deviations": (k, d)}
        if shapes != due or not all(np.isfinite(arrays[key]).all() for key in _ARRAYS):
            raise ValueError(f"arrays of the shapes {shapes}")
        sampling = Sampling(**json.loads(header["sampling"]))
        return Dictionary(**{key: arrays[key] for key in _ARRAYS}, sampling=sampling, about=json.loads(header["about"]))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"dictionary {name}: is not a file that `bench dictionary` wrote ({reason})") from None


def _bytes(name: str) -> bytes:
    if name == PHANTOM:
        return files("baselines").joinpath("dictionaries", f"{PHANTOM}.safetensors").read_bytes()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ValueError(f"dictionary {name}: {error.strerror}") from None
