"""A finished run opened again, with its pixels, to refit its models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.pixels import cached_images

from bench.cells.encodings import Encodings
from bench.data.dataset import Data, label_matrix
from bench.inference.package import PackageError
from bench.recipes.build import Resources
from bench.recipes.suite import ModelSpec
from bench.store.run_folder import RunFolder


@dataclass(frozen=True)
class RunInputs:
    """A run and its inputs."""

    folder: RunFolder
    run: dict[str, Any]
    data: Data
    encodings: Encodings

    def spec(self, model: str) -> ModelSpec:
        """Return a model as it was run."""
        return ModelSpec.model_validate(self.run["suite"]["models"][model])


def open_run_inputs(root: Path, cache: Path, resources: Resources) -> RunInputs:
    """Open a run.

    Parameters
    ----------
    cache : Path
        Where the pixels of runs are kept.
    resources : Resources
        All but the task, which the run decides.

    Raises
    ------
    ResultsError
        If the run folder is damaged.
    PackageError
        If its pixels are no longer in the cache.
    """
    from reports.runs.results import load

    results = load(root)
    run, manifest = results.run, results.manifest
    images = cached_images(run["pixels"]["key"], cache)
    usable = manifest[manifest["status"] == "ok"].reset_index(drop=True)
    if images is None or len(images) != len(usable):
        raise PackageError(
            f"{root}: its preprocessed images are no longer in the cache ({cache}): repeat the same `bench run`, which brings them back"
        )
    y = label_matrix(usable["labels"], results.classes)
    data = Data(
        image_ids=np.array(usable["image_id"], str),
        images=images,
        groups=np.array(usable["group"], str),
        y=y,
        classes=tuple(results.classes),
        task=results.data["task"],
        at_least_one=results.data["at_least_one"],
        splits=results.splits,
        splits_digest=run["splits"]["digest"],
        preprocess_seconds=run["pixels"]["seconds"],
    )
    return RunInputs(RunFolder(root), run, data, Encodings(images, run["pixels"]["key"], cache, resources))
