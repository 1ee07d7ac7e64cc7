"""Near-duplicates: pictures that were re-encoded, resized, made brighter or darker, or slightly cropped.

A fingerprint of 128 bits (which of two neighbouring blocks is brighter, along rows and down columns; Krawetz's difference hash) finds
candidates by bit sampling (Indyk and Motwani 1998): images that agree in a random set of bits, drawn repeatedly, are compared.
The bits in a set grow with the logarithm of the number of images, so that the work does not grow with its square. Every candidate is
then compared: the middle of one picture is searched in the other at several sizes, and both must agree in fine detail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from radiographs.audit.cache import cached

VERSION = 1  # of this algorithm: results are cached under it
BLOCKS = 8
TABLES = 24  # sets of bits
MAX_DISTANCE = 30  # of 128 bits, for a candidate
MAX_BUCKET = 200  # images of one key that are all compared; in a larger one only neighbours by fingerprint
NEAREST = 8  # candidates of each image, by distance
MIDDLE = 0.7  # share of a side that is searched in the other picture
SCALES = (1.0, 0.97, 1.03, 0.94, 1.06, 0.91, 1.10, 0.87, 1.15)
KEPT = 4096  # images whose middles are kept at a time: 18 KB each at the coarse size
PIECE = 256  # images or candidates that a thread takes at a time
KEPT_BYTES = 300_000_000  # of detail at each size: all images of a large data set at the coarse one
COARSE, FINE = (32, 1.5), (96, 4.0)  # pixels per side, and sigma of the detail filter
PASSES = 0.7  # coarse similarity from which a pair is compared finely
THRESHOLD = 0.92  # fine similarity from which two pictures are the same; measured in docs/benchmarks.md


@dataclass(frozen=True)
class Pair:
    """Two images that show one picture: their rows, and the correlation of their fine detail."""

    a: int
    b: int
    likeness: float


def fingerprints(images: np.ndarray, *, workers: int = 1) -> np.ndarray:
    """Difference hash of each image, (n, h, w) uint8 -> (n, 128) bool."""
    bits = np.empty((len(images), 2 * BLOCKS * BLOCKS), dtype=bool)

    def hashed(begin: int) -> None:
        for i in range(begin, min(begin + PIECE, len(images))):
            rows = cv2.resize(images[i], (BLOCKS + 1, BLOCKS), interpolation=cv2.INTER_AREA).astype(np.int16)
            columns = cv2.resize(images[i], (BLOCKS, BLOCKS + 1), interpolation=cv2.INTER_AREA).astype(np.int16)
            bits[i] = np.concatenate([(np.diff(rows, axis=1) > 0).ravel(), (np.diff(columns, axis=0) > 0).ravel()])

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(hashed, range(0, len(images), PIECE)))
    return bits


def near_duplicates(images: np.ndarray, *, seed: int = 0, workers: int = 1) -> list[Pair]:
    """Find the pairs of images that show one picture.

    Parameters
    ----------
    images : ndarray of shape (n, side, side), uint8
        Preprocessed: of one brightness range, cropped to the exposed field.
    seed : int
        Draws the sets of bits.
    workers : int
        Threads that compare candidates.

    Returns
    -------
    list of Pair
        With a < b, in order. Images of one grey level have no similarity and are left out.
    """
    if workers < 1:
        raise ValueError(f"workers {workers}: give 1 or more")
    found = sorted(candidates(fingerprints(images, workers=workers), seed=seed))
    coarse = _Details(images, *COARSE)
    fine = _Details(images, *FINE)

    def look(pairs: Sequence[tuple[int, int]]) -> list[Pair]:
        close = [pair for pair in pairs if coarse.likeness(*pair, enough=PASSES) >= PASSES]
        measured = [Pair(*pair, fine.likeness(*pair)) for pair in close]
        return [pair for pair in measured if pair.likeness >= THRESHOLD]

    with ThreadPoolExecutor(workers) as pool:
        pieces = [found[begin : begin + PIECE] for begin in range(0, len(found), PIECE)]
        return [pair for pairs in pool.map(look, pieces) for pair in pairs]


def known_near_duplicates(images: np.ndarray, digest: str, cache: Path, *, workers: int) -> list[Pair]:
    """Near-duplicates of the pixels with this SHA-256, from the cache if available."""
    path = cache / "near" / f"v{VERSION}-{digest}.json"
    found = cached(path, lambda: [[p.a, p.b, p.likeness] for p in near_duplicates(images, workers=workers)])
    return [Pair(int(a), int(b), float(likeness)) for a, b, likeness in found]


def candidates(bits: np.ndarray, *, seed: int = 0) -> set[tuple[int, int]]:
    """Pairs of rows of (n, 128) bool: the nearest of each among those that agree with it in one of the sets of bits."""
    n = len(bits)
    if n < 2:
        return set()
    width = int(np.clip(np.ceil(np.log2(n)), 8, 24))
    rng = np.random.default_rng(seed)
    packed = np.packbits(bits, axis=1)  # (n, 16) uint8
    found = [np.empty((3, 0), dtype=np.int64)]  # distance, first, second
    for _ in range(TABLES):
        chosen = rng.choice(bits.shape[1], width, replace=False)
        keys = bits[:, chosen] @ (1 << np.arange(width, dtype=np.int64))
        order = np.lexsort((packed[:, 0], packed[:, 8], keys))
        for first, second in _together(keys[order], order):
            distance = np.bitwise_count(packed[first] ^ packed[second]).sum(axis=1, dtype=np.int64)
            close = distance <= MAX_DISTANCE
            found.append(
                np.stack([distance[close], np.minimum(first, second)[close], np.maximum(first, second)[close]])
            )
        found = [_nearest(np.concatenate(found, axis=1))]
    return set(zip(*found[0][1:].tolist(), strict=True))


def _nearest(found: np.ndarray) -> np.ndarray:
    """Keep of (3, n_pairs) each pair once, if it is among the `NEAREST` of either image."""
    found = np.unique(found, axis=1)  # sorted by distance
    kept = np.zeros(found.shape[1], dtype=bool)
    image = np.concatenate([found[1], found[2]])
    pair = np.tile(np.arange(found.shape[1]), 2)
    order = np.lexsort((pair, image))  # by image, and for each by distance
    starts = np.flatnonzero(np.diff(image[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    kept[pair[order[place < NEAREST]]] = True
    return found[:, kept]


def _together(keys: np.ndarray, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows in one bucket, as two arrays: each with the next, with the next but one, ... up to `MAX_BUCKET` places on."""
    for step in range(1, min(MAX_BUCKET, len(keys))):
        same = keys[step:] == keys[:-step]
        if not same.any():
            return
        yield order[step:][same], order[:-step][same]


