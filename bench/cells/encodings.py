"""Encodings of a whole data set and distances between them: computed once, kept on disk under a content key, shared by all cells."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.disk import fresh_folder, reserve, sha256

from bench.errors import UserError
from bench.recipes import contract
from bench.recipes.build import Resources, build
from bench.recipes.suite import ModelSpec, Part
from reports.runs.format import is_sealed, sealed

_FORMAT = 3
_BLOCK = 2048  # images encoded at a time
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoding:
    """Features of all images by one encoder, or distances between them, mapped from the cache; and what they cost.

    Attributes
    ----------
    values : ndarray of shape (n, d)
        Mostly float32.
    seconds : float
    n_parameters : int
    """

    values: np.ndarray
    seconds: float
    n_parameters: int


class Encodings:
    """Gives encodings and the squared distances between them.

    Parameters
    ----------
    images : ndarray of shape (n, h, w), uint8
    digest : str
        SHA-256 of their bytes.
    cache : Path
        Folder of the cache, below which encodings are kept.
    resources : Resources
    """

    def __init__(self, images: np.ndarray, digest: str, cache: Path, resources: Resources) -> None:
        self.images = images
        self.digest = digest
        self.cache = cache / "encodings"
        self.resources = resources
        self._held: dict[str, Encoding] = {}

    def key(self, part: Part, *, mirrored: bool = False) -> str:
        """Return the content key: a hash of everything that decides the numbers."""
        encoder = build(part, self.resources, "encoder")
        weights = contract.fingerprint(encoder)
        recipe = [_FORMAT, self.digest, part.class_, part.parameters, contract.version(part.class_), weights, mirrored]
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    def get(self, part: Part, *, mirrored: bool = False) -> Encoding:
        """Return the encoding of all images, or of their mirror images."""
        key = self.key(part, mirrored=mirrored)
        return self._cached(key, lambda file: self._encode(part, file, mirrored=mirrored))

    def distances(self, part: Part, *, mirror: bool, landmarks: np.ndarray | None = None) -> Encoding:
        """Return the squared distances between all images, (n, n) float32; or to those of the rows `landmarks`, (n, m)."""
        from baselines.distances import distances_to_landmarks, squared_distances

        def compute(file: Path) -> tuple[float, int]:
            values = self.get(part).values
            mirrored = self.get(part, mirrored=True).values if mirror else None
            start = time.perf_counter()
            if landmarks is None:
                found = squared_distances(values, mirrored)
                matrix = _mapped(file, found.dtype, found.shape)
                matrix[:] = found
            else:
                matrix = _mapped(file, np.dtype(np.float32), (len(values), len(landmarks)))
                some = None if mirrored is None else mirrored[landmarks]
                distances_to_landmarks(values, values[landmarks], some, out=matrix)
            matrix.flush()
            _give_back(values, mirrored, matrix)
            return time.perf_counter() - start, 0

        return self._cached(self.distances_key(part, mirror=mirror, landmarks=landmarks), compute)

    def distances_key(self, part: Part, *, mirror: bool, landmarks: np.ndarray | None = None) -> str:
        """Return the content key of distances."""
        rows = "" if landmarks is None else hashlib.sha256(landmarks.tobytes()).hexdigest()
        return hashlib.sha256(f"distances {_FORMAT} {self.key(part)} {mirror} {rows}".encode()).hexdigest()

    def timings(self, spec: ModelSpec, *, pairwise: bool, landmarks: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Return a row per encoder, with the seconds over all images, mirror images included; and one for the distances."""
        rows, n = [], len(self.images)
        for part in spec.encoders:
            seconds = sum(self.get(part, mirrored=m).seconds for m in ([False, True] if spec.mirror else [False]))
            rows.append({"encoder": part.name, "seconds": seconds, "n_images": n})
        if pairwise:
            found = [self.distances(part, mirror=spec.mirror, landmarks=landmarks) for part in spec.encoders]
            rows.append({"encoder": "squared distances", "seconds": sum(each.seconds for each in found), "n_images": n})
        return rows

    def _encode(self, part: Part, file: Path, *, mirrored: bool) -> tuple[float, int]:
        """Encode a block of images at a time into a file, so that neither images nor encodings have to fit into memory."""
        encoder = build(part, self.resources, "encoder")
        encoder.encode(np.array(self.images[:2]))  # compiles and warms up, apart from the clock
        seconds, values = 0.0, None
        for begin in range(0, len(self.images), _BLOCK):
            images = self.images[begin : begin + _BLOCK]
            images = np.array(images[:, :, ::-1] if mirrored else images, order="C")
            start = time.perf_counter()
            block = encoder.encode(images)
            seconds += time.perf_counter() - start
            if values is None:
                shape = (len(self.images), *block.shape[1:])
                values = _mapped(file, block.dtype, shape)
            values[begin : begin + _BLOCK] = block
            _give_back(self.images, values)
        if values is not None:
            values.flush()
        return seconds, contract.n_parameters(encoder)

    def _cached(self, key: str, compute: Callable[[Path], tuple[float, int]]) -> Encoding:
        """Return what the cache holds under a key; if it is missing, `compute` writes it and returns seconds and number of parameters."""
        if key not in self._held:
            found = self._read(key)
            if found is None:
                self._write(key, compute)
                found = self._read(key)
            if found is None:
                raise UserError(f"{self.cache / key}: the cache cannot be read back: is the disk full?")
            self._held[key] = found
        return self._held[key]

    def _write(self, key: str, compute: Callable[[Path], tuple[float, int]]) -> None:
        with fresh_folder(self.cache / key, private=True) as fresh:
            seconds, n_parameters = compute(fresh / "values.npy")
            facts = {"seconds": seconds, "n_parameters": n_parameters, "sha256": sha256(fresh / "values.npy")}
            (fresh / "encoding.json").write_text(json.dumps(sealed(facts)), encoding="utf-8")

    def _read(self, key: str) -> Encoding | None:
        """Return what is cached under a key, or None if it is missing or damaged."""
        folder = self.cache / key
        try:
            facts = json.loads((folder / "encoding.json").read_text(encoding="utf-8"))
            if is_sealed(facts) and sha256(folder / "values.npy") == facts["sha256"]:
                values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
                return Encoding(values, facts["seconds"], facts["n_parameters"])
        except (OSError, ValueError, KeyError, AttributeError):
            pass
        if folder.exists():
            _log.warning("cache: %s is damaged: recomputing it", folder.name[:16])
        return None


def _give_back(*arrays: np.ndarray | None) -> None:
    """Release the memory of mapped files; they are read again when needed."""
    for array in arrays:
        pages = getattr(array, "_mmap", None)
        if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)


def _mapped(file: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """Return a new array in a file, with its disk space reserved."""
    values = np.lib.format.open_memmap(file, "w+", dtype, shape)
    reserve(file)
    return values
