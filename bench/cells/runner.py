"""One cell: its inputs, the timed fit, the timed prediction, and the record of both."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from bench.cells import clock
from bench.cells.encodings import Encodings
from bench.cells.inputs import CellInputs, InputMaker, Parts, parts_of
from bench.cells.keys import cell_key
from bench.cells.record import CellResult, Record, blank_results, blank_timings, prediction_table
from bench.cells.refit import check_refits, choice_of, refit_parts
from bench.data.dataset import Data
from bench.errors import UserError, is_disk_error, one_line
from bench.recipes import contract
from bench.recipes.build import Resources, build, family, skip_reasons
from bench.recipes.inputs import fit, predict
from bench.recipes.suite import ModelSpec, Part
from bench.store.run_folder import Cell
from reports.runs.format import model_digest

T = TypeVar("T")
_HINT = "not enough memory: a smaller batch, side or --jobs needs less"


@dataclass(frozen=True)
class Fitted:
    """A head with what it was fitted to and what that took.

    `part` is the head's table. `refitted` is a second head, where the model asks for one: it was fitted to training and validation part and
    predicts the test part, while this one predicts the validation part, which it did not learn from.
    """

    head: Any
    inputs: CellInputs
    cost: clock.Cost
    part: Part
    warnings: tuple[str, ...] = ()
    refitted: Fitted | None = None


class Runner:
    """Computes one cell: `result`, or `fit` and then `predict` where cells that are fitted side by side are timed alone afterwards.

    Parameters
    ----------
    cell : Cell
    spec : ModelSpec
        The whole model, with the values of all folds where it is tuned.
    data : Data
    encodings : Encodings
    resources : Resources
    seed : int
        Of the run.
    jobs : int, default=1
        Cells that are computed at the same time, for the record.

    Raises
    ------
    UserError
        If the model was tuned on other splits.
    """

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
        self.whole_spec = spec
        self.spec = spec.of_fold(cell.repeat, cell.fold)
        self.data = data
        self.encodings = encodings
        self.resources = resources
        self.seed = seed
        self.jobs = jobs
        self.fold_seed = seed + 1000 * cell.repeat + cell.fold  # one per repeat and fold, the same for every model
        self.parts = parts_of(data, spec, cell.repeat, cell.fold, self.fold_seed)
        self.maker = InputMaker(self.spec, data, encodings, seed)

    def result(self) -> CellResult:
        """Compute the whole cell; a failure becomes a record too."""
        fitted = self.fit()
        return fitted if isinstance(fitted, CellResult) else self.predict(fitted)

    def fit(self) -> Fitted | CellResult:
        """Fit the head; a failure is the cell's result."""
        return self._guarded(self._fit_and_refit)

    def predict(self, fitted: Fitted) -> CellResult:
        """Predict with what was fitted; a failure is the cell's result."""
        return self._guarded(lambda: self._predict(fitted))

    def validate(self) -> np.ndarray:
        """Fit, and return the validation part's probabilities (n_valid, n_classes): the test part is left out, not even read."""
        fitted = self._fit(self.parts.without_test())
        return predict(fitted.head, fitted.inputs.valid)

    def inputs(self, head: Any) -> CellInputs:
        """Return what this head gets of all parts."""
        return self.maker.make(head, self.parts)

    def prepare(self) -> None:
        """Compute everything the cell shares with others that the cache lacks."""
        self.maker.cache(build(self.spec.head, self.resources, "head"))

    def skipped(self, reason: str) -> CellResult:
        """Return the record of a cell that cannot be computed here."""
        return CellResult(self._record("skipped") | {"reason": reason})

    def failure(self, reason: str, details: str | None = None) -> CellResult:
        """Return the record of a failed cell."""
        return CellResult(self._record("failed") | {"reason": reason, "traceback": details})

    def _guarded(self, compute: Callable[[], T]) -> T | CellResult:
        """Return what was computed; or the cell's result if it was skipped or failed."""
        try:
            return compute()
        except skip_reasons() as error:
            return self.skipped(one_line(error))
        except UserError:
            raise
        except Exception as error:  # whatever a model does wrong fails its cell, not the run
            if is_disk_error(error):
                raise
            hint = f" ({_HINT})" if is_out_of_memory(error) else ""
            return self.failure(f"{type(error).__name__}: {one_line(error)}{hint}", traceback.format_exc())

    def _fit_and_refit(self) -> Fitted:
        """Fit; where the model asks for it, fit a second head to training and validation part with what the first one chose."""
        if not self.spec.refit:
            return self._fit(self.parts)
        check_refits(build(self.spec.head, self.resources, "head"), self.spec.head.class_)
        fitted = self._fit(self.parts.without_test())
        return replace(fitted, refitted=self._refit(fitted))

    def _refit(self, fitted: Fitted) -> Fitted:
        head = check_refits(build(fitted.part, self.resources, "head"), fitted.part.class_)
        inputs = self.maker.make(head, refit_parts(self.parts))
        X, y = inputs.train.joined(self.data.y[inputs.parts.train])
        choice = choice_of(fitted.head)
        with clock.measured() as cost:
            head.refit(X, y, [choice], self.fold_seed)
        return Fitted(head, inputs, cost, fitted.part)

    def _fit(self, parts: Parts) -> Fitted:
        """Fit; if memory runs out, try once more with half the batch."""
        head = build(self.spec.head, self.resources, "head")
        batch = 0
        try:
            return self._fit_head(head, parts, self.spec.head)
        except Exception as error:
            batch = contract.smaller_batch(head) if is_out_of_memory(error) else 0
            if not batch:
                raise
        del head
        clock.free_memory()  # outside of the except clause, which keeps the filled memory alive
        half = Part.model_validate({"class": self.spec.head.class_, **self.spec.head.parameters, "batch": batch})
        warning = f"out of memory with the suite's batch: fitted with batch = {batch}"
        return self._fit_head(build(half, self.resources, "head"), parts, half, (warning,))

    def _fit_head(self, head: Any, parts: Parts, part: Part, warnings: tuple[str, ...] = ()) -> Fitted:
        inputs = self.maker.make(head, parts)
        y, y_valid = self.data.y[inputs.parts.train], self.data.y[inputs.parts.valid]
        with clock.measured() as cost:
            fit(head, inputs.train, y, inputs.valid, y_valid, self.fold_seed)
        return Fitted(head, inputs, cost, part, warnings)

    def _predict(self, fitted: Fitted) -> CellResult:
        probability_valid = predict(fitted.head, fitted.inputs.valid)  # warm up before prediction is timed
        last = fitted.refitted or fitted
        head, inputs = last.head, last.inputs
        if fitted.refitted:
            predict(head, inputs.test)  # and the refitted head too
        probability_test, samples = clock.timed_repeats(lambda: predict(head, inputs.test))
        record = self._done(fitted, samples)
        parts = (("valid", fitted.inputs.parts.valid, probability_valid), ("test", inputs.parts.test, probability_test))
        tables = [self._table(*part) for part in parts]
        return CellResult(
            record, pd.concat(tables, ignore_index=True), head.save if isinstance(head, contract.SavableHead) else None
        )

    def _table(self, part: str, rows: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
        return prediction_table(part, self.data.image_ids[rows], self.data.y[rows], probability, self.data.classes)

    def _record(self, status: str) -> Record:
        """Return the record of the cell as far as it is known before it is computed."""
        parts = self.parts
        return {
            "model": self.cell.model,
            "family": family(self.spec),
            "repeat": self.cell.repeat,
            "fold": self.cell.fold,
            "provenance": {
                "splits": self.data.splits_digest,
                "pixels": self.encodings.digest,
                "model": model_digest(self.whole_spec.as_dict()),
                "seed": self.seed,
            },
            "status": status,
            "reason": None,
            "traceback": None,
            "n_train": len(parts.train),
            "n_valid": len(parts.valid),
            "n_test": len(parts.test),
            "timings": blank_timings(self.data.preprocess_seconds, len(parts.test), self.jobs),
            **blank_results(),
        }

    def _done(self, fitted: Fitted, samples: list[float]) -> Record:
        """Return the record of the finished cell; `samples` are the seconds of each prediction of the test part."""
        last, record = fitted.refitted or fitted, self._record("done")
        head, cost = last.head, fitted.cost
        pairwise = contract.is_pairwise(head)
        encode = self.encodings.timings(self.spec, pairwise=pairwise, landmarks=fitted.inputs.landmarks)
        record["timings"] |= {"encode": encode, "fit_seconds": cost.seconds, "predict_seconds": samples}
        if fitted.refitted:
            record["timings"]["refit_seconds"] = last.cost.seconds
            record["refit"] = {"n_train": len(last.inputs.parts.train)}
        n_encoders = sum(self.encodings.get(part).n_parameters for part in self.spec.encoders)
        others = max(cost.load_of_others, last.cost.load_of_others) if self.jobs == 1 else 0.0
        return record | {
            "key": cell_key(self.whole_spec, self.encodings, self.data, self.seed),
            "peak_memory_bytes": max(cost.peak_memory_bytes, last.cost.peak_memory_bytes),
            "n_parameters": contract.n_parameters(head) + n_encoders,
            "model_bytes": self._support_bytes(head),
            "weights": weights_of(self.spec, self.resources),
            "chosen": contract.chosen(fitted.head),
            "history": contract.history(fitted.head),
            "warnings": [*fitted.warnings, *clock.warnings(samples, others)],
        }

    def _support_bytes(self, head: Any) -> int:
        """Bytes of the encodings of the support vectors, which a kernel machine needs to predict; they are in the cache, not in the cell."""
        width = sum(self.encodings.get(part).values.shape[1] for part in self.spec.encoders)
        return contract.n_support(head) * width * np.dtype(np.float32).itemsize


def check_tuned(models: Mapping[str, ModelSpec], splits_digest: str) -> None:
    """Check that tuned models run on the splits that they were tuned on.

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


def weights_of(spec: ModelSpec, resources: Resources) -> list[dict[str, Any]]:
    """Return what is known of the pretrained weights that a model starts from: backbone, file, origin, licence, citations, sha256."""
    parts = [build(part, resources, "model") for part in (*spec.encoders, spec.head)]
    facts = [contract.weights_facts(part) for part in parts]
    return list({each["sha256"]: dict(each) for each in facts if each}.values())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the host's or a GPU's, was not enough; libraries written in C++ say so only in their message."""
    message = str(error).lower()
    words = ("out of memory", "bad_alloc", "can't allocate memory", "cannot allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ValueError) and any(word in message for word in words)
    )
