"""The commands that put a model to work: ``bench export`` and ``bench predict``."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bench.commands.options import AllowOutside, Frames, MaxMegapixels, MaxSeconds, WhichFrames
from bench.errors import UserError
from bench.terminal.console import out

if TYPE_CHECKING:
    import pandas as pd

    from bench.inference.inputs import Item
    from bench.inference.model import Model
    from bench.inference.predict import Compute, Settings

ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder, made by bench export.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto, native, onnx or openvino.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Import classes that the model names from outside of xraybench.")
]
_SHOWN = ("file", "verdict", "labels", "confidence", "reason")


def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    output: Annotated[Path, typer.Option("--out", help="Model folder to make.")],
    model: Annotated[str, typer.Option(help="A model of the run, or best.")] = "best",
    sure: Annotated[
        float, typer.Option(min=0.5, max=1, help="Share of the sure answers that must be right on validation data.")
    ] = 0.95,
    device: DeviceName = "auto",
    weights_dir: Annotated[
        Path | None, typer.Option(envvar="XRAYBENCH_WEIGHTS", help="Folder with BACKBONE-*.safetensors or .pth files.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download weights.")] = False,
) -> None:
    """Fit a model of a run to all its images, and write it as a folder that stands by itself, with its card."""
    from bench import environment
    from bench.export.export import export as write
    from bench.recipes.build import Resources

    device = "cuda" if device != "cpu" and environment.gpu() else "cpu"
    resources = Resources(device=device, weights_dir=weights_dir, offline=offline, threads=environment.threads())
    facts = write(folder, model, output, environment.cache_folder(), resources, target=sure)
    trained = facts["trained_on"]
    out.print(
        escape(
            f"{facts['name']} ({facts['family']}), fitted to {trained['n_images']} images of {trained['n_groups']} {facts['data']['group_noun']}s with what the folds chose"
        )
    )
    if facts["graph"]:
        out.print(f"model.onnx: within {facts['graph']['onnx_to_torch']:.1e} of torch")
    out.print(
        escape(f"wrote {output}; see {output / 'README.md'}. Next: bench predict {shlex.quote(str(output))} FILES")
    )


def predict(
    model: ModelFolder,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders, patterns; - for a list on standard input.")
    ],
    output: Annotated[
        Path | None, typer.Option("--out", help="A .csv, .parquet or .jsonl file; or a folder of Parquet parts.")
    ] = None,
    kaggle: Annotated[Path | None, typer.Option(help="Also UNIFESP's submission file (SOPInstanceUID,Target).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out and --kaggle.")] = False,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    frames: WhichFrames = Frames.first,
    allow_outside: AllowOutside = False,
    max_megapixels: MaxMegapixels = 100,
    max_seconds: MaxSeconds = 30,
    trust_code: TrustCode = False,
    scheduler: Annotated[
        str | None, typer.Option(help="Answer on the workers of a Dask scheduler, such as tcp://HOST:8786.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="local[:N], or a .toml file: docs/cluster.md.")] = None,
    part: Annotated[int, typer.Option(min=1, help="Files whose answers are kept together.")] = 512,
) -> None:
    """Name the body parts in images: labels, confidence, and when the model is not sure. The same command goes on where it was stopped."""
    from radiographs.readers import readers

    from bench import environment
    from bench.cluster.config import parse_plan
    from bench.inference.inputs import list_files
    from bench.inference.model import ENGINES, load_model
    from bench.inference.predict import FORMATS, Settings, answers, begun, is_partitioned, rows_of
    from bench.inference.submission import class_numbers, write_submission

    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: there are {', '.join(ENGINES)}")
    if kaggle and not output:
        raise UserError("--kaggle: give --out too, the table that it is made from")
    for path in (output, kaggle):
        if path and is_partitioned(path) and path.is_dir() and any(path.iterdir()) and not begun(path):
            raise UserError(f"{path}: is a folder with other things in it: give another name")
        if path and path.exists() and not overwrite and not path.is_dir():
            raise UserError(f"{path}: is there already: give another name, or --overwrite")
    if output and output.suffix not in FORMATS and not is_partitioned(output):
        raise UserError(f"--out {output}: name a {', '.join(FORMATS)} file, or a folder")
    plan = parse_plan(scheduler, cluster, jobs=1, cores=environment.threads())
    if plan and not output:
        raise UserError("--scheduler, --cluster: give --out too, where the answers are kept")
    readers(started=0 if plan else 1)  # loads its libraries while the model is opened
    loaded = load_model(model, engine, device, trusted=trust_code)
    numbers = class_numbers(loaded.classes) if kaggle else {}
    passed_over: Counter[str] = Counter()
    items = list_files(paths, sys.stdin, passed_over, outside=allow_outside)
    settings = Settings(environment.threads(), frames is Frames.each, int(max_megapixels * 1e6), part, max_seconds)
    compute = None
    if plan:
        from bench.inference.distributed import Predicting

        compute = Predicting(plan, loaded, settings, out.print, device=device, trusted=trust_code)
    counts = (
        _write(output, loaded, items, settings, compute, overwrite=overwrite)
        if output
        else _print(answers(loaded, items, settings))
    )
    for reason, n in sorted(passed_over.items()):
        out.print(escape(f"{n} files passed over: {reason}"))
    if kaggle and output:
        empty = write_submission(kaggle, rows_of(output), numbers)
        out.print(
            escape(f"wrote {kaggle}" + (f"; {empty} files without an answer have an empty Target" if empty else ""))
        )
    raise typer.Exit(1 if counts["failed"] else 0)


def _write(
    output: Path, model: Model, items: Iterable[Item], settings: Settings, compute: Compute | None, *, overwrite: bool
) -> Counter[str]:
    import time

    from bench.cluster.config import ClusterLostError
    from bench.inference.predict import parts_folder, predict_to
    from bench.terminal.progress import Progress

    begun = time.perf_counter()
    again = shlex.join(["bench", *sys.argv[1:]])
    try:
        with Progress(out).counting_open("looking at files") as progress:
            tally = predict_to(output, model, items, settings, progress=progress, compute=compute, overwrite=overwrite)
    except KeyboardInterrupt:
        out.print(escape(f"\ninterrupted: what was answered is kept in {parts_folder(output)}; go on with:\n  {again}"))
        raise typer.Exit(130) from None
    except ClusterLostError as error:
        kept = parts_folder(output)
        out.print(escape(f"\n{error}: what was answered is kept in {kept}; go on with:\n  {again}"))
        raise typer.Exit(1) from None
    n, seconds = sum(tally.counts.values()), time.perf_counter() - begun
    said = ", ".join(f"{tally.counts[key]} {key}" for key in ("sure", "not sure", "strange", "failed"))
    kept = f"; {tally.kept} files had been answered before" if tally.kept else ""
    if tally.damaged:
        out.print(f"damaged parts of what had been answered before, answered again: {tally.damaged}")
    out.print(escape(f"wrote {output}: {n} images in {seconds:.1f} s ({n / seconds:.1f} per second): {said}{kept}"))
    return tally.counts


def _print(tables: Iterable[pd.DataFrame]) -> Counter[str]:
    """Show answers as lines."""
    counts: Counter[str] = Counter()
    for table in tables:
        for row in table.itertuples():
            counts[row.verdict or "failed"] += 1
            words = (
                f"failed: {row.reason}"
                if row.status == "failed"
                else f"{row.labels.replace('|', ', ')} ({row.confidence:.2f}, {row.verdict}{': ' + row.reason if row.reason else ''})"
            )
            out.print(escape(f"{row.file}{f' frame {row.frame}' if row.frame else ''}: {words}"), soft_wrap=True)
    return counts
