"""A model refitted to everything that the run may train on, with the hyper-parameters that its folds chose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bench.cells import clock
from bench.cells.encodings import Encodings
from bench.cells.experiment import Experiment
from bench.cells.refit import saved_facts
from bench.data.dataset import Data
from bench.inference.package import PackageError
from bench.recipes.build import Resources, build
from bench.recipes.contract import PrunableHead, RefittableHead
from bench.recipes.suite import ModelSpec
from bench.store.run_folder import Cell, RunFolder

Facts = dict[str, Any]


@dataclass(frozen=True)
class Refitted:
    """A head fitted to all training images.

    Attributes
    ----------
    spec : ModelSpec
        With the values that most folds were tuned to, where it was tuned.
    head : object
    rows : array of int
        Training images, by their place in the data.
    references : array of int or None
        The support images of a kernel machine.
    seconds : float
        What fitting took.
    """

    spec: ModelSpec
    head: Any
    rows: np.ndarray
    references: np.ndarray | None
    seconds: float


def refit(
    spec: ModelSpec,
    name: str,
    data: Data,
    encodings: Encodings,
    resources: Resources,
    seed: int,
    folds: Sequence[Facts],
) -> Refitted:
    """Fit a model to every image of the splits, whatever its part.

    Parameters
    ----------
    folds : sequence of dict
        What each fold chose, from `choices`.

    Raises
    ------
    PackageError
        If the model's head cannot be fitted without a validation part.
    """
    spec = typical(spec)
    experiment = Experiment({name: spec}, _all_train(data), encodings, resources, seed)
    head = build(spec.head, resources, "head")
    if not isinstance(head, RefittableHead):
        raise PackageError(f"{name}: {spec.head.class_} has no refit(X, y, folds, seed): it cannot be exported")
    inputs = experiment.runner(Cell(name, 0, 0)).inputs(head)
    rows = inputs.parts.train
    X, y = inputs.train.joined(data.y[rows])
    with clock.measured() as cost:
        head.refit(X, y, folds, seed)
    references = None
    if isinstance(head, PrunableHead):
        references = rows[: X.shape[2]][head.prune_to_support()]
    return Refitted(spec, head, rows, references, cost.seconds)


def choices(folder: RunFolder, model: str) -> list[Facts]:
    """Collect what each finished fold of a model chose on its validation part: from cell.json, and from the JSON files beside its model.

    Raises
    ------
    PackageError
        If no fold is finished, or one is damaged.
    """
    found = []
    for path in sorted((folder.root / "cells" / model).glob("r*-f*")):
        repeat, fold = (int(word[1:]) for word in path.name.split("-"))
        record, wrong = folder.read_cell(Cell(model, repeat, fold))
        if wrong:
            raise PackageError(f"{path}: {wrong}: repeat the same `bench run`, which recomputes it")
        if record is not None and record["status"] == "done":
            files = [
                path / name for name in record["checksums"] if name.startswith("model/") and name.endswith(".json")
            ]
            found.append(record["chosen"] | saved_facts(files))
    if not found:
        raise PackageError(f"{folder.root}: no fold of {model} is finished: run it first")
    return found


def typical(spec: ModelSpec) -> ModelSpec:
    """Return the model with the most frequent value of each tuned parameter over the folds."""
    if spec.tuned is None:
        return spec
    values: Mapping[str, list[str]] = {}
    for fold in spec.tuned.folds.values():
        for key, value in fold.items():
            values = {**values, key: [*values.get(key, []), json.dumps(value)]}
    common = {key: json.loads(Counter(found).most_common(1)[0][0]) for key, found in values.items()}
    return spec.with_values(common).model_copy(update={"tuned": None})


def _all_train(data: Data) -> Data:
    ids = data.splits["image_id"].unique()
    return replace(data, splits=pd.DataFrame({"image_id": ids, "repeat": 0, "fold": 0, "part": "train"}))
