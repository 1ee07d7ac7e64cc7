"""``bench explain``: which models explain which images, and what is printed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from radiographs.disk import sha256
from rich.console import Console
from rich.markup import escape

from bench import environment
from bench.errors import UserError
from bench.explaining.explain import Shown, check_place, explain
from bench.explaining.subject import Subject
from bench.inference.inputs import Item, list_files, load_images
from bench.inference.package import is_package, read_facts
from bench.terminal.progress import Progress
from reports.runs.results import load
from reports.tables.explanations import summarise_explanations

MAX_IMAGES = 60  # more do not fit on a readable page
_SAMPLES = 6  # of a run


@dataclass(frozen=True, kw_only=True)
class ExplainRequest:
    """What the user requested.

    Attributes
    ----------
    paths : tuple of str
        Model folders and images, or one run folder.
    out : Path or None
        Folder to make.
    class_ : str or None
        Class to explain; None for the most probable of each image.
    method : {"auto", "occlusion"}
        How maps are made.
    seed : int
        Seed of random maps and random weights.
    device : {"auto", "cpu", "cuda"}
        Where networks compute.
    keep_identifiers : bool
        Whether images are called by their file names.
    trusted : bool
        Whether classes from outside of xraybench may be imported.
    """

    paths: tuple[str, ...]
    out: Path | None = None
    class_: str | None = None
    method: str = "auto"
    seed: int = 0
    device: str = "auto"
    keep_identifiers: bool = False
    trusted: bool = False

    @property
    def run(self) -> Path | None:
        """The run whose models and samples are explained, or None."""
        folder = Path(self.paths[0])
        return folder if len(self.paths) == 1 and _is_run(folder) else None


def explain_session(request: ExplainRequest, listed: Iterable[str], console: Console, notes: Console) -> None:
    """Explain what was requested.

    Parameters
    ----------
    request : ExplainRequest
        What to explain, and where to write it.
    listed : iterable of str
        Lines of standard input.
    console : Console
        Where to print the result.
    notes : Console
        Where to print which images cannot be read.

    Raises
    ------
    UserError
        If the request cannot be followed.
    """
    run = request.run
    folders, paths = (_tested_models(run), []) if run else _models_and_images(request.paths)
    place = request.out or (run / "explanations" if run else Path("explanations"))
    check_place(place)
    subjects = [Subject(folder, request.method, request.device, trusted=request.trusted) for folder in folders]
    if run:
        images = _samples(run, subjects)
    else:
        items = _list_images(paths, listed)
        images = _read_images(items, subjects, notes, named=request.keep_identifiers)
    with Progress(console).counting("explaining images", len(images)) as progress:
        record = explain(
            subjects,
            images,
            place,
            class_=request.class_,
            seed=request.seed,
            run=_run_id(run) if run else None,
            progress=progress,
        )
    _print(record, place, console)


def _is_run(folder: Path) -> bool:
    return (folder / "run.json").is_file()


def _models_and_images(paths: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Separate model folders from images."""
    models = [Path(path) for path in paths if is_package(Path(path))]
    images = [path for path in paths if not is_package(Path(path))]
    runs = [path for path in images if _is_run(Path(path))]
    if runs:
        raise UserError(f"{runs[0]}: is a run: give it alone, or export a model of it with bench export")
    if not models:
        raise UserError("bench explain: no argument is a model folder: export one of a run with bench export")
    if not images:
        raise UserError("bench explain: no images: give files or folders after the models")
    return models, images


def _tested_models(run: Path) -> list[Path]:
    """Return the models of a run that use the image, in the suite's order."""
    found = [run / "holdout" / name / "model" for name in load(run).models]
    models = [path for path in found if path.is_dir() and read_facts(path)["family"] != "dummy"]
    if not models:
        raise UserError(f"{run}: holds no models: run it with --holdout, or make a model with bench export")
    return models


def _run_id(run: Path) -> str:
    return json.loads((run / "run.json").read_text(encoding="utf-8"))["run_id"]


def _samples(run: Path, subjects: Sequence[Subject]) -> list[Shown]:
    """Return the run's sample pictures, as its models get them."""
    side = subjects[0].model.preprocessing.side
    shown = []
    for sample in load(run).samples[:_SAMPLES]:
        pixels = cv2.imdecode(np.frombuffer(sample.after.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is None or pixels.shape != (side, side):
            raise UserError(f"{sample.after}: is not a picture of {side} x {side} pixels: repeat the same bench run")
        shown.append(Shown(sample.image_id, (pixels,) * len(subjects), sample.labels))
    if not shown:
        raise UserError(f"{run}: holds no sample pictures: give bench explain its models and images instead")
    return shown


def _list_images(paths: Sequence[str], listed: Iterable[str]) -> list[Item]:
    items = []
    for item in list_files(paths, listed, Counter(), outside=False):
        items.append(item)
        if len(items) > MAX_IMAGES:
            raise UserError(f"bench explain: more than {MAX_IMAGES} images: give fewer")
    return items


def _read_images(items: Sequence[Item], subjects: Sequence[Subject], notes: Console, *, named: bool) -> list[Shown]:
    """Read images with each model's own preprocessing, called by their file names or by their content.

    What cannot be read is noted and left out.
    """
    wanted = [subject.model.preprocessing for subject in subjects]
    workers = environment.threads()
    loaded = {settings: list(load_images(items, settings, workers=workers)) for settings in dict.fromkeys(wanted)}
    shown = []
    for k, item in enumerate(items):
        first_frames = [loaded[settings][k][0] for settings in wanted]
        pixels = [frame.pixels for frame in first_frames if frame.pixels is not None]
        if len(pixels) < len(first_frames):
            notes.print(escape(f"note: {item.file}: {first_frames[0].reason}"))
            continue
        name = _short_name(item.file, items) if named else f"x{sha256(Path(item.file))[:20]}"
        shown.append(Shown(name, tuple(pixels)))
    if not shown:
        raise UserError(f"bench explain: none of {len(items)} images can be read")
    return shown


def _short_name(file: str, items: Sequence[Item]) -> str:
    """Return a file's name without its folders, which mean nothing to other readers; with them if two files share it."""
    name = Path(file).name
    return name if sum(Path(item.file).name == name for item in items) == 1 else file


def _print(record: dict[str, Any], place: Path, console: Console) -> None:
    for line in summarise_explanations(record):
        console.print(escape(line))
    console.print(escape(f"wrote {place / 'explanations.html'}"))
