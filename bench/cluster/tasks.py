"""What a cell needs to be computed elsewhere: files under their SHA-256, and the facts that stand in its record.

Encodings and distances are made once, by the process that owns the run folder: so they are the same bytes wherever the cell is fitted, and no
worker needs pictures or weights that the head alone does not look at. A cell is sent only what its head reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.disk import sha256

from bench.cells.encodings import Encoding, Encodings
from bench.cells.runner import Runner
from bench.data.dataset import Data
from bench.recipes import contract
from bench.recipes.build import Resources, build
from bench.recipes.suite import ModelSpec, Part
from bench.store.run_folder import Cell


@dataclass(frozen=True)
class Content:
    """A file by what is in it; a worker that sees it at one of its places needs not be sent it."""

    sha256: str
    size: int
    path: str  # where it is here
    in_cache: str | None  # the same below the cache's folder


@dataclass(frozen=True)
class Known:
    """An encoding, or distances, as a record needs it; with its values where the head reads them."""

    seconds: float
    n_parameters: int
    shape: tuple[int, ...]
    content: Content | None


@dataclass(frozen=True)
class Ticket:
    """Everything that one cell needs."""

    cell: Cell
    keys: dict[str, str]  # of encodings, by `part_name`
    known: dict[str, Known]  # by key
    pixels: Content | None  # of a head that looks at images
    weights: dict[str, Content] = field(default_factory=dict)  # by the name of the file
    gpu: bool = False

    @property
    def contents(self) -> list[Content]:
        """Files that the worker must have."""
        values = [known.content for known in self.known.values() if known.content]
        return [*values, *([self.pixels] if self.pixels else []), *self.weights.values()]


class Absent:
    """Stands for an array that was not sent because only its shape is asked for; whoever reads it fails."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]


def part_name(part: Part, *, mirrored: bool) -> str:
    """Name of an encoder, with its parameters, on images or their mirror images."""
    return json.dumps([part.class_, part.parameters, mirrored], sort_keys=True)


class Tickets:
    """Writes tickets; makes what is not yet in the cache.

    Parameters
    ----------
    resources
        As the heads get them on the workers.
    """

    def __init__(
        self, models: dict[str, ModelSpec], data: Data, encodings: Encodings, resources: Resources, seed: int
    ) -> None:
        self.models = models
        self.data = data
        self.encodings = encodings
        self.resources = resources
        self.seed = seed
        self._digests: dict[Path, str] = {}

    def ticket(self, cell: Cell) -> Ticket:
        """Make what a cell shares with others, and say what it needs."""
        whole = self.models[cell.model]
        runner = Runner(cell, whole, self.data, self.encodings, self.resources, self.seed)
        runner.prepare()
        head = build(runner.spec.head, self.resources, "head")
        pairwise = contract.is_pairwise(head)
        known = {key: self._known(key, made, sent=not pairwise) for key, made in self._features(runner.spec)}
        if pairwise:
            known |= {key: self._known(key, made, sent=True) for key, made in self._distances(runner)}
        return Ticket(
            cell,
            keys=dict(self._keys(whole)),
            known=known,
            pixels=None if whole.encoders else self._pixels(),
            weights=self._weights(head),
            gpu=self.resources.device == "cuda" and isinstance(head, contract.GpuHead),
        )

    def _keys(self, spec: ModelSpec) -> Iterator[tuple[str, str]]:
        """Keys of all encoders; of a tuned model those of every fold, which its cells' key is made of."""
        places = [tuple(map(int, place[1:].split("-f"))) for place in spec.tuned.folds] if spec.tuned else []
        for each in [spec, *(spec.of_fold(*place) for place in places)]:
            for part in each.encoders:
                for mirrored in (False, True):
                    yield part_name(part, mirrored=mirrored), self.encodings.key(part, mirrored=mirrored)

    def _features(self, spec: ModelSpec) -> Iterator[tuple[str, Encoding]]:
        for part in spec.encoders:
            for mirrored in (False, True) if spec.mirror else (False,):
                yield self.encodings.key(part, mirrored=mirrored), self.encodings.get(part, mirrored=mirrored)

    def _distances(self, runner: Runner) -> Iterator[tuple[str, Encoding]]:
        how: dict[str, Any] = {"mirror": runner.spec.mirror, "landmarks": runner.landmarks}
        for part in runner.spec.encoders:
            yield self.encodings._distances_key(part, **how), self.encodings.distances(part, **how)

    def _known(self, key: str, made: Encoding, *, sent: bool) -> Known:
        folder = self.encodings.cache / key
        content = self._content(folder / "values.npy", _written_digest(folder)) if sent else None
        return Known(made.seconds, made.n_parameters, made.values.shape, content)

    def _pixels(self) -> Content:
        images = self.data.images
        if not isinstance(images, np.memmap) or images.offset:
            raise TypeError("images must be mapped from a file of their own")
        return self._content(Path(str(images.filename)), self.encodings.digest)

    def _weights(self, head: Any) -> dict[str, Content]:
        """What a network starts from, under a name by which it is found in a weights folder; a file that the suite names is not sent."""
        found = contract.weights_file(head)
        if found is None:
            return {}
        name, file = found
        if file not in self._digests:
            self._digests[file] = sha256(file)
        return {name: self._content(file, self._digests[file])}

    def _content(self, file: Path, digest: str) -> Content:
        file, cache = file.resolve(), self.encodings.cache.parent.resolve()
        inside = file.relative_to(cache).as_posix() if file.is_relative_to(cache) else None
        return Content(digest, file.stat().st_size, str(file), inside)


def _written_digest(folder: Path) -> str:
    return json.loads((folder / "encoding.json").read_text(encoding="utf-8"))["sha256"]
