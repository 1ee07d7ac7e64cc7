"""The run loop: the plan of cells; missing ones are computed and stored whole."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

import numpy as np
import pandas as pd

from bench.cells.experiment import Experiment
from bench.cells.keys import CellKeyCache
from bench.cells.record import CellResult
from bench.data.dataset import Data
from bench.executors.executor import Executor
from bench.recipes.build import skip_reasons
from bench.recipes.suite import Suite
from bench.store.lock import Lock
from bench.store.run_folder import Cell, ModelNotSavedError, RunFolder, StoreError
from bench.terminal.progress import Progress
from reports.runs.format import LABEL_SETS, THRESHOLD, decision_rule, probability_columns, truth_columns


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    done: int
    skipped: int
    failed: int
    kept: int  # cells that were already in the folder
    untested: int = 0  # models that could not be fitted for the final test


@dataclass(frozen=True)
class SerialExecutor:
    """Computes one cell after another in this process.

    Attributes
    ----------
    experiment : Experiment
    progress : Progress
    """

    experiment: Experiment
    progress: Progress

    def run(self, cells: Sequence[Cell]) -> Generator[tuple[Cell, CellResult]]:
        """Give every cell with its result."""
        resources = replace(self.experiment.resources, on_epoch=self.progress.epoch)
        experiment = self.experiment.with_resources(resources)
        for cell in cells:
            self.progress.cell_starts(cell)
            yield cell, experiment.runner(cell).result()


def plan_cells(suite: Suite, splits: pd.DataFrame) -> list[Cell]:
    """Return all cells of a suite: model by model, so that what models share is computed just before it is used."""
    folds = sorted(set(zip(splits["repeat"], splits["fold"], strict=True)))
    return [Cell(model, int(repeat), int(fold)) for model, (repeat, fold) in product(suite.models, folds)]


def run_cells(
    cells: Sequence[Cell],
    experiment: Experiment,
    executor: Executor,
    folder: RunFolder,
    lock: Lock,
    keys: CellKeyCache,
    progress: Progress,
    *,
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Compute and store every cell that the folder does not hold yet.

    Parameters
    ----------
    cells : sequence of Cell
        All of the run.
    experiment : Experiment
    executor : Executor
        Computes the experiment's cells.
    folder : RunFolder
    lock : Lock
        Held on the folder; it is checked before each cell is written.
    keys : CellKeyCache
    progress : Progress
    skipped : mapping of str to str, optional
        Models that cannot be computed here, with the reason, which goes into their cells' records unless there are results.

    Returns
    -------
    Outcome

    Raises
    ------
    StoreError
        If a cell in the folder was computed from other inputs than it would be now.
    """
    missing = [cell for cell in cells if not is_cached(cell, experiment, folder, keys, progress)]
    todo = [cell for cell in missing if cell.model not in skipped]
    for cell in missing:
        if cell.model in skipped:
            folder.write_cell(cell, experiment.runner(cell).skipped(skipped[cell.model]).record, None, None)
    counts = {"done": 0, "skipped": len(missing) - len(todo), "failed": 0}
    n_kept, rule = len(cells) - len(missing), decision_of(folder)
    with progress.running(todo, n_kept), closing(executor.run(todo)) as results:
        for cell, result in results:
            lock.check()
            stored = _store(folder, cell, result)
            if stored.record["status"] == "done":
                key = stored.record["key"]
                keys.get(experiment.models[cell.model], lambda key=key: key)
            counts[stored.record["status"]] += 1
            progress.cell_ends(cell, stored.record, _scores(cell, experiment.data, rule, stored.predictions))
    return Outcome(**counts, kept=n_kept)


def is_cached(cell: Cell, experiment: Experiment, folder: RunFolder, keys: CellKeyCache, progress: Progress) -> bool:
    """Whether the folder holds the finished cell.

    Raises
    ------
    StoreError
        If it was computed from other inputs than it would be now.
    """
    record, wrong = folder.read_cell(cell)
    if wrong:
        progress.note(f"{cell.name}: {wrong}: computing it again")
    if record is None or record["status"] != "done":
        return False
    spec = experiment.models[cell.model]
    try:
        key = keys.get(spec, lambda: experiment.key(spec))
    except skip_reasons():
        return True  # its weights are gone, but its result is here
    if record["key"] != key:
        raise StoreError(
            f"{folder.cell_folder(cell)}: was computed with other weights or by another version of the model: give another --out"
        )
    return True


def decision_of(folder: RunFolder) -> str:
    """Return the decision rule of a run, as its run.json has it."""
    run, _ = folder.read_run()
    return decision_rule(run["suite"]) if run else THRESHOLD


def _store(folder: RunFolder, cell: Cell, result: CellResult) -> CellResult:
    """Write a cell; one whose model cannot be saved has failed."""
    try:
        folder.write_cell(cell, result.record, result.predictions, result.save)
    except ModelNotSavedError as error:
        result = result.failed(str(error))
        folder.write_cell(cell, result.record, None, None)
    return result


def _scores(cell: Cell, data: Data, rule: str, predictions: pd.DataFrame | None) -> dict[str, float]:
    """Scores of one finished cell, for the display."""
    if predictions is None:
        return {}
    from reports.scores.decision import seen_label_sets
    from reports.scores.metrics import fold_score

    def arrays(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = predictions[predictions["part"] == part]
        return rows[truth_columns(data.classes)].to_numpy(), rows[probability_columns(data.classes)].to_numpy()

    sets = None
    if rule == LABEL_SETS and data.task == "multilabel":
        outside = np.isin(data.part(cell.repeat, cell.fold), ("train", "valid"))
        sets = seen_label_sets(data.y[outside], data.at_least_one)
    return fold_score(*arrays("test"), *arrays("valid"), data.task, data.at_least_one, sets)
