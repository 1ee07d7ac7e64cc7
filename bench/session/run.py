"""One ``bench run``: from the request to the exit code."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from radiographs.sources import Listing
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import environment
from bench.cells.encodings import Encodings
from bench.cells.experiment import Experiment
from bench.cells.keys import CellKeyCache
from bench.cells.runner import check_tuned
from bench.cluster.config import ClusterLostError, Plan, parse_plan
from bench.cluster.host_encodings import HostEncodings
from bench.data import prepare
from bench.data.pictures import write_pictures
from bench.errors import DiskError, UserError, cause
from bench.executors.executor import Executor
from bench.executors.loop import Outcome, SerialExecutor, plan_cells, run_cells
from bench.executors.processes import ProcessExecutor
from bench.recipes.availability import grouped, without_packages, without_weights
from bench.recipes.build import Resources
from bench.recipes.suite import Suite
from bench.session.record import describe_run, open_run
from bench.session.request import Request, check_request, requested_suite
from bench.store.lock import Lock
from bench.store.run_folder import RunFolder
from bench.terminal.progress import Progress, clock_face
from bench.terminal.tables import plain_table

__all__ = ["DONE", "INTERRUPTED", "SOME_FAILED", "prepare_data", "report_skipped", "run_session"]

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130
GPU_NOTE = (
    "on a GPU some kernels sum in a different order each time: networks may differ in their last digits from run to run"
)


@dataclass(frozen=True)
class _Place:
    """Where one run happens.

    Attributes
    ----------
    folder : RunFolder
    lock : Lock
        Held on the folder.
    cache : Path
    device : str
        Kind of device on which heads learn, ``cpu`` or ``cuda``.
    plan : Plan or None
        Of a cluster.
    progress : Progress
    """

    folder: RunFolder
    lock: Lock
    cache: Path
    device: str
    plan: Plan | None
    progress: Progress


def run_session(request: Request, console: Console) -> int:
    """Run what was requested and return the exit code.

    Raises
    ------
    UserError, SourceError, SplitsError
        For wrong input: one line, before anything is computed.
    """
    begun = time.perf_counter()
    progress = Progress(console)
    gpu = bool(environment.gpu()) if request.device != "cpu" else False
    plan = parse_plan(request.scheduler, request.cluster, jobs=request.jobs, cores=environment.threads())
    check_request(request, gpu=gpu or plan is not None)
    if request.mlflow and not request.mlflow_answered:
        from bench.session import tracking

        tracking.connect(request.mlflow)  # before anything is computed
    device = _device(request, plan, gpu=gpu)
    suite = requested_suite(request, progress, gpu=device == "cuda")
    cache = environment.cache_folder()
    listing = prepare.find_data(request.data, request.hints, cache, progress)
    folder = RunFolder(request.out or Path("runs") / f"{listing.card.name}-{suite.name}")
    folder.make()
    with Lock(folder) as lock:
        place = _Place(folder, lock, cache, device, plan, progress)
        outcome = _run_guarded(request, suite, listing, place)
    if isinstance(outcome, int):
        return outcome
    code = _print_summary(outcome, folder, console, time.perf_counter() - begun)
    return _logged(request.mlflow, folder, console, code) if request.mlflow else code


def _run_guarded(request: Request, suite: Suite, listing: Listing, place: _Place) -> Outcome | int:
    """Run; if interrupted from outside, print how to resume and return the exit code."""
    folder, console = place.folder, place.progress.console
    kept = f"finished cells are kept in {folder.root}"
    try:
        return _run(request, suite, listing, place)
    except KeyboardInterrupt:
        console.print(Text(f"\ninterrupted: {kept}; resume with:\n  {request.resuming}"))
        return INTERRUPTED
    except ClusterLostError as error:
        console.print(Text(f"\n{error}: {kept}; resume with:\n  {request.resuming}"))
        return SOME_FAILED
    except OSError as error:
        raise DiskError(f"{cause(error)}: {kept}: fix this, then run the same command again") from error
    finally:
        if place.lock.is_mine():
            folder.clear_leftovers()


def _run(request: Request, suite: Suite, listing: Listing, place: _Place) -> Outcome:
    """Prepare the data, describe the run, compute its cells and score them on the test set."""
    progress = place.progress
    skipped = without_packages(suite)
    report_skipped(skipped, progress)
    notes = (GPU_NOTE,) if place.device == "cuda" else ()
    prepared = prepare_data(request, suite, listing, place.cache, progress, notes)
    data = prepared.data
    check_tuned(suite.models, data.splits_digest)
    resources = _resources(request, data.task, place.device)
    keys = CellKeyCache(place.cache, resources, (prepared.pixels.digest, data.splits_digest, request.seed))
    missing = without_weights(_unbuilt(suite, keys, skipped), resources)
    report_skipped(missing, progress)
    place.folder.clear_leftovers()
    _open_folder(request, suite, prepared, place)
    experiment, own = _experiment(request, suite, prepared, resources, place)
    cells = plan_cells(suite, data.splits)
    executor = choose_executor(request, experiment, place.folder, place.plan, progress)
    outcome = run_cells(
        cells, experiment, executor, place.folder, place.lock, keys, progress, skipped={**skipped, **missing}
    )
    if data.held_out is None:
        return outcome
    from bench.export.final_test import score_holdout

    return replace(outcome, untested=score_holdout(place.folder, data, own, own.resources, progress.note))


def prepare_data(
    request: Request, suite: Suite, listing: Listing, cache: Path, progress: Progress, notes: tuple[str, ...] = ()
) -> prepare.Prepared:
    """Decode, label and split what a request names, and report how it was understood; `notes` are added to those on the data."""
    prepared = prepare.prepare(
        listing,
        suite,
        cache,
        limit=request.limit,
        splits_file=request.splits,
        seed=request.seed,
        progress=progress,
        holdout=request.holdout,
        test=request.test_source,
    )
    progress.note(prepare.describe_dataset(prepared))
    prepared = replace(prepared, notes=(*prepared.notes, *notes))
    for note in prepared.notes:
        progress.note(f"  note: {note}")
    return prepared


def choose_executor(
    request: Request, experiment: Experiment, folder: RunFolder, plan: Plan | None, progress: Progress
) -> Executor:
    """Return what computes the cells: a cluster, processes, or this process."""
    if plan is not None:
        from bench.cluster.executor import DaskExecutor  # Dask is loaded only when requested

        return DaskExecutor(experiment, plan, progress, timeout=request.timeout)
    if request.jobs > 1 or request.timeout is not None:  # only a process can be killed whatever it does
        return ProcessExecutor(experiment, request.jobs, folder.root, progress, timeout=request.timeout)
    return SerialExecutor(experiment, progress)


def report_skipped(skipped: Mapping[str, str], progress: Progress) -> None:
    """Report once per reason which models are skipped."""
    for reason, names in grouped(dict(skipped)).items():
        progress.note(f"skipped: {', '.join(names)}: {reason}")


def _resources(request: Request, task: str, device: str) -> Resources:
    return Resources(
        task=task,
        device=device,
        weights_dir=request.weights_dir,
        offline=request.offline,
        threads=environment.threads(),
    )


def _experiment(
    request: Request, suite: Suite, prepared: prepare.Prepared, resources: Resources, place: _Place
) -> tuple[Experiment, Encodings]:
    """Return the experiment, and the encodings with the resources of this process, which may differ from those of a cluster's workers."""
    data = prepared.data
    own = replace(resources, device="cuda" if place.device == "cuda" and environment.gpu() else "cpu")
    encodings = Encodings(data.images, prepared.pixels.digest, place.cache, own)
    shared = encodings if own == resources else HostEncodings(encodings, resources)
    return Experiment(suite.models, data, shared, resources, request.seed), encodings


