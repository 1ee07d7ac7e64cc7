"""What all cells of a run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench.cells.encodings import Encodings
from bench.cells.keys import cell_key
from bench.cells.runner import Runner
from bench.data.dataset import Data
from bench.recipes.build import Resources
from bench.recipes.suite import ModelSpec
from bench.store.run_folder import Cell


@dataclass(frozen=True)
class Experiment:
    """Models on data: everything that decides the numbers of a run's cells.

    Attributes
    ----------
    models : mapping of str to ModelSpec
    data : Data
    encodings : Encodings
        Shared by all cells. Its own resources are those of the process that encodes.
    resources : Resources
        As the heads get them.
    seed : int
    """

    models: Mapping[str, ModelSpec]
    data: Data
    encodings: Encodings
    resources: Resources
    seed: int

    def runner(self, cell: Cell, *, jobs: int = 1) -> Runner:
        """Return what computes a cell; `jobs` cells are computed at the same time."""
        spec = self.models[cell.model]
        return Runner(cell, spec, self.data, self.encodings, self.resources, self.seed, jobs=jobs)

    def key(self, spec: ModelSpec) -> str:
        """Return the key of a model's cells: a hash of everything that decides their numbers but the fold."""
        return cell_key(spec, self.encodings, self.data, self.seed)

    def with_resources(self, resources: Resources) -> Experiment:
        """Return the same experiment with other resources for the heads."""
        return replace(self, resources=resources)

    def with_model(self, name: str, spec: ModelSpec) -> Experiment:
        """Return the same experiment with another model under this name."""
        return replace(self, models={**self.models, name: spec})

    def detached(self) -> DetachedExperiment:
        """Return what another process needs besides pixels and encodings."""
        bare = replace(self.data, images=np.empty((0, 1, 1), np.uint8), held_out=None)
        resources = replace(self.resources, on_epoch=None)
        digest, shape = self.encodings.digest, self.data.images.shape
        return DetachedExperiment(dict(self.models), bare, shape, digest, resources, self.seed)


@dataclass(frozen=True)
class DetachedExperiment:
    """An experiment as sent to another process: without pixels and encodings.

    Attributes
    ----------
    models : dict of str to ModelSpec
    data : Data
        With no images, and nothing held out.
    shape : tuple of int
        Of the images.
    digest : str
        SHA-256 of the images.
    resources : Resources
    seed : int
    """

    models: dict[str, ModelSpec]
    data: Data
    shape: tuple[int, ...]
    digest: str
    resources: Resources
    seed: int

    def attach(self, images: np.ndarray, encodings: Encodings, resources: Resources) -> Experiment:
        """Return the experiment on images, encodings and resources of this process."""
        return Experiment(self.models, replace(self.data, images=images), encodings, resources, self.seed)
