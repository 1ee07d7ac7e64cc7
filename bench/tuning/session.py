"""One ``bench tune``: from the request to the exit code."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from radiographs.disk import remove_leftovers, write_whole
from rich.console import Console
from rich.text import Text

from bench import environment
from bench.cells.encodings import Encodings
from bench.cells.experiment import Experiment
from bench.data import prepare
from bench.data.dataset import Data
from bench.data.prepare import Prepared
from bench.errors import DiskError, UserError, cause, one_line
from bench.executors.loop import plan_cells
from bench.recipes import contract
from bench.recipes.availability import without_packages
from bench.recipes.build import Resources, build, skip_reasons, with_search_spaces
from bench.recipes.plugins import write_beside
from bench.recipes.suite import Part, Suite
from bench.recipes.toml import suite_as_toml
from bench.session.record import data_digest
from bench.session.request import Request, check_request, requested_suite
from bench.session.run import DONE, INTERRUPTED, SOME_FAILED, prepare_data, report_skipped
from bench.store.lock import Lock
from bench.store.run_folder import RunFolder, StoreError
from bench.terminal.progress import Progress, clock_face
from bench.tuning.journal import NAME, open_journal
from bench.tuning.result import fairness, overview, stability, trials_table, tuned_suite
from bench.tuning.study import Budget, FoldStudy, Tuner
from reports.tables.export import csv_text

SUITE = "tuned.toml"


def tune_session(request: Request, budget: Budget, console: Console) -> int:
    """Tune what was requested and return the exit code.

    Raises
    ------
    UserError, SourceError, SplitsError
        For wrong input: one line, before anything is computed.
    """
    begun, progress = time.perf_counter(), Progress(console)
    gpu = bool(environment.gpu()) if request.device != "cpu" else False
    check_request(request, gpu=gpu)
    suite = with_search_spaces(requested_suite(request, progress, gpu=gpu))
    check_search(suite, Resources())
    cache = environment.cache_folder()
    listing = prepare.find_data(request.data, request.hints, cache, progress)
    folder = request.out or Path("tuned") / f"{listing.card.name}-{suite.name}"
    _make(folder)
    kept = f"finished trials are kept in {folder}"
    with Lock(RunFolder(folder)) as lock:
        try:
            prepared = prepare_data(request, suite, listing, cache, progress)
            code = _tune(request, suite, prepared, lock, cache, "cuda" if gpu else "cpu", budget, progress)
        except KeyboardInterrupt:
            console.print(Text(f"\ninterrupted: {kept}; resume with:\n  {request.resuming}"))
            return INTERRUPTED
        except OSError as error:
            raise DiskError(f"{cause(error)}: {kept}: fix this, then run the same command again") from error
        finally:
            if lock.is_mine():
                remove_leftovers(folder, all_=True)
    console.print(Text(f"{clock_face(time.perf_counter() - begun)} in all. Next: {_next(request, folder)}"))
    return code


def check_search(suite: Suite, resources: Resources) -> None:
    """Build every model with a value of each dimension, so that a wrong key is found before anything is computed.

    Raises
    ------
    UserError
        Naming the key in the suite; or if there is nothing to tune, or a model is already tuned.
    """
    if not any(spec.search for spec in suite.models.values()):
        raise UserError(
            f'suite {suite.name!r}: no model has a search space: give one, such as [models.NAME.search] with "head.C" = [[1], [10]]'
        )
    for name, spec in suite.models.items():
        if spec.tuned:
            raise UserError(f"models.{name}: is already tuned: tune the suite that it came from")
        tried = spec.with_values({key: dimension.first for key, dimension in spec.search.items()})
        for own, part in zip((*spec.encoders, spec.head), (*tried.encoders, tried.head), strict=True):
            try:
                built = build(part, resources, f"models.{name}.search")
                _check_lists(part, build(own, resources, f"models.{name}"), built, f"models.{name}.search")
            except skip_reasons():
                continue


def _check_lists(part: Part, own: Any, tried: Any, where: str) -> None:
    """Refuse a number if the class takes candidates: every trial would fail."""
    for name in part.parameters:
        if contract.takes_candidates(own, name) and not contract.takes_candidates(tried, name):
            raise UserError(f"{where}: {name} takes a list: write choices such as [[1], [10]], or as_list = true")


def _make(folder: Path) -> None:
    """Make the folder, or check that it holds a search that can be resumed."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file: give another --out")
    foreign = folder.is_dir() and {path.name for path in folder.iterdir() if not path.name.startswith(".tmp-")} - {
        "lock"
    }
    if foreign and NAME not in foreign:
        raise StoreError(f"{folder}: holds files but no trials: give another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made ({error.strerror}): give another --out") from None


