"""One cell: its inputs, the timed fit, the timed prediction, and the record of both."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from radiographs.splits import nested_share

from bench.cells import clock
from bench.cells.encodings import Encodings
from bench.data.dataset import Data
from bench.errors import UserError, is_disk_error, one_line
from bench.recipes import contract
from bench.recipes.build import Resources, build, family, skip_reasons
from bench.recipes.inputs import Inputs, Rows, fit, predict
from bench.recipes.suite import ModelSpec, Part
from bench.store.run_folder import Cell

_HINT = "not enough memory: a smaller batch, side or --jobs needs less"


@dataclass(frozen=True)
class Computed:
    """What became of a cell: its record, and where it was computed its predictions and a function that saves the model to a folder."""

    record: dict[str, Any]
    predictions: pd.DataFrame | None = None
    save: Callable | None = None

    def failed(self, reason: str) -> Computed:
        """Return the record of the same cell, failed after all."""
        return Computed({**self.record, "status": "failed", "reason": reason})


def cell_key(spec: ModelSpec, encodings: Encodings, data: Data, seed: int) -> str:
    """Hash of everything that decides a cell's numbers but its fold; of a tuned model, over the values of all folds."""
    if spec.tuned:
        places = [tuple(map(int, place[1:].split("-f"))) for place in sorted(spec.tuned.folds)]
        keys = [cell_key(spec.of_fold(*place), encodings, data, seed) for place in places]
        return hashlib.sha256(json.dumps([places, keys]).encode()).hexdigest()
    head = build(spec.head, encodings.resources, "head")
    start = contract.fingerprint(head)
    encoders = [encodings.key(part) for part in spec.encoders]
    recipe = [
        _recipe(spec),
        encoders,
        start,
        contract.version(spec.head.class_),
        encodings.digest,
        data.splits_digest,
        seed,
    ]
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def recipe_digest(spec: ModelSpec) -> str:
    """SHA-256 of a model's table as it stands in run.json, without its description."""
    return hashlib.sha256(json.dumps(_recipe(spec), sort_keys=True).encode()).hexdigest()


def _recipe(spec: ModelSpec) -> dict[str, Any]:
    return {key: value for key, value in spec.as_dict().items() if key not in ("description", "family")}


def check_tuned(models: Mapping[str, ModelSpec], splits_digest: str) -> None:
    """See that tuned models run on the splits that they were tuned on.

    Raises
    ------
    UserError
        If they do not: images that chose the values could be tested on.
    """
    for name, spec in models.items():
        if spec.tuned and spec.tuned.splits != splits_digest:
            raise UserError(
                f"models.{name}.tuned: was tuned on other splits ({spec.tuned.splits[:12]}; these are {splits_digest[:12]}), whose validation "
                "images could be tested on here: give the same data, seed, folds and limit as bench tune, or tune again"
            )


