"""The run loop: the plan of cells, and for each cell encode, fit and predict, timed apart and stored whole."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from radiographs.splits import nested_share

from bench import clock
from bench.encodings import Encodings
from bench.errors import UserError
from bench.live import View
from bench.model import Inputs, Resources, Rows, build, family, fit, predict, skip_reasons, version
from bench.store import Cell, RunFolder, StoreError
from bench.suite import ModelSpec, Suite


@dataclass(frozen=True)
class Data:
    """What every cell sees: images, labels and splits, in one order."""

    image_ids: np.ndarray  # (n,) str
    images: np.ndarray  # (n, h, w) uint8
    groups: np.ndarray  # (n,) str
    y: np.ndarray  # (n, n_classes) int8
    classes: tuple[str, ...]
    task: str
    at_least_one: bool
    splits: pd.DataFrame
    splits_digest: str
    preprocess_seconds: float

    def part(self, repeat: int, fold: int) -> np.ndarray:
        """Part of each image in one fold, (n,) of train, valid, test."""
        rows = self.splits[(self.splits["repeat"] == repeat) & (self.splits["fold"] == fold)]
        return rows.set_index("image_id")["part"].reindex(self.image_ids).to_numpy(str)


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    done: int
    skipped: int
    failed: int
    kept: int  # cells that were there already


def plan(suite: Suite, splits: pd.DataFrame) -> list[Cell]:
    """All cells of a suite: model by model, so that what models share is computed just before it is used."""
    folds = sorted(set(zip(splits["repeat"], splits["fold"], strict=True)))
    return [Cell(model, int(repeat), int(fold)) for model, (repeat, fold) in product(suite.models, folds)]


def check_models(suite: Suite, resources: Resources) -> None:
    """Build every part of every model once, so that a wrong parameter is found before anything is computed.

    Raises
    ------
    UserError
        Naming the key in the suite.
    """
    for name, spec in suite.models.items():
        for where, part in [(f"models.{name}.encoders.{k}", p) for k, p in enumerate(spec.encoders)] + [
            (f"models.{name}.head", spec.head)
        ]:
            try:
                build(part, resources, where)
            except skip_reasons():
                continue


def run_cells(
    suite: Suite, data: Data, folder: RunFolder, encodings: Encodings, resources: Resources, seed: int, view: View
) -> Outcome:
    """Compute every cell that the folder does not hold yet.

    Raises
    ------
    StoreError
        If a cell in the folder was computed from something else than what it would be computed from now.
    """
    cells = plan(suite, data.splits)
    todo, kept = [], 0
    for cell in cells:
        if _is_there(folder, cell, suite.models[cell.model], encodings, data, seed, view):
            kept += 1
        else:
            todo.append(cell)
    counts = {"done": 0, "skipped": 0, "failed": 0}
    with view.running(todo, kept):
        for cell in todo:
            view.cell_starts(cell)
            runner = _Runner(
                cell, suite.models[cell.model], data, encodings, replace(resources, on_epoch=view.epoch), seed
            )
            record, predictions, save = runner.result()
            folder.write_cell(cell, record, predictions, save)
            counts[record["status"]] += 1
            view.cell_ends(cell, record, _scores(data, predictions))
    return Outcome(**counts, kept=kept)


def _is_there(
    folder: RunFolder, cell: Cell, spec: ModelSpec, encodings: Encodings, data: Data, seed: int, view: View
) -> bool:
    record, wrong = folder.read_cell(cell)
    if wrong:
        view.note(f"{cell.name}: {wrong}: it is computed again")
    if record is None or record["status"] != "done":
        return False
    try:
        key = cell_key(spec, encodings, data, seed)
    except skip_reasons():
        return True  # its weights are no longer here, but its result is
    if record["key"] != key:
        raise StoreError(
            f"{folder.cell_folder(cell)}: was computed with other weights or by another version of the model: give another --out"
        )
    return True


def cell_key(spec: ModelSpec, encodings: Encodings, data: Data, seed: int) -> str:
    """Hash of everything that decides a cell's numbers but its fold."""
    head = build(spec.head, encodings.resources, "head")
    start = head.fingerprint() if hasattr(head, "fingerprint") else ""
    encoders = [encodings.key(part) for part in spec.encoders]
    recipe = [spec.as_dict(), encoders, start, version(spec.head), encodings.digest, data.splits_digest, seed]
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