def merge_groups(groups: pd.Series, pairs: list[Pair]) -> pd.Series:
    """Join the groups of both images of every pair; the earlier name stays."""
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    names = groups.tolist()
    for pair in pairs:
        a, b = root(names[pair.a]), root(names[pair.b])
        parent[max(a, b)] = min(a, b)
    return groups.map(root)


class _Details:
    """Fine detail of images at one size, and their middles at several scales; computed on first use and cached for a while."""

    def __init__(self, images: np.ndarray, side: int, sigma: float) -> None:
        self.images = images
        self.side = side
        self.sigma = sigma
        self.details: dict[int, np.ndarray | None] = {}
        self.middles: dict[int, list[np.ndarray]] = {}

    def likeness(self, a: int, b: int, enough: float = 0.995) -> float:
        """Highest correlation of detail when the middle of either image is searched in the other; or the first that is `enough`."""
        one, other = self._detail(a), self._detail(b)
        if one is None or other is None:
            return 0.0
        best = 0.0
        for row, middle_of, whole in ((a, one, other), (b, other, one)):
            for patch in self._patches(row, middle_of):
                best = max(best, float(cv2.matchTemplate(whole, patch, cv2.TM_CCOEFF_NORMED).max()))
                if best >= enough:
                    return best
        return best

    def _detail(self, row: int) -> np.ndarray | None:
        """Detail (side, side) float32; None for a picture of one grey level."""
        try:
            return self.details[row]
        except KeyError:
            pass
        image = np.asarray(self.images[row])
        small = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA).astype(np.float32)
        made = None if small.std() < 2 else small - cv2.GaussianBlur(small, (0, 0), self.sigma)
        if len(self.details) >= KEPT_BYTES // (4 * self.side**2):
            self.details.clear()
        self.details[row] = made
        return made

    def _patches(self, row: int, detail: np.ndarray) -> list[np.ndarray]:
        """Middle of an image at every scale."""
        try:
            return self.middles[row]
        except KeyError:
            pass
        size = round(MIDDLE * self.side)
        start = (self.side - size) // 2
        middle = detail[start : start + size, start : start + size]
        sizes = dict.fromkeys(round(size * scale) for scale in SCALES)
        made = [
            cv2.resize(middle, (k, k), interpolation=cv2.INTER_AREA if k < size else cv2.INTER_LINEAR) for k in sizes
        ]
        if len(self.middles) >= KEPT:
            self.middles.clear()
        self.middles[row] = made
        return made