class Runner:
    """Computes one cell: `result`, or `fitted` and then `predicted` where cells that are fitted side by side are timed alone afterwards."""

    def __init__(
        self,
        cell: Cell,
        spec: ModelSpec,
        data: Data,
        encodings: Encodings,
        resources: Resources,
        seed: int,
        *,
        jobs: int = 1,
    ) -> None:
        check_tuned({cell.model: spec}, data.splits_digest)
        self.cell = cell
        self.whole = spec  # with the values of all folds, where it is tuned
        self.spec = spec.of_fold(cell.repeat, cell.fold)
        self.data = data
        self.encodings = encodings
        self.resources = resources
        self.seed = seed
        self.jobs = jobs
        self.landmarks: np.ndarray | None = None
        self.warnings: list[str] = []
        self.head: Any = None
        part = data.part(cell.repeat, cell.fold)
        self.train, self.valid, self.test = (np.flatnonzero(part == name) for name in ("train", "valid", "test"))
        if spec.train_share < 1:
            self.train = self.train[nested_share(data.groups[self.train], spec.train_share, self._seed())]

    def result(self) -> Computed:
        """Compute the whole cell; a failure is a record too."""
        return self.fitted() or self.predicted()

    def fitted(self) -> Computed | None:
        """Fit, and return None; or how it failed."""
        return self._guarded(self._fit)

    def predicted(self) -> Computed:
        """Predict with what was fitted."""
        found = self._guarded(self._predict)
        if found is None:
            raise RuntimeError(f"{self.cell.name}: nothing was predicted")
        return found

    def validated(self) -> np.ndarray:
        """Fit, and give the validation part's probabilities (n_valid, n_classes): the test part is left out, not even read."""
        self.test = self.test[:0]
        self._fit()
        _, valid, _ = self.inputs
        return predict(self.head, valid)

    def prepare(self) -> None:
        """See that the cache holds everything the cell shares with others."""
        head = build(self.spec.head, self.resources, "head")
        if contract.is_pairwise(head):
            self._distances(contract.n_landmarks(head, self._usual()))
        for part in self.spec.encoders:
            for mirrored in (False, True) if self.spec.mirror else (False,):
                self.encodings.get(part, mirrored=mirrored)

    def _guarded(self, do: Callable[[], Computed | None]) -> Computed | None:
        try:
            return do()
        except skip_reasons() as error:
            return self.skipped(one_line(error))
        except UserError:
            raise
        except Exception as error:  # whatever a model does wrong is that cell's failure, not the run's
            if is_disk_error(error):
                raise
            hint = f" ({_HINT})" if is_out_of_memory(error) else ""
            return self.failure(f"{type(error).__name__}: {one_line(error)}{hint}", traceback.format_exc())

    def skipped(self, reason: str) -> Computed:
        """Return the record of a cell that cannot be had here."""
        return Computed(self._record("skipped") | {"reason": reason})

    def failure(self, reason: str, details: str | None = None) -> Computed:
        """Return the record of a failed cell."""
        return Computed(self._record("failed") | {"reason": reason, "traceback": details})

    def _record(self, status: str) -> dict[str, Any]:
        return {
            "model": self.cell.model,
            "family": family(self.spec),
            "repeat": self.cell.repeat,
            "fold": self.cell.fold,
            "made_of": {
                "splits": self.data.splits_digest,
                "pixels": self.encodings.digest,
                "model": recipe_digest(self.whole),
                "seed": self.seed,
            },
            "status": status,
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
                "jobs": self.jobs,
            },
            "peak_memory_bytes": None,
            "n_parameters": None,
            "chosen": {},
            "history": [],
            "warnings": [],
            "weights": [],
        }

    def _fit(self) -> None:
        batch = 0
        try:
            self._fit_head(self.spec.head)
        except Exception as error:
            batch = contract.smaller_batch(self.head) if is_out_of_memory(error) else 0
            if not batch:
                raise
        if batch:  # outside of the except clause, which keeps alive what filled the memory
            clock.free_memory()
            self.warnings.append(f"out of memory with the suite's batch: fitted with batch = {batch}")
            half = {"class": self.spec.head.class_, **self.spec.head.parameters, "batch": batch}
            self._fit_head(Part.model_validate(half))

    def _fit_head(self, part: Part) -> None:
        self.head = build(part, self.resources, "head")
        self.inputs = self.part_inputs(self.head)
        train, valid, _ = self.inputs
        with clock.measured() as self.cost:
            fit(self.head, train, self.data.y[self.train], valid, self.data.y[self.valid], self._seed())

    def _predict(self) -> Computed:
        head, (_, valid, test) = self.head, self.inputs
        probability_valid = predict(head, valid)  # warms up what predicts
        probability_test, samples = clock.timed_repeats(lambda: predict(head, test))
        encode = self.encodings.timings(self.spec, pairwise=contract.is_pairwise(head), landmarks=self.landmarks)
        record = self._record("done")
        record["timings"] |= {"encode": encode, "fit_seconds": self.cost.seconds, "predict_seconds": samples}
        record |= {
            "key": cell_key(self.whole, self.encodings, self.data, self.seed),
            "peak_memory_bytes": self.cost.peak_memory_bytes,
            "n_parameters": contract.n_parameters(head)
            + sum(self.encodings.get(p).n_parameters for p in self.spec.encoders),
            "model_bytes": self._support_bytes(head),
            "weights": weights_of(self.spec, self.resources),
            "chosen": contract.chosen(head),
            "history": contract.history(head),
            "warnings": self.warnings + clock.warnings(samples, self.cost.load_of_others if self.jobs == 1 else 0.0),
        }
        parts = [("valid", self.valid, probability_valid), ("test", self.test, probability_test)]
        predictions = pd.concat([self._table(*part) for part in parts], ignore_index=True)
        return Computed(record, predictions, head.save if isinstance(head, contract.SavableHead) else None)

    def part_inputs(self, head: Any) -> Iterable[Inputs]:
        parts = (self.train, self.valid, self.test)
        if not self.spec.encoders:
            return [Inputs(self.data.images[rows]) for rows in parts]
        if contract.is_pairwise(head):
            return self._distances(contract.n_landmarks(head, self._usual()))
        if contract.is_rowwise(head):
            values = self.encodings.get(self.spec.encoders[0]).values
            return [Inputs(Rows(values, rows)) for rows in parts]
        return [
            Inputs(self._joined(rows, mirrored=False), self._joined(rows, mirrored=True) if self.spec.mirror else None)
            for rows in parts
        ]

    def _distances(self, wanted: int | None) -> list[Inputs]:
        """Squared distances to all training images, (n_encodings, n, n_train), or to about as many as are `wanted`.

        These landmarks are drawn from all images, once for all folds, so that the distances are shared; a fold uses those of its training
        part, which come first there.
        """
        columns = self.train
        if wanted is not None:
            self.landmarks = landmarks(len(self.data.images), wanted / self._usual(), self.seed)
            columns = np.flatnonzero(np.isin(self.landmarks, self.train))
            self.train = np.concatenate([self.landmarks[columns], np.setdiff1d(self.train, self.landmarks)])
        found = [
            self.encodings.distances(part, mirror=self.spec.mirror, landmarks=self.landmarks).values
            for part in self.spec.encoders
        ]
        parts = (self.train, self.valid, self.test)
        return [Inputs(np.stack([m[np.ix_(rows, columns)] for m in found])) for rows in parts]

    def _usual(self) -> int:
        """Training images of the first fold: what goes by it is the same in every fold."""
        first = self.data.splits.iloc[0]
        return round(self.spec.train_share * (self.data.part(first["repeat"], first["fold"]) == "train").sum())

    def _joined(self, rows: np.ndarray, *, mirrored: bool) -> np.ndarray:
        return np.concatenate(
            [self.encodings.get(part, mirrored=mirrored).values[rows] for part in self.spec.encoders], axis=1
        )

    def _support_bytes(self, head: Any) -> int:
        """Bytes of the encodings of the support vectors, which a kernel machine needs to predict; they stand in the cache, not in the cell."""
        width = sum(self.encodings.get(part).values.shape[1] for part in self.spec.encoders)
        return contract.n_support(head) * width * np.dtype(np.float32).itemsize

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


def weights_of(spec: ModelSpec, resources: Resources) -> list[dict[str, Any]]:
    """What is known of the pretrained weights that a model starts from: backbone, file, origin, licence, citations, sha256."""
    parts = [build(part, resources, "model") for part in (*spec.encoders, spec.head)]
    facts = [contract.weights_facts(part) for part in parts]
    return list({each["sha256"]: dict(each) for each in facts if each}.values())


def landmarks(n: int, share: float, seed: int) -> np.ndarray:
    """Rows of a share of n images, sorted, the same for the same seed."""
    return np.sort(np.random.default_rng(seed).permutation(n)[: round(min(1.0, share) * n)])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the host's or a GPU's, was not enough; libraries written in C++ say so only in words."""
    said = str(error).lower()
    words = ("out of memory", "bad_alloc", "can't allocate memory", "cannot allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ValueError) and any(w in said for w in words)
    )
