"""``bench predict`` from request to exit code."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from radiographs.readers import SECONDS, readers
from rich.console import Console
from rich.markup import escape

from bench import environment
from bench.cluster.config import ClusterLostError, Plan, parse_plan
from bench.errors import UserError
from bench.inference.decision import NOT_SURE, OUT_OF_DISTRIBUTION, SURE
from bench.inference.inputs import Item, list_files
from bench.inference.model import Model, load_model
from bench.inference.parts import is_begun, is_partitioned, parts_folder
from bench.inference.predict import PART, Compute, Settings, Tally, predict_files, predict_to
from bench.inference.rows import FAILED, SEPARATOR
from bench.inference.submission import class_numbers, write_submission
from bench.inference.tables import FORMATS, read_rows
from bench.terminal.progress import Progress

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130  # exit codes


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What the user requested.

    Attributes
    ----------
    model : Path
        Model folder.
    paths : tuple of str
        Files, folders, patterns, or "-" for a list on standard input.
    out : Path or None
        Table to write; None to print the predictions.
    kaggle : Path or None
        Submission file to write as well.
    overwrite : bool
        Whether `out` and `kaggle` may be replaced.
    engine, device : str
        See `bench.inference.model.load_model`.
    every_frame : bool
        Whether every frame of a DICOM file is an image, or the first alone.
    allow_outside : bool
        Whether links may lead outside a folder.
    max_pixels : int
        Larger images are not decoded; all frames count.
    seconds : float
        Time for an image.
    trusted : bool
        Whether classes from outside of xraybench may be imported.
    scheduler, cluster : str or None
        Dask workers to predict on.
    part : int
        Files per part of the predictions.
    command : str
        The command as typed.
    """

    model: Path
    paths: tuple[str, ...]
    out: Path | None = None
    kaggle: Path | None = None
    overwrite: bool = False
    engine: str = "auto"
    device: str = "auto"
    every_frame: bool = False
    allow_outside: bool = False
    max_pixels: int = 100_000_000
    seconds: float = SECONDS
    trusted: bool = False
    scheduler: str | None = None
    cluster: str | None = None
    part: int = PART
    command: str = "bench predict"


def predict_session(request: PredictRequest, listed: Iterable[str], console: Console) -> int:
    """Predict what was requested, and return the exit code.

    Parameters
    ----------
    request : PredictRequest
        What to predict, and where to write it.
    listed : iterable of str
        Lines of standard input.
    console : Console
        Where to print.

    Returns
    -------
    int
        1 if a file could not be read or the cluster was lost, 130 if interrupted, else 0.

    Raises
    ------
    UserError
        If the request cannot be followed.
    """
    _check_outputs(request)
    plan = parse_plan(request.scheduler, request.cluster, jobs=1, cores=environment.threads())
    if plan and not request.out:
        raise UserError("--scheduler, --cluster: give --out too, where the predictions are kept")
    readers(started=0 if plan else 1)  # loads its libraries while the model is opened
    model = load_model(request.model, request.engine, request.device, trusted=request.trusted)
    numbers = class_numbers(model.classes) if request.kaggle else {}
    passed_over: Counter[str] = Counter()
    items = list_files(request.paths, listed, passed_over, outside=request.allow_outside)
    settings = Settings(environment.threads(), request.every_frame, request.max_pixels, request.part, request.seconds)
    if request.out is None:
        counts = print_predictions(predict_files(model, items, settings), console)
    else:
        compute = _on_cluster(plan, request, model, settings, console) if plan else None
        try:
            counts = _write(request.out, model, items, settings, compute, console, overwrite=request.overwrite)
        except (KeyboardInterrupt, ClusterLostError) as error:
            return _stopped(error, request.out, request.command, console)
    for reason, n in sorted(passed_over.items()):
        console.print(escape(f"{n} files skipped: {reason}"))
    if request.kaggle and request.out:
        empty = write_submission(request.kaggle, read_rows(request.out), numbers)
        ending = f"; {empty} files without a label have an empty Target" if empty else ""
        console.print(escape(f"wrote {request.kaggle}{ending}"))
    return SOME_FAILED if counts[FAILED] else DONE