def _tune(
    request: Request,
    suite: Suite,
    prepared: Prepared,
    lock: Lock,
    cache: Path,
    device: str,
    budget: Budget,
    progress: Progress,
) -> int:
    """Tune on prepared data, and write the results into the folder of the lock."""
    data, folder = prepared.data, lock.path.parent
    resources = Resources(data.task, device, request.weights_dir, request.offline, environment.threads())
    progress.note(f"tuning in {folder}; splits {data.splits_digest[:12]}; {budget} for each model and fold")
    encodings = Encodings(data.images, prepared.pixels.digest, cache, resources)
    experiment = Experiment(suite.models, data, encodings, resources, request.seed)
    tuner = Tuner(open_journal(folder), experiment, budget, progress)
    studies, skipped = tune_models(suite, tuner, lock)
    lock.check()
    facts = {"splits": data.splits_digest, "data": data_digest(prepared.manifest), "seed": request.seed}
    facts |= {"trials": budget.trials, "seconds": budget.seconds}
    write_whole(folder / SUITE, suite_as_toml(_with_cv(tuned_suite(suite, studies, facts), data)))
    write_beside(folder / SUITE, suite.models)
    write_whole(folder / "stability.csv", csv_text(stability(suite, studies)))
    write_whole(folder / "trials.csv", csv_text(trials_table(studies)))
    progress.console.print(overview(suite, studies))
    progress.note(fairness(suite, studies, skipped, budget))
    return SOME_FAILED if any(study.fault for each in studies.values() for study in each) else DONE


def tune_models(suite: Suite, tuner: Tuner, lock: Lock) -> tuple[dict[str, list[FoldStudy]], dict[str, str]]:
    """Tune every model that has a search space, in every fold: studies by model, and why models were skipped."""
    searched = suite.select([name for name, spec in suite.models.items() if spec.search])
    cells = plan_cells(searched, tuner.experiment.data.splits)
    studies: dict[str, list[FoldStudy]] = {}
    skipped, progress = without_packages(searched), tuner.progress
    report_skipped(skipped, progress)
    with progress.running(cells, 0):
        for cell in cells:
            if cell.model in skipped:
                continue
            lock.check()
            progress.cell_starts(cell)
            try:
                study = tuner.tune(cell, searched.models[cell.model])
            except skip_reasons() as error:
                skipped[cell.model] = one_line(error)
                progress.cell_ends(cell, {"status": "skipped", "reason": skipped[cell.model]}, {})
                continue
            studies.setdefault(cell.model, []).append(study)
            progress.cell_ends(cell, *_ended(study))
    return studies, skipped


def _ended(study: FoldStudy) -> tuple[dict[str, Any], dict[str, float]]:
    """Record and scores of a study, for the display."""
    if study.fault:
        return {"status": "failed", "reason": f"every trial failed, the last with {study.fault}"}, {}
    best = study.best.score if study.best else float("nan")
    return {"status": "done", "reason": None}, {"baseline": study.baseline, "tuned": best}


def _with_cv(suite: Suite, data: Data) -> Suite:
    """Return the suite with the actual folds: published splits may differ from it."""
    folds = {name: int(data.splits[column].nunique()) for name, column in (("folds", "fold"), ("repeats", "repeat"))}
    return suite.model_copy(update={"cv": suite.cv.model_copy(update=folds)})


def _next(request: Request, folder: Path) -> str:
    """Command that runs the tuned suite on the same splits."""
    words = ["bench", "run", "--all", "--suite", str(folder / SUITE)]
    given = {
        "--data": request.data,
        "--splits": request.splits,
        "--limit": request.limit,
        "--seed": request.seed or None,
    }
    given |= {"--holdout": request.holdout, "--weights-dir": request.weights_dir}
    return shlex.join([*words, *(str(word) for pair in given.items() if pair[1] is not None for word in pair)])
