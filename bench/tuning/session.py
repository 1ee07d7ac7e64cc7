"""One ``bench tune``: from the request to the exit code."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from radiographs.disk import remove_leftovers, write_whole
from radiographs.sources import Listing
from rich.console import Console
from rich.text import Text

from bench import environment
from bench.cells.encodings import Encodings
from bench.data import prepare
from bench.data.dataset import Data
from bench.errors import DiskError, UserError, cause, one_line
from bench.executors.loop import plan
from bench.recipes import contract
from bench.recipes.availability import grouped, without_packages
from bench.recipes.build import Resources, build, skip_reasons, with_search_spaces
from bench.recipes.plugins import write_beside
from bench.recipes.suite import Part, Suite
from bench.recipes.toml import suite_as_toml
from bench.session.record import data_digest
from bench.session.run import DONE, INTERRUPTED, SOME_FAILED, Request, requested_suite
from bench.store.lock import Lock
from bench.store.run_folder import RunFolder, StoreError
from bench.terminal.progress import View, clock_face
from bench.tuning.journal import NAME, open_journal
from bench.tuning.result import fairness, overview, stability, trials_table, tuned_suite
from bench.tuning.study import Budget, Study, Tuner
from reports.tables.export import csv_text

SUITE = "tuned.toml"


def tune_session(request: Request, budget: Budget, console: Console) -> int:
    """Tune what was asked for and return the exit code.

    Raises
    ------
    UserError, SourceError, SplitsError
        For wrong input: one line, before anything is computed.
    """
    begun, view = time.perf_counter(), View(console)
    gpu = environment.gpu() if request.device != "cpu" else None
    if request.device == "cuda" and gpu is None:
        raise UserError("--device cuda: there is no CUDA device here; use --device cpu")
    if request.weights_dir and not request.weights_dir.is_dir():
        raise UserError(f"--weights-dir {request.weights_dir}: no such folder")
    if request.holdout is not None and request.splits is not None:
        raise UserError("--holdout, --splits: give one of them; a published splits file decides on all images")
    suite = with_search_spaces(requested_suite(request, view, gpu))
    check_search(suite, Resources())
    cache = environment.cache_folder()
    listing = prepare.find_data(request.data, request.hints, cache, view)
    folder = request.out or Path("tuned") / f"{listing.card.name}-{suite.name}"
    _make(folder)
    with Lock(RunFolder(folder)) as lock:
        try:
            code = _tune(request, suite, listing, folder, lock, cache, "cuda" if gpu else "cpu", budget, view)
        except KeyboardInterrupt:
            again = request.command or "the same command"
            console.print(Text(f"\ninterrupted: finished trials are kept in {folder}; go on with:\n  {again}"))
            return INTERRUPTED
        except OSError as error:
            raise DiskError(
                f"{cause(error)}: finished trials are kept in {folder}: mend that, then give the same command again"
            ) from error
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
        Naming the key in the suite; or if there is nothing to tune, or a model is tuned already.
    """
    if not any(spec.search for spec in suite.models.values()):
        raise UserError(
            f'suite {suite.name!r}: no model has a search space: give one, such as [models.NAME.search] with "head.C" = [[1], [10]]'
        )
    for name, spec in suite.models.items():
        if spec.tuned:
            raise UserError(f"models.{name}: is tuned already: tune the suite that it came from")
        tried = spec.with_values({key: dimension.first for key, dimension in spec.search.items()})
        for own, part in zip((*spec.encoders, spec.head), (*tried.encoders, tried.head), strict=True):
            try:
                built = build(part, resources, f"models.{name}.search")
                _check_lists(part, build(own, resources, f"models.{name}"), built, f"models.{name}.search")
            except skip_reasons():
                continue


def _check_lists(part: Part, own: Any, tried: Any, where: str) -> None:
    """Refuse a number where the class takes candidates: every trial would fail."""
    for name in part.parameters:
        if contract.takes_candidates(own, name) and not contract.takes_candidates(tried, name):
            raise UserError(f"{where}: {name} takes a list: write choices such as [[1], [10]], or as_list = true")