def _check_outputs(request: PredictRequest) -> None:
    """Refuse outputs that cannot be written, before a model is opened."""
    if request.kaggle and not request.out:
        raise UserError("--kaggle: give --out too, the table it is made from")
    for path in filter(None, (request.out, request.kaggle)):
        if is_partitioned(path) and path.is_dir() and any(path.iterdir()) and not is_begun(path):
            raise UserError(f"{path}: is a folder with other things in it: give another name")
        if path.exists() and not request.overwrite and not path.is_dir():
            raise UserError(f"{path}: exists already: give another name, or --overwrite")
    if request.out and request.out.suffix not in FORMATS and not is_partitioned(request.out):
        raise UserError(f"--out {request.out}: name a {', '.join(FORMATS)} file, or a folder")


def _on_cluster(plan: Plan, request: PredictRequest, model: Model, settings: Settings, console: Console) -> Compute:
    from bench.inference.distributed import ClusterPredictor

    return ClusterPredictor(plan, model, settings, console.print, device=request.device, trusted=request.trusted)


def _write(
    out: Path,
    model: Model,
    items: Iterable[Item],
    settings: Settings,
    compute: Compute | None,
    console: Console,
    *,
    overwrite: bool,
) -> Counter[str]:
    """Write the table, and print a summary."""
    begun = time.perf_counter()
    with Progress(console).counting_open("predicting files") as progress:
        tally = predict_to(out, model, items, settings, progress=progress, compute=compute, overwrite=overwrite)
    for line in _summary(out, tally, time.perf_counter() - begun):
        console.print(escape(line))
    return tally.counts


def _stopped(error: BaseException, out: Path, command: str, console: Console) -> int:
    """Print where the predictions are kept and how to resume; return the exit code."""
    interrupted = isinstance(error, KeyboardInterrupt)
    trouble = "interrupted" if interrupted else str(error)
    console.print(escape(f"\n{trouble}: predictions are kept in {parts_folder(out)}; resume with:\n  {command}"))
    return INTERRUPTED if interrupted else SOME_FAILED


def _summary(out: Path, tally: Tally, seconds: float) -> list[str]:
    n = sum(tally.counts.values())
    counted = ", ".join(f"{tally.counts[key]} {key}" for key in (SURE, NOT_SURE, OUT_OF_DISTRIBUTION, FAILED))
    kept = f"; {tally.kept} files had been predicted before" if tally.kept else ""
    lines = [f"wrote {out}: {n} images in {seconds:.1f} s ({n / seconds:.1f} per second): {counted}{kept}"]
    return [f"damaged parts, predicted again: {tally.damaged}", *lines] if tally.damaged else lines


def print_predictions(tables: Iterable[pd.DataFrame], console: Console) -> Counter[str]:
    """Print predictions, a line for each image.

    Parameters
    ----------
    tables : iterable of DataFrame
        See `bench.inference.rows.predict_table`.
    console : Console
        Where to print.

    Returns
    -------
    Counter
        Images by verdict, or "failed".
    """
    counts: Counter[str] = Counter()
    for table in tables:
        for row in table.to_dict("records"):
            counts[row["verdict"] or FAILED] += 1
            console.print(escape(_line(row)), soft_wrap=True)
    return counts


def _line(row: dict) -> str:
    name = f"{row['file']}{' frame ' + str(row['frame']) if row['frame'] else ''}"
    if row["status"] == FAILED:
        return f"{name}: failed: {row['reason']}"
    reason = f": {row['reason']}" if row["reason"] else ""
    labels = row["labels"].replace(SEPARATOR, ", ")
    return f"{name}: {labels} ({row['confidence']:.2f}, {row['verdict']}{reason})"