class _Runner:
    """Computes one cell."""

    def __init__(
        self, cell: Cell, spec: ModelSpec, data: Data, encodings: Encodings, resources: Resources, seed: int
    ) -> None:
        self.cell = cell
        self.spec = spec
        self.data = data
        self.encodings = encodings
        self.resources = resources
        self.seed = seed
        part = data.part(cell.repeat, cell.fold)
        self.train, self.valid, self.test = (np.flatnonzero(part == name) for name in ("train", "valid", "test"))
        if spec.train_share < 1:
            self.train = self.train[nested_share(data.groups[self.train], spec.train_share, self._seed())]

    def result(self) -> tuple[dict[str, Any], pd.DataFrame | None, Callable | None]:
        """Record, predictions and a function that saves the model; a failure is a record too."""
        base = {
            "model": self.cell.model,
            "family": family(self.spec),
            "repeat": self.cell.repeat,
            "fold": self.cell.fold,
            "reason": None,
            "traceback": None,
            "n_train": len(self.train),
            "n_valid": len(self.valid),
            "n_test": len(self.test),
            "timings": {
                "preprocess_seconds": self.data.preprocess_seconds,
                "encode": [],
                "fit_seconds": None,
                "predict_seconds": [],
                "predict_images": len(self.test),
            },
            "peak_memory_bytes": None,
            "n_parameters": None,
            "chosen": {},
            "history": [],
            "warnings": [],
        }
        try:
            return self._computed(base)
        except skip_reasons() as error:
            return base | {"status": "skipped", "reason": _one_line(error)}, None, None
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model does wrong is that cell's failure, not the run's
            return (
                base
                | {
                    "status": "failed",
                    "reason": f"{type(error).__name__}: {_one_line(error)}",
                    "traceback": traceback.format_exc(),
                },
                None,
                None,
            )

    def _computed(self, base: dict[str, Any]) -> tuple[dict[str, Any], pd.DataFrame, Callable]:
        head = build(self.spec.head, self.resources, "head")
        pairwise = bool(getattr(head, "pairwise", False))
        train, valid, test = self._inputs(head)
        y = self.data.y
        with clock.measured() as cost:
            fit(head, train, y[self.train], valid, y[self.valid], self._seed())
        probability_valid = predict(head, valid)  # warms up what predicts
        probability_test, samples = clock.timed_repeats(lambda: predict(head, test))
        encode = self.encodings.timings(self.spec, pairwise=pairwise)
        record = base | {
            "status": "done",
            "key": cell_key(self.spec, self.encodings, self.data, self.seed),
            "timings": base["timings"] | {"encode": encode, "fit_seconds": cost.seconds, "predict_seconds": samples},
            "peak_memory_bytes": cost.peak_memory_bytes,
            "n_parameters": int(getattr(head, "n_parameters_", 0))
            + sum(self.encodings.get(p).n_parameters for p in self.spec.encoders),
            "model_bytes": self._support_bytes(head),
            "chosen": getattr(head, "chosen_", {}),
            "history": getattr(head, "history_", []),
            "warnings": clock.warnings(samples),
        }
        predictions = pd.concat(
            [self._table("valid", self.valid, probability_valid), self._table("test", self.test, probability_test)],
            ignore_index=True,
        )
        return record, predictions, getattr(head, "save", None)

    def _inputs(self, head: Any) -> Iterable[Inputs]:
        parts = (self.train, self.valid, self.test)
        if not self.spec.encoders:
            return [Inputs(self.data.images[rows]) for rows in parts]
        if getattr(head, "pairwise", False):
            wanted = head.columns(len(self.train)) if hasattr(head, "columns") else None
            return self._distances() if wanted is None else self._distances_to_some(wanted)
        if getattr(head, "by_rows", False):
            values = self.encodings.get(self.spec.encoders[0]).values
            return [Inputs(Rows(values, rows)) for rows in parts]
        return [
            Inputs(self._joined(rows, mirrored=False), self._joined(rows, mirrored=True) if self.spec.mirror else None)
            for rows in parts
        ]

    def _distances(self) -> list[Inputs]:
        """Squared distances to every training image, (n_encodings, n, n_train)."""
        matrices = [self.encodings.distances(part, mirror=self.spec.mirror)[0] for part in self.spec.encoders]
        parts = (self.train, self.valid, self.test)
        return [Inputs(np.stack([m[np.ix_(rows, self.train)] for m in matrices])) for rows in parts]

    def _distances_to_some(self, wanted: int) -> list[Inputs]:
        """Squared distances to about so many training images, (n_encodings, n, m); these come first in the training part.

        They are drawn from all images, once for all folds, and each fold uses those of its training part: so the distances are shared.
        """
        n = len(self.data.images)
        share = min(1.0, wanted / len(self.train))
        pool = np.sort(np.random.default_rng(self.seed).permutation(n)[: round(share * n)])
        matrices = [self.encodings.distances_to(part, pool, mirror=self.spec.mirror) for part in self.spec.encoders]
        columns = np.flatnonzero(np.isin(pool, self.train))
        self.train = np.concatenate([pool[columns], np.setdiff1d(self.train, pool)])
        parts = (self.train, self.valid, self.test)
        return [Inputs(np.stack([m[np.ix_(rows, columns)] for m in matrices])) for rows in parts]

    def _joined(self, rows: np.ndarray, *, mirrored: bool) -> np.ndarray:
        return np.concatenate(
            [self.encodings.get(part, mirrored=mirrored).values[rows] for part in self.spec.encoders], axis=1
        )

    def _support_bytes(self, head: Any) -> int:
        """Bytes of the encodings of the support vectors, which a kernel machine needs to predict; they stand in the cache, not in the cell."""
        if not hasattr(head, "support_"):
            return 0
        width = sum(self.encodings.get(part).values.shape[1] for part in self.spec.encoders)
        return len(head.support_) * width * np.dtype(np.float32).itemsize

    def _seed(self) -> int:
        """One seed per repeat and fold, the same for every model."""
        return self.seed + 1000 * self.cell.repeat + self.cell.fold

    def _table(self, part: str, rows: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
        expected = (len(rows), len(self.data.classes))
        if probability.shape != expected or not np.isfinite(probability).all():
            raise ValueError(
                f"predict_proba gave shape {probability.shape} with {int((~np.isfinite(probability)).sum())} values that are no number; {expected} is due"
            )
        columns: dict[str, Any] = {"image_id": self.data.image_ids[rows], "part": part}
        columns |= {f"truth/{name}": self.data.y[rows, k] for k, name in enumerate(self.data.classes)}
        columns |= {
            f"probability/{name}": probability[:, k].astype(np.float64) for k, name in enumerate(self.data.classes)
        }
        return pd.DataFrame(columns)


def _scores(data: Data, predictions: pd.DataFrame | None) -> dict[str, float]:
    """Scores of one finished cell, for the live view."""
    if predictions is None:
        return {}
    from reports.metrics import fold_score

    def arrays(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = predictions[predictions["part"] == part]
        return rows[[f"truth/{c}" for c in data.classes]].to_numpy(), rows[
            [f"probability/{c}" for c in data.classes]
        ].to_numpy()

    return fold_score(*arrays("test"), *arrays("valid"), data.task, data.at_least_one)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