def _make(folder: Path) -> None:
    """Make the folder, or see that it is one of ours to go on in."""
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
    listing: Listing,
    folder: Path,
    lock: Lock,
    cache: Path,
    device: str,
    budget: Budget,
    view: View,
) -> int:
    prepared = prepare.prepare(
        listing,
        suite,
        cache,
        limit=request.limit,
        splits_file=request.splits,
        seed=request.seed,
        view=view,
        holdout=request.holdout,
    )
    view.note(prepare.recognised(prepared))
    for note in prepared.notes:
        view.note(f"  note: {note}")
    data = prepared.data
    resources = Resources(data.task, device, request.weights_dir, request.offline, environment.threads())
    view.note(f"tuning in {folder}; splits {data.splits_digest[:12]}; {budget} for each model and fold")
    encodings = Encodings(data.images, prepared.pixels.digest, cache, resources)
    tuner = Tuner(open_journal(folder), data, encodings, resources, request.seed, budget, view)
    studies, skipped = tune_models(suite, tuner, lock)
    lock.check()
    facts = {"splits": data.splits_digest, "data": data_digest(prepared.manifest), "seed": request.seed}
    facts |= {"trials": budget.trials, "seconds": budget.seconds}
    write_whole(folder / SUITE, suite_as_toml(_with_cv(tuned_suite(suite, studies, facts), data)))
    write_beside(folder / SUITE, suite.models)
    write_whole(folder / "stability.csv", csv_text(stability(suite, studies)))
    write_whole(folder / "trials.csv", csv_text(trials_table(studies)))
    view.console.print(overview(suite, studies))
    said = fairness(suite, studies, skipped, budget)
    view.note(said)
    return SOME_FAILED if any(study.fault for each in studies.values() for study in each) else DONE


def tune_models(suite: Suite, tuner: Tuner, lock: Lock) -> tuple[dict[str, list[Study]], dict[str, str]]:
    """Tune every model that has a search space, in every fold: studies by model, and why models were skipped."""
    searched = suite.select([name for name, spec in suite.models.items() if spec.search])
    cells = plan(searched, tuner.data.splits)
    studies: dict[str, list[Study]] = {}
    skipped = without_packages(searched)
    for reason, names in grouped(skipped).items():
        tuner.view.note(f"skipped: {', '.join(names)}: {reason}")
    with tuner.view.running(cells, 0):
        for cell in cells:
            if cell.model in skipped:
                continue
            lock.check()
            tuner.view.cell_starts(cell)
            try:
                study = tuner.tune(cell, searched.models[cell.model])
            except skip_reasons() as error:
                skipped[cell.model] = one_line(error)
                tuner.view.cell_ends(cell, {"status": "skipped", "reason": skipped[cell.model]}, {})
                continue
            studies.setdefault(cell.model, []).append(study)
            tuner.view.cell_ends(cell, *_ended(study))
    return studies, skipped


def _ended(study: Study) -> tuple[dict[str, Any], dict[str, float]]:
    """Record and scores of a study, for the view."""
    if study.fault:
        return {"status": "failed", "reason": f"every trial failed, the last with {study.fault}"}, {}
    best = study.best.score if study.best else float("nan")
    return {"status": "done", "reason": None}, {"baseline": study.baseline, "tuned": best}


def _with_cv(suite: Suite, data: Data) -> Suite:
    """The suite with the folds that there are: published splits may have others than it says."""
    folds = {name: int(data.splits[column].nunique()) for name, column in (("folds", "fold"), ("repeats", "repeat"))}
    return suite.model_copy(update={"cv": suite.cv.model_copy(update=folds)})


def _next(request: Request, folder: Path) -> str:
    """Command that runs what was tuned, on the same splits."""
    words = ["bench", "run", "--all", "--suite", str(folder / SUITE)]
    given = {
        "--data": request.data,
        "--splits": request.splits,
        "--limit": request.limit,
        "--seed": request.seed or None,
    }
    given |= {"--holdout": request.holdout, "--weights-dir": request.weights_dir}
    return shlex.join([*words, *(str(word) for pair in given.items() if pair[1] is not None for word in pair)])
