"""Predictions for any number of files, in bounded memory, kept part by part so that nothing is predicted twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from radiographs.disk import write_file
from radiographs.readers import SECONDS

from bench.errors import UserError
from bench.inference.inputs import InputImage, Item, load_images
from bench.inference.model import Model
from bench.inference.parts import Part, PartStore, split_into_parts
from bench.inference.rows import FAILED, OK, predict_table
from bench.inference.tables import join_parts

PART = 512  # files per part of the predictions
_BLOCK = 64  # images that a model predicts together

Compute = Callable[[Iterator[Part]], Iterator[tuple[Part, pd.DataFrame]]]


@dataclass(frozen=True)
class Settings:
    """How files are read.

    Attributes
    ----------
    workers : int
        Files read in parallel.
    every_frame : bool
        Whether every frame of a DICOM file is an image, or the first alone.
    max_pixels : int
        Larger images are not decoded; all frames count.
    part : int
        Files per part of the predictions.
    seconds : float
        Time for an image.
    """

    workers: int
    every_frame: bool = False
    max_pixels: int = 100_000_000
    part: int = PART
    seconds: float = SECONDS


@dataclass
class Tally:
    """The outcome of a prediction.

    Attributes
    ----------
    counts : Counter
        Images by verdict, "failed" for files that could not be read.
    kept : int
        Files that had been predicted before.
    damaged : int
        Kept parts that were damaged and are predicted again.
    done : int
        Files predicted, now or before.
    """

    counts: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    damaged: int = 0
    done: int = 0

    def add(self, part: Part, table: pd.DataFrame) -> None:
        """Count a part with its table."""
        self.counts += Counter(table["verdict"].where(table["status"] == OK, FAILED))
        self.done += len(part.files)


def predict_files(model: Model, items: Iterable[Item], settings: Settings) -> Iterator[pd.DataFrame]:
    """Predict files block by block, in order, while the next ones are decoded.

    Parameters
    ----------
    model : Model
        An open model.
    items : iterable of Item
        Files.
    settings : Settings
        How they are read.

    Yields
    ------
    DataFrame
        See `bench.inference.rows.predict_table`.
    """
    waiting: list[InputImage] = []
    loaded = load_images(
        items,
        model.preprocessing,
        workers=settings.workers,
        every_frame=settings.every_frame,
        max_pixels=settings.max_pixels,
        seconds=settings.seconds,
    )
    for images in loaded:
        waiting += images
        while len(waiting) >= _BLOCK:
            yield predict_table(model, waiting[:_BLOCK])
            waiting = waiting[_BLOCK:]
    if waiting:
        yield predict_table(model, waiting)


def predict_part(model: Model, files: Iterable[Item], settings: Settings) -> pd.DataFrame:
    """Predict the files of a part as one table."""
    return pd.concat(predict_files(model, files, settings), ignore_index=True)


def predict_to(
    out: Path,
    model: Model,
    items: Iterable[Item],
    settings: Settings,
    *,
    progress: Callable[[int], object] = int,
    compute: Compute | None = None,
    overwrite: bool = False,
) -> Tally:
    """Predict files into a table, part by part; parts that are intact from before are kept.

    Parameters
    ----------
    out : Path
        A .csv, .parquet or .jsonl file; or a folder, in which the parts stay, a Parquet file each.
    model : Model
        An open model.
    items : iterable of Item
        Files.
    settings : Settings
        How they are read.
    progress : callable
        Called with the number of files done so far.
    compute : callable, optional
        Takes the parts that are missing and yields each with its table when it is done. By default this process predicts them in order.
    overwrite : bool
        Whether predictions in a folder may be replaced by those of another model, or of other files.

    Returns
    -------
    Tally
        What became of the files.

    Raises
    ------
    UserError
        If the parts are of another model or other settings, a folder that is complete holds predictions of other files, or there is no file.
    """
    store, tally = PartStore(out, overwrite=overwrite), Tally()
    store.open(_plan(model, settings))
    missing = _missing_parts(store, items, settings, tally, progress)
    for part, table in compute(missing) if compute else _predict_here(model, missing, settings):
        store.write(part, table)
        tally.add(part, table)
        progress(tally.done)
    if not store.files:
        store.abandon()
        raise UserError(f"{out}: no image in the given files and folders")
    if store.is_table:
        store.complete()
    else:
        write_file(out, lambda file: join_parts(store.files, file, out.suffix))
        store.remove()
    return tally


def _missing_parts(
    store: PartStore, items: Iterable[Item], settings: Settings, tally: Tally, progress: Callable[[int], object]
) -> Iterator[Part]:
    """Yield the parts that must be predicted; kept ones are counted on the way."""
    for part in split_into_parts(items, settings.part):
        kept, damaged = store.find(part)
        tally.damaged += damaged
        if kept is None:
            yield part
            continue
        tally.kept += len(part.files)
        tally.add(part, pd.read_parquet(kept, columns=["status", "verdict"]))
        progress(tally.done)


def _predict_here(model: Model, parts: Iterator[Part], settings: Settings) -> Iterator[tuple[Part, pd.DataFrame]]:
    for part in parts:
        yield part, predict_part(model, part.files, settings)


def _plan(model: Model, settings: Settings) -> dict[str, Any]:
    """Return the settings that decide the predictions."""
    return {
        "model": hashlib.sha256((model.folder / "SHA256SUMS").read_bytes()).hexdigest(),
        "engine": model.engine.name,
        "every_frame": settings.every_frame,
        "max_pixels": settings.max_pixels,
        "part": settings.part,
        "seconds": settings.seconds,
    }