def _open_folder(request: Request, suite: Suite, prepared: prepare.Prepared, place: _Place) -> None:
    """Describe the run in its folder, or check that the folder holds the same run; write the pictures."""
    folder, progress = place.folder, place.progress
    facts = describe_run(prepared, suite, request.seed, request.command, place.device)
    run = open_run(folder, facts, prepared, progress.note)
    progress.console.print(_fold_table(prepared))
    progress.note(f"run {run['run_id']} in {folder.root}; splits {run['splits']['digest'][:12]}")
    if request.pictures:
        write_pictures(folder, prepared, suite, request.seed, environment.threads(), progress.note)


def _device(request: Request, plan: Plan | None, *, gpu: bool) -> str:
    """Kind of device on which heads learn: on a cluster its workers', whatever this machine has."""
    if plan is None:
        return "cuda" if gpu else "cpu"
    from bench.cluster.connect import declares_gpu

    found = declares_gpu(plan, threads=environment.threads(), gpu=gpu)  # also fails now if no scheduler answers
    return request.device if request.device != "auto" else "cuda" if found else "cpu"


def _unbuilt(suite: Suite, keys: CellKeyCache, skipped: Mapping[str, str]) -> Suite:
    """Models whose parts must be built to find their needs; one with a cached key was built before."""
    return suite.select(name for name, spec in suite.models.items() if name not in skipped and not keys.cached(spec))


def _fold_table(prepared: prepare.Prepared) -> Table:
    """Test images of each class in each fold."""
    rows = prepare.test_counts(prepared.data)
    table = plain_table("test images per fold (first repeat)")
    table.add_column("class")
    for fold in range(len(rows[0][1])):
        table.add_column(f"fold {fold}", justify="right")
    for name, counts in rows:
        table.add_row(Text(name), *map(str, counts))
    return table


def _print_summary(outcome: Outcome, folder: RunFolder, console: Console, seconds: float) -> int:
    """Print the scores and the outcome; return the exit code."""
    from reports.pages.terminal import held_out_summary, summary_table, unfinished
    from reports.runs.results import load

    results = load(folder.root)
    console.print(summary_table(results, console.width))
    for line in unfinished(results):
        console.print(Text(line))
    if results.held_out:
        console.print(held_out_summary(results))
    counts = f"{outcome.done} cells computed, {outcome.kept} kept, {outcome.skipped} skipped, {outcome.failed} failed"
    report = f"bench report {shlex.quote(str(folder.root))} --html"
    console.print(Text(f"{counts} in {clock_face(seconds)}. Next: {report}"))
    return SOME_FAILED if outcome.failed or outcome.untested else DONE


def _logged(server: str, folder: RunFolder, console: Console, code: int) -> int:
    """Send the run to a tracking server; a failure changes the exit code."""
    from bench.session.tracking import TrackingError, connect, log_run

    try:
        console.print(Text(log_run(connect(server), folder.root)))
    except (TrackingError, UserError) as error:
        warning = f"not logged to MLflow ({error}): the run is whole in {folder.root}; the same command sends it"
        console.print(Text(f"warning: {warning}"))
        return max(code, SOME_FAILED)
    except KeyboardInterrupt:
        console.print(Text(f"\ninterrupted: not logged; the run is whole in {folder.root}; the same command sends it"))
        return INTERRUPTED
    return code
