"""The command ``bench explain``: what models look at, side by side."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from bench.commands.options import KeepIdentifiers
from bench.errors import UserError
from bench.terminal.console import err, out

if TYPE_CHECKING:
    from bench.explaining.explain import Shown
    from bench.explaining.subject import Subject
    from bench.inference.inputs import Item

MOST = 60  # images; beyond, a page is no longer read
_SAMPLES = 6  # of a run


class Method(StrEnum):
    """How maps are made."""

    auto = "auto"
    occlusion = "occlusion"


def explain(
    paths: Annotated[
        list[str], typer.Argument(metavar="MODEL... IMAGE... | RUN", help="Model folders and images; or a run folder.")
    ],
    output: Annotated[
        Path | None, typer.Option("--out", help="Folder to make. Default: explanations, or RUN/explanations.")
    ] = None,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="Class to explain. Default: the most probable of each image.", show_default=False),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="auto: what fits the model. occlusion: the same for all.")
    ] = Method.auto,
    seed: Annotated[int, typer.Option(min=0, help="Decides random maps and random weights.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    keep_identifiers: KeepIdentifiers = False,
) -> None:
    """Show what models look at on the same images: heat maps side by side, tested against random maps and random weights."""
    from bench import environment
    from bench.explaining.explain import check_place
    from bench.explaining.explain import explain as write
    from bench.explaining.subject import Subject
    from bench.terminal.progress import Progress

    run = Path(paths[0]) if len(paths) == 1 and (Path(paths[0]) / "run.json").is_file() else None
    folders, rest = (_tested(run), []) if run else _sorted(paths)
    place = output or (run / "explanations" if run else Path("explanations"))
    check_place(place)
    subjects = [Subject(folder, method.value, device) for folder in folders]
    images = _samples(run, subjects) if run else _read(rest, subjects, environment.threads(), named=keep_identifiers)
    with Progress(out).counting("explaining images", len(images)) as progress:
        record = write(subjects, images, place, class_=class_, seed=seed, run=_run_id(run), progress=progress)
    _print(record, place)


def _sorted(paths: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell model folders from images."""
    from bench.inference.package import is_package

    models = [Path(path) for path in paths if is_package(Path(path))]
    rest = [path for path in paths if not is_package(Path(path))]
    runs = [path for path in rest if (Path(path) / "run.json").is_file()]
    if runs:
        raise UserError(f"{runs[0]}: is a run: give it alone, or export a model of it with bench export")
    if not models:
        raise UserError("bench explain: no argument is a model folder: bench export makes one of a run")
    if not rest:
        raise UserError("bench explain: no images: give files or folders after the models")
    return models, rest


def _tested(run: Path) -> list[Path]:
    """Models inside of a run, but those that look at no image, in the suite's order."""
    from reports.runs.results import load

    found = [run / "holdout" / name / "model" for name in load(run).models]
    models = [path for path in found if path.is_dir() and _family(path) != "dummy"]
    if not models:
        raise UserError(f"{run}: holds no models: run it with --holdout, or make a model with bench export")
    return models


def _run_id(run: Path | None) -> str | None:
    return None if run is None else json.loads((run / "run.json").read_text(encoding="utf-8"))["run_id"]


def _family(folder: Path) -> str:
    from bench.inference.package import read_facts

    return read_facts(folder)["family"]


def _samples(run: Path, subjects: Sequence[Subject]) -> list[Shown]:
    """The run's sample pictures, as its models get them."""
    import cv2
    import numpy as np

    from bench.explaining.explain import Shown
    from reports.runs.results import load

    side = subjects[0].model.preprocessing.side
    shown = []
    for sample in load(run).samples[:_SAMPLES]:
        pixels = cv2.imdecode(np.frombuffer(sample.after.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is None or pixels.shape != (side, side):
            raise UserError(f"{sample.after}: is no picture of {side} x {side} pixels: give the same bench run again")
        shown.append(Shown(sample.image_id, (pixels,) * len(subjects), sample.labels))
    if not shown:
        raise UserError(f"{run}: holds no sample pictures: give bench explain its models and images instead")
    return shown


def _read(paths: Sequence[str], subjects: Sequence[Subject], workers: int, *, named: bool) -> list[Shown]:
    """Images from files, called by them or by their content, with each model's own preprocessing; what cannot be read is said and left out."""
    from radiographs.disk import sha256

    from bench.explaining.explain import Shown
    from bench.inference.inputs import list_files, see

    items = []
    for item in list_files(paths, sys.stdin, Counter(), outside=False):
        items.append(item)
        if len(items) > MOST:
            raise UserError(f"bench explain: more than {MOST} images: give fewer")
    wanted = [subject.model.preprocessing for subject in subjects]
    seen_by = {settings: list(see(items, settings, workers=workers)) for settings in dict.fromkeys(wanted)}
    columns = [seen_by[settings] for settings in wanted]
    shown = []
    for frames in zip(*columns, strict=True):
        first = [seen[0] for seen in frames]
        if first[0].pixels is None:
            err.print(escape(f"note: {first[0].file}: {first[0].reason}"))
            continue
        name = _short(first[0].file, items) if named else f"x{sha256(Path(first[0].file))[:20]}"
        shown.append(Shown(name, tuple(seen.pixels for seen in first)))
    if not shown:
        raise UserError(f"bench explain: none of {len(items)} images can be read")
    return shown


def _short(file: str, items: Sequence[Item]) -> str:
    """A file's name without its folders, which say nothing on a page that is passed on; with them where two files share it."""
    name = Path(file).name
    return name if sum(Path(item.file).name == name for item in items) == 1 else file


def _print(record: dict, place: Path) -> None:
    from reports.pages.explanations import in_words

    for line in in_words(record):
        out.print(escape(line))
    out.print(escape(f"wrote {place / 'explanations.html'}"))
