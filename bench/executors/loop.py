"""The run loop: the plan of cells, and what is not there yet computed and stored whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

import numpy as np
import pandas as pd

from bench.cells.encodings import Encodings
from bench.cells.keys import CellKeyCache
from bench.cells.runner import CellResult, Runner, cell_key
from bench.cluster.config import Plan
from bench.data.dataset import Data
from bench.executors.processes import ProcessExecutor
from bench.recipes.build import Resources, skip_reasons
from bench.recipes.suite import ModelSpec, Suite
from bench.store.lock import Lock
from bench.store.run_folder import Cell, ModelNotSavedError, RunFolder, StoreError
from bench.terminal.progress import Progress


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    done: int
    skipped: int
    failed: int
    kept: int  # cells that were there already
    untested: int = 0  # models that could not be fitted for the last test


def plan(suite: Suite, splits: pd.DataFrame) -> list[Cell]:
    """All cells of a suite: model by model, so that what models share is computed just before it is used."""
    folds = sorted(set(zip(splits["repeat"], splits["fold"], strict=True)))
    return [Cell(model, int(repeat), int(fold)) for model, (repeat, fold) in product(suite.models, folds)]


def run_cells(
    suite: Suite,
    data: Data,
    folder: RunFolder,
    lock: Lock,
    keys: CellKeyCache,
    encodings: Encodings,
    resources: Resources,
    seed: int,
    view: Progress,
    *,
    jobs: int = 1,
    timeout: float | None = None,
    cluster: Plan | None = None,
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Compute every cell that the folder does not hold yet, `jobs` of them side by side or on a cluster, each for `timeout` seconds at most.

    Cells of the models in `skipped` get a record with the reason, unless their results are there.

    Raises
    ------
    StoreError
        If a cell in the folder was computed from something else than what it would be computed from now.
    """
    cells = plan(suite, data.splits)
    todo, kept = [], 0
    counts = {"done": 0, "skipped": 0, "failed": 0}
    for cell in cells:
        spec = suite.models[cell.model]
        if _is_there(folder, cell, spec, keys, encodings, data, seed, view):
            kept += 1
        elif cell.model in skipped:
            record = Runner(cell, spec, data, encodings, resources, seed).skipped(skipped[cell.model]).record
            folder.write_cell(cell, record, None, None)
            counts["skipped"] += 1
        else:
            todo.append(cell)
    with view.running(todo, kept):
        for cell, computed in _computed(
            todo, suite, data, folder, encodings, resources, seed, view, jobs, timeout, cluster
        ):
            lock.check()
            try:
                folder.write_cell(cell, computed.record, computed.predictions, computed.save)
            except ModelNotSavedError as error:
                computed = computed.failed(str(error))
                folder.write_cell(cell, computed.record, None, None)
            if computed.record["status"] == "done":
                key = computed.record["key"]
                keys.get(suite.models[cell.model], lambda key=key: key)
            counts[computed.record["status"]] += 1
            view.cell_ends(cell, computed.record, _scores(data, computed.predictions))
    return Outcome(**counts, kept=kept)


def _computed(
    cells: list[Cell],
    suite: Suite,
    data: Data,
    folder: RunFolder,
    encodings: Encodings,
    resources: Resources,
    seed: int,
    view: Progress,
    jobs: int,
    timeout: float | None,
    cluster: Plan | None,
) -> Iterator[tuple[Cell, CellResult]]:
    """Give every cell when it is done: one after another, `jobs` at a time, or from a cluster."""
    if cluster is not None and cells:
        from bench.cluster.executor import DaskExecutor  # Dask is loaded where it is asked for

        with DaskExecutor(
            cluster, suite.models, data, encodings, resources, seed, timeout=timeout, note=view.note
        ) as crew:
            yield from crew.computed(cells, view.cell_starts, view.epoch)
        return
    if (jobs > 1 or timeout is not None) and cells:  # only a process can be ended whatever it does
        with ProcessExecutor(jobs, suite.models, data, encodings, seed, folder.root, timeout=timeout) as crew:
            yield from crew.computed(cells, view.cell_starts, view.epoch)
        return
    resources = replace(resources, on_epoch=view.epoch)
    for cell in cells:
        view.cell_starts(cell)
        yield cell, Runner(cell, suite.models[cell.model], data, encodings, resources, seed).result()


def _is_there(
    folder: RunFolder,
    cell: Cell,
    spec: ModelSpec,
    keys: CellKeyCache,
    encodings: Encodings,
    data: Data,
    seed: int,
    view: Progress,
) -> bool:
    record, wrong = folder.read_cell(cell)
    if wrong:
        view.note(f"{cell.name}: {wrong}: it is computed again")
    if record is None or record["status"] != "done":
        return False
    try:
        key = keys.get(spec, lambda: cell_key(spec, encodings, data, seed))
    except skip_reasons():
        return True  # its weights are no longer here, but its result is
    if record["key"] != key:
        raise StoreError(
            f"{folder.cell_folder(cell)}: was computed with other weights or by another version of the model: give another --out"
        )
    return True


def _scores(data: Data, predictions: pd.DataFrame | None) -> dict[str, float]:
    """Scores of one finished cell, for the live view."""
    if predictions is None:
        return {}
    from reports.scores.metrics import fold_score

    def arrays(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = predictions[predictions["part"] == part]
        return rows[[f"truth/{c}" for c in data.classes]].to_numpy(), rows[
            [f"probability/{c}" for c in data.classes]
        ].to_numpy()

    return fold_score(*arrays("test"), *arrays("valid"), data.task, data.at_least_one)
