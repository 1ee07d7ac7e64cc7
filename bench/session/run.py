"""One ``bench run``: from the request to the exit code."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from radiographs.sources import Hints, Listing
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import environment
from bench.cells.encodings import Encodings
from bench.cells.keys import Keys
from bench.cells.runner import check_tuned
from bench.cluster.config import ClusterLostError, Plan, parse_plan
from bench.cluster.encodings import Elsewhere
from bench.data import prepare
from bench.data.pictures import write_pictures
from bench.errors import DiskError, UserError, cause
from bench.executors.loop import Outcome, run_cells
from bench.recipes.availability import grouped, without_packages, without_weights
from bench.recipes.build import Resources, check_families
from bench.recipes.plugins import find_beside
from bench.recipes.suite import Suite, load_suite, parse_setting, with_epochs
from bench.session.record import describe_run, open_run
from bench.store.lock import Lock
from bench.store.run_folder import RunFolder
from bench.terminal.progress import View, clock_face

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130
GPU_NOTE = (
    "on a GPU some kernels add in another order each time: networks may differ in their last digits from run to run"
)


@dataclass(frozen=True)
class Request:
    """What the user asked for; None where nothing was said."""

    models: tuple[str, ...] = ()
    data: str | None = None
    suite: str | None = None
    out: Path | None = None
    folds: int | None = None
    repeats: int | None = None
    seed: int = 0
    splits: Path | None = None
    epochs: int | None = None
    device: str = "auto"
    weights_dir: Path | None = None
    offline: bool = False
    limit: int | None = None
    settings: tuple[str, ...] = ()
    hints: Hints = field(default_factory=Hints)
    pictures: bool = True
    jobs: int = 1
    timeout: float | None = None
    scheduler: str | None = None
    cluster: str | None = None
    holdout: float | None = None
    test: str | None = None
    test_hints: Hints | None = None  # where the folder for the last test is another kind of source than the data
    mlflow: str | None = None
    mlflow_answered: bool = False  # a study asks once, before its first run
    command: str = ""


def run_session(request: Request, console: Console) -> int:
    """Run what was asked for and return the exit code.

    Raises
    ------
    UserError, SourceError, SplitsError
        For wrong input: one line, before anything is computed.
    """
    begun = time.perf_counter()
    view = View(console)
    gpu = environment.gpu() if request.device != "cpu" else None
    plan = parse_plan(request.scheduler, request.cluster, jobs=request.jobs, cores=environment.threads())
    if request.device == "cuda" and gpu is None and plan is None:
        raise UserError("--device cuda: there is no CUDA device here; use --device cpu")
    if request.weights_dir and not request.weights_dir.is_dir():
        raise UserError(f"--weights-dir {request.weights_dir}: no such folder")
    if (request.holdout is not None) + (request.test is not None) + (request.splits is not None) > 1:
        raise UserError("--holdout, --test, --splits: give one of them; a published splits file decides on all images")
    if request.mlflow and not request.mlflow_answered:
        from bench.session import tracking

        tracking.connect(request.mlflow)  # before anything is computed
    device = _device(request, plan, gpu=gpu is not None)
    suite = requested_suite(request, view, device if device == "cuda" else None)
    cache = environment.cache_folder()
    listing = prepare.find_data(request.data, request.hints, cache, view)
    folder = RunFolder(request.out or Path("runs") / f"{listing.card.name}-{suite.name}")
    folder.make()
    with Lock(folder) as lock:
        try:
            outcome = _run(request, suite, listing, folder, lock, cache, device, plan, view)
        except KeyboardInterrupt:
            again = request.command or "the same command"
            console.print(Text(f"\ninterrupted: finished cells are kept in {folder.root}; go on with:\n  {again}"))
            return INTERRUPTED
        except ClusterLostError as error:
            again = request.command or "the same command"
            console.print(Text(f"\n{error}: finished cells are kept in {folder.root}; go on with:\n  {again}"))
            return SOME_FAILED
        except OSError as error:
            raise DiskError(
                f"{cause(error)}: finished cells are kept in {folder.root}: mend that, then give the same command again"
            ) from error
        finally:
            if lock.is_mine():
                folder.clear_leftovers()
    code = _farewell(outcome, folder, console, time.perf_counter() - begun)
    return _logged(request.mlflow, folder, console, code) if request.mlflow else code


def _logged(server: str, folder: RunFolder, console: Console, code: int) -> int:
    """Send the run to a tracking server; the exit code says if that is not done."""
    from bench.session.tracking import TrackingError, connect, log_run

    try:
        console.print(Text(log_run(connect(server), folder.root)))
    except (TrackingError, UserError) as error:
        said = f"warning: not logged to MLflow ({error}): the run is whole in {folder.root}; the same command sends it"
        console.print(Text(said))
        return max(code, SOME_FAILED)
    except KeyboardInterrupt:
        console.print(Text(f"\ninterrupted: not logged; the run is whole in {folder.root}; the same command sends it"))
        return INTERRUPTED
    return code


def requested_suite(request: Request, view: View, gpu: str | None) -> Suite:
    """Return the suite with everything the command line changes in it."""
    name = request.suite or _default_suite(request.models, view, gpu)
    suite = load_suite(name, dict(parse_setting(text) for text in request.settings))
    if name.endswith(".toml"):
        find_beside(Path(name), suite)
    changes = {
        key: value for key, value in (("folds", request.folds), ("repeats", request.repeats)) if value is not None
    }
    if request.splits and changes:
        raise UserError("--splits: the file decides folds and repeats; leave out --folds and --repeats")
    suite = suite.model_copy(update={"cv": suite.cv.model_copy(update=changes)})
    if suite.cv.folds < 2:
        raise UserError(f"--folds {suite.cv.folds}: give 2 or more")
    suite = suite.select(request.models) if request.models else suite
    check_families(suite)
    return with_epochs(suite, request.epochs) if request.epochs is not None else suite


def _device(request: Request, plan: Plan | None, *, gpu: bool) -> str:
    """Kind of device on which heads learn: on a cluster its workers', whatever this machine has."""
    if plan is None:
        return "cuda" if gpu else "cpu"
    from bench.cluster.connect import declares_gpu

    found = declares_gpu(plan, threads=environment.threads(), gpu=gpu)  # also finds out now whether a scheduler answers
    return request.device if request.device != "auto" else "cuda" if found else "cpu"


