"""What a cell needs to be computed elsewhere: files by SHA-256, and the facts for its record.

Encodings and distances are computed once, by the process that owns the run folder: they are the same bytes wherever the cell is fitted, and no
worker needs pictures or weights that its head does not use. A cell is sent only what its head reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.disk import sha256

from bench.cells.encodings import Encoding
from bench.cells.experiment import Experiment
from bench.recipes import contract
from bench.recipes.build import build
from bench.recipes.suite import ModelSpec, Part
from bench.store.run_folder import Cell
from reports.runs.format import parse_fold


@dataclass(frozen=True)
class FileRef:
    """A file by its content; a worker that finds it at one of its places need not be sent it.

    Attributes
    ----------
    sha256 : str
    size : int
        Bytes.
    path : str
        Where it is on the machine of the run folder.
    in_cache : str or None
        The same below the cache's folder; None for a file outside of it.
    """

    sha256: str
    size: int
    path: str
    in_cache: str | None


@dataclass(frozen=True)
class EncodingInfo:
    """An encoding, or distances, as a record needs it; with the file of its values where the head reads them."""

    seconds: float
    n_parameters: int
    shape: tuple[int, ...]
    file: FileRef | None


@dataclass(frozen=True)
class Task:
    """Everything that one cell needs.

    Attributes
    ----------
    cell : Cell
    keys : dict of str to str
        Keys of encodings, by `part_name`.
    encodings : dict of str to EncodingInfo
        By key.
    pixels : FileRef or None
        Of the images, for a head that reads them.
    weights : dict of str to FileRef
        By the name of the file in a weights folder.
    gpu : bool
    """

    cell: Cell
    keys: dict[str, str]
    encodings: dict[str, EncodingInfo]
    pixels: FileRef | None
    weights: dict[str, FileRef] = field(default_factory=dict)
    gpu: bool = False

    @property
    def files(self) -> list[FileRef]:
        """Files that the worker must have."""
        values = [info.file for info in self.encodings.values() if info.file]
        return [*values, *([self.pixels] if self.pixels else []), *self.weights.values()]


class ShapeOnlyArray:
    """A placeholder for an array that was not sent because only its shape is needed; reading it fails."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        """Length of the first axis."""
        return self.shape[0]


def part_name(part: Part, *, mirrored: bool) -> str:
    """Return the name of an encoder, with its parameters, on images or their mirror images."""
    return json.dumps([part.class_, part.parameters, mirrored], sort_keys=True)


class TaskBuilder:
    """Makes tasks, and what they need that is not yet in the cache.

    Parameters
    ----------
    experiment : Experiment
        With the resources of the workers.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._digests: dict[Path, str] = {}

    def build(self, cell: Cell) -> Task:
        """Compute what a cell shares with others, and return its task."""
        resources = self.experiment.resources
        whole = self.experiment.models[cell.model]
        runner = self.experiment.runner(cell)
        runner.prepare()
        head = build(runner.spec.head, resources, "head")
        pairwise = contract.is_pairwise(head)
        infos = {key: self._info(key, made, sent=not pairwise) for key, made in self._features(runner.spec)}
        if pairwise:
            distances = self._distances(runner.spec, runner.maker.landmarks(head))
            infos |= {key: self._info(key, made, sent=True) for key, made in distances}
        return Task(
            cell,
            keys=dict(self._keys(whole)),
            encodings=infos,
            pixels=None if whole.encoders else self._pixels(),
            weights=self._weights(head),
            gpu=resources.device == "cuda" and isinstance(head, contract.GpuHead),
        )

    def _keys(self, spec: ModelSpec) -> Iterator[tuple[str, str]]:
        """Keys of all encoders; of a tuned model those of every fold, since its cells' key covers them all."""
        places = [parse_fold(place) for place in spec.tuned.folds] if spec.tuned else []
        for each in [spec, *(spec.of_fold(*place) for place in places)]:
            for part in each.encoders:
                for mirrored in (False, True):
                    yield part_name(part, mirrored=mirrored), self.experiment.encodings.key(part, mirrored=mirrored)

    def _features(self, spec: ModelSpec) -> Iterator[tuple[str, Encoding]]:
        encodings = self.experiment.encodings
        for part in spec.encoders:
            for mirrored in (False, True) if spec.mirror else (False,):
                yield encodings.key(part, mirrored=mirrored), encodings.get(part, mirrored=mirrored)

    def _distances(self, spec: ModelSpec, landmarks: np.ndarray | None) -> Iterator[tuple[str, Encoding]]:
        encodings = self.experiment.encodings
        for part in spec.encoders:
            key = encodings.distances_key(part, mirror=spec.mirror, landmarks=landmarks)
            yield key, encodings.distances(part, mirror=spec.mirror, landmarks=landmarks)

    def _info(self, key: str, made: Encoding, *, sent: bool) -> EncodingInfo:
        folder = self.experiment.encodings.cache / key
        file = self._file(folder / "values.npy", _written_digest(folder)) if sent else None
        return EncodingInfo(made.seconds, made.n_parameters, made.values.shape, file)

    def _pixels(self) -> FileRef:
        images = self.experiment.data.images
        if not isinstance(images, np.memmap) or images.offset:
            raise TypeError("images must be mapped from a file of their own")
        return self._file(Path(str(images.filename)), self.experiment.encodings.digest)

    def _weights(self, head: Any) -> dict[str, FileRef]:
        """Return a network's initial weights, under the name by which a weights folder is searched; a file named in the suite is not sent."""
        found = contract.weights_file(head)
        if found is None:
            return {}
        name, file = found
        if file not in self._digests:
            self._digests[file] = sha256(file)
        return {name: self._file(file, self._digests[file])}

    def _file(self, file: Path, digest: str) -> FileRef:
        file, cache = file.resolve(), self.experiment.encodings.cache.parent.resolve()
        inside = file.relative_to(cache).as_posix() if file.is_relative_to(cache) else None
        return FileRef(digest, file.stat().st_size, str(file), inside)


def _written_digest(folder: Path) -> str:
    return json.loads((folder / "encoding.json").read_text(encoding="utf-8"))["sha256"]
