"""Encodings of a whole data set: computed once, kept on disk under a content key, shared by all folds and models."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.model import Resources, build, version
from bench.store import sha256
from bench.suite import ModelSpec, Part

_FORMAT = 2
_BLOCK = 2048  # images that are encoded at a time


@dataclass(frozen=True)
class Encoding:
    """Features of all images by one encoder, and what they cost when they were computed."""

    values: np.ndarray  # (n, d) float32
    seconds: float
    n_parameters: int


class Encodings:
    """Gives encodings and the squared distances between them.

    Parameters
    ----------
    images, digest
        (n, h, w) uint8 and the SHA-256 of their bytes.
    cache
        Folder where encodings are kept.
    """

    def __init__(self, images: np.ndarray, digest: str, cache: Path, resources: Resources) -> None:
        self.images = images
        self.digest = digest
        self.cache = cache / "encodings"
        self.resources = resources
        self._held: dict[str, Encoding] = {}
        self._distances: dict[str, tuple[np.ndarray, float]] = {}

    def key(self, part: Part, *, mirrored: bool = False) -> str:
        """Content key: everything that decides the numbers."""
        encoder = build(part, self.resources, "encoder")
        weights = encoder.fingerprint() if hasattr(encoder, "fingerprint") else ""
        recipe = [_FORMAT, self.digest, part.class_, part.parameters, version(part), weights, mirrored]
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    def get(self, part: Part, *, mirrored: bool = False) -> Encoding:
        """Encoding of all images, or of their mirror images."""
        key = self.key(part, mirrored=mirrored)
        if key not in self._held:
            found = self._read(key)
            if found is None:
                self._compute(part, key, mirrored=mirrored)
                found = self._read(key)
            if found is None:
                raise UserError(f"{self.cache / key}: the cache cannot be read back: is the disk full?")
            self._held[key] = found
        return self._held[key]

    def distances(self, part: Part, *, mirror: bool) -> tuple[np.ndarray, float]:
        """Squared distances (n, n) float32 between all images, and the seconds they took."""
        from baselines.distances import squared_distances

        key = f"{self.key(part)} {mirror}"
        if key not in self._distances:
            values = self.get(part).values
            mirrored = self.get(part, mirrored=True).values if mirror else None
            start = time.perf_counter()
            matrix = squared_distances(values, mirrored)
            self._distances[key] = matrix, time.perf_counter() - start
        return self._distances[key]

    def distances_to(self, part: Part, landmarks: np.ndarray, *, mirror: bool) -> np.ndarray:
        """Squared distances (n, m) float32 of all images to those of the rows `landmarks`, mapped from the cache."""
        from baselines.distances import distances_to_landmarks

        key = f"{self.key(part)} {mirror} {hashlib.sha256(landmarks.tobytes()).hexdigest()}"
        if key not in self._distances:
            values = self.get(part).values
            mirrored = self.get(part, mirrored=True).values[landmarks] if mirror else None
            start = time.perf_counter()
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.cache) as file:  # its room is given back when this object goes
                matrix = np.memmap(file, np.float32, "w+", shape=(len(values), len(landmarks)))
                distances_to_landmarks(values, values[landmarks], mirrored, out=matrix)
            self._distances[key] = matrix, time.perf_counter() - start
        return self._distances[key][0]

    def timings(self, spec: ModelSpec, *, pairwise: bool) -> list[dict[str, Any]]:
        """One row per encoder: seconds over all images, mirror images included; and one for the distances."""
        rows, n = [], len(self.images)
        for part in spec.encoders:
            seconds = sum(self.get(part, mirrored=m).seconds for m in ([False, True] if spec.mirror else [False]))
            rows.append({"encoder": part.name, "seconds": seconds, "n_images": n})
        if pairwise:
            wanted = [f"{self.key(part)} {spec.mirror}" for part in spec.encoders]
            seconds = sum(cost for key, (_, cost) in self._distances.items() if key.startswith(tuple(wanted)))
            rows.append({"encoder": "squared distances", "seconds": seconds, "n_images": n})
        return rows

    def _compute(self, part: Part, key: str, *, mirrored: bool) -> None:
        """Encode a block of images at a time and keep what comes out, so that neither images nor encodings have to fit into memory."""
        encoder = build(part, self.resources, "encoder")
        encoder.encode(np.array(self.images[:2]))  # compiles and warms up, apart from the clock
        self.cache.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.cache))
        seconds, values = 0.0, None
        try:
            for begin in range(0, len(self.images), _BLOCK):
                images = self.images[begin : begin + _BLOCK]
                images = np.array(images[:, :, ::-1] if mirrored else images, order="C")
                start = time.perf_counter()
                block = encoder.encode(images)
                seconds += time.perf_counter() - start
                if values is None:
                    shape = (len(self.images), *block.shape[1:])
                    values = np.lib.format.open_memmap(fresh / "values.npy", "w+", block.dtype, shape)
                values[begin : begin + _BLOCK] = block
            if values is not None:
                values.flush()
            facts = {
                "seconds": seconds,
                "n_parameters": int(getattr(encoder, "n_parameters_", 0)),
                "sha256": sha256(fresh / "values.npy"),
            }
            (fresh / "encoding.json").write_text(json.dumps(facts), encoding="utf-8")
            shutil.rmtree(self.cache / key, ignore_errors=True)
            fresh.rename(self.cache / key)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _read(self, key: str) -> Encoding | None:
        """Return what is kept under a key, or None if it is not there or not as it was written."""
        folder = self.cache / key
        try:
            facts = json.loads((folder / "encoding.json").read_text(encoding="utf-8"))
            if sha256(folder / "values.npy") != facts["sha256"]:
                return None
            values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
            return Encoding(values, facts["seconds"], facts["n_parameters"])
        except (OSError, ValueError, KeyError):
            return None