def _default_suite(models: tuple[str, ...], view: View, gpu: str | None) -> str:
    """Return the suite for a command that names none: the first that has the models, by whether there is a GPU."""
    order = ["standard", "quick"] if gpu else ["quick", "standard"]
    if not models:
        if not gpu:
            view.note("no GPU: suite 'quick'; for every model, which takes hours without one: --suite standard")
        return order[0]
    return next((name for name in order if set(models) <= set(load_suite(name).models)), order[0])


def _run(
    request: Request,
    suite: Suite,
    listing: Listing,
    folder: RunFolder,
    lock: Lock,
    cache: Path,
    device: str,
    plan: Plan | None,
    view: View,
) -> Outcome:
    skipped = without_packages(suite)
    _say_skipped(skipped, view)
    prepared = prepare.prepare(
        listing,
        suite,
        cache,
        limit=request.limit,
        splits_file=request.splits,
        seed=request.seed,
        view=view,
        holdout=request.holdout,
        test=None if request.test is None else (request.test, request.test_hints or request.hints),
    )
    view.note(prepare.recognised(prepared))
    if device == "cuda":
        prepared = replace(prepared, notes=(*prepared.notes, GPU_NOTE))
    for note in prepared.notes:
        view.note(f"  note: {note}")
    data = prepared.data
    check_tuned(suite.models, data.splits_digest)
    resources = Resources(
        task=data.task,
        device=device,
        weights_dir=request.weights_dir,
        offline=request.offline,
        threads=environment.threads(),
    )
    keys = Keys(cache, resources, (prepared.pixels.digest, data.splits_digest, request.seed))
    missing = without_weights(_to_look_for(suite, keys, skipped), resources)
    _say_skipped(missing, view)
    folder.clear_leftovers()
    run = open_run(folder, describe_run(prepared, suite, request.seed, request.command, device), prepared, view.note)
    view.console.print(_balance(prepared))
    view.note(f"run {run['run_id']} in {folder.root}; splits {run['splits']['digest'][:12]}")
    usable = prepared.manifest[prepared.manifest["status"] == "ok"].reset_index(drop=True)
    if request.pictures:
        write_pictures(
            folder,
            listing.root,
            usable,
            prepared.pixels.files,
            data.images,
            suite,
            request.seed,
            environment.threads(),
            view.note,
        )
    own = replace(resources, device="cuda" if device == "cuda" and environment.gpu() else "cpu")
    encodings = Encodings(data.images, prepared.pixels.digest, cache, own)
    outcome = run_cells(
        suite,
        data,
        folder,
        lock,
        keys,
        encodings if own == resources else Elsewhere(encodings, resources),
        resources,
        request.seed,
        view,
        jobs=request.jobs,
        timeout=request.timeout,
        cluster=plan,
        skipped=skipped | missing,
    )
    if data.held_out is None:
        return outcome
    from bench.export.final_test import score_holdout

    return replace(outcome, untested=score_holdout(folder, data, encodings, own, view.note))


def _to_look_for(suite: Suite, keys: Keys, skipped: dict[str, str]) -> Suite:
    """Models whose parts must be built to see what they need; one whose key is known was built before."""
    return suite.select(name for name, spec in suite.models.items() if name not in skipped and not keys.known(spec))


def _say_skipped(skipped: dict[str, str], view: View) -> None:
    """Say once per reason which models are skipped."""
    for reason, names in grouped(skipped).items():
        view.note(f"skipped: {', '.join(names)}: {reason}")


def _balance(prepared: prepare.Prepared) -> Table:
    """Test images of each class in each fold."""
    rows = prepare.fold_table(prepared.data)
    table = Table(title="test images per fold (first repeat)", box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column("class")
    for fold in range(len(rows[0][1])):
        table.add_column(f"fold {fold}", justify="right")
    for name, counts in rows:
        table.add_row(Text(name), *map(str, counts))
    return table


def _farewell(outcome: Outcome, folder: RunFolder, console: Console, seconds: float) -> int:
    from reports.pages.terminal import held_out_summary, summary_table, unfinished
    from reports.runs.results import load

    results = load(folder.root)
    console.print(summary_table(results, console.width))
    for line in unfinished(results):
        console.print(Text(line))
    if results.held_out:
        console.print(held_out_summary(results))
    parts = [
        f"{outcome.done} cells computed",
        f"{outcome.kept} kept",
        f"{outcome.skipped} skipped",
        f"{outcome.failed} failed",
    ]
    console.print(
        Text(f"{', '.join(parts)} in {clock_face(seconds)}. Next: bench report {shlex.quote(str(folder.root))} --html")
    )
    return SOME_FAILED if outcome.failed or outcome.untested else DONE
