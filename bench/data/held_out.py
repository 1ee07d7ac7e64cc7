"""Images for a final test that cross-validation never sees: a share of the patients, or a folder of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from radiographs import splits as splitting
from radiographs.pixels import Pixels, load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import Hints, SourceError, open_source

from bench import environment
from bench.data.dataset import HeldOut, label_matrix
from bench.recipes.inputs import Rows
from bench.terminal.progress import Progress


def hold_out_share(
    images: np.ndarray, image_ids: np.ndarray, groups: np.ndarray, y: np.ndarray, share: float, seed: int
) -> tuple[HeldOut, np.ndarray]:
    """Hold a share of the patients out; return them, and which images remain for the folds, (n,) bool.

    Raises
    ------
    SplitsError
        If the share is out of range, or there are too few patients.
    """
    chosen = splitting.held_out(y, groups, share, seed)
    rows = np.flatnonzero(chosen)
    facts = facts_of("share", image_ids[rows], groups[rows], y[rows]) | {"share": share}
    return HeldOut(Rows(images, rows), image_ids[rows], groups[rows], y[rows], facts), ~chosen


def hold_out_folder(
    folder: str,
    classes: tuple[str, ...],
    settings: Preprocessing,
    trained: pd.DataFrame,
    cache: Path,
    hints: Hints,
    progress: Progress,
) -> tuple[HeldOut, list[str]]:
    """Read a folder of test images with the preprocessing of the run; return them, with notes for the user.

    Parameters
    ----------
    folder : str
    classes : tuple of str
        Of the run. Images with any other label are left out and counted.
    settings : Preprocessing
    trained : DataFrame
        Manifest of the run: images with the same pixels as one of them are left out.
    cache : Path
    hints : Hints
    progress : Progress

    Returns
    -------
    HeldOut
    list of str

    Raises
    ------
    SourceError
        If no image of the folder can be scored.
    """
    listing = open_source(Path(folder), hints)
    with progress.counting("decoding the test images", len(listing.items)) as advance:
        pixels = load_pixels(listing, settings, cache, workers=environment.threads(), progress=advance)
    usable, notes = pixels.usable, [f"--test: {note}" for note in listing.notes]
    unknown = [[label for label in labels if label not in classes] for labels in usable["labels"]]
    known = np.array([not each for each in unknown])
    seen = usable["pixels_sha256"].isin(trained.loc[trained["status"] == "ok", "pixels_sha256"]).to_numpy()
    rows = np.flatnonzero(known & ~seen)
    if not known.all():
        names = ", ".join(sorted({label for each in unknown for label in each}))
        notes.append(
            f"--test: {int((~known).sum())} images have classes that no model is trained on, and are left out: {names}"
        )
    if (known & seen).any():
        notes.append(
            f"--test: {int((known & seen).sum())} images have the same pixels as an image of the run, and are left out"
        )
    notes += [
        f"--test: excluded: {row.file}: {row.reason}" for row in pixels.manifest.query("status != 'ok'").itertuples()
    ]
    if not len(rows):
        raise SourceError(f"--test {folder}: none of its {len(listing.items)} images can be scored: {'; '.join(notes)}")
    return _of_folder(listing.card.name, pixels, usable.iloc[rows], rows, classes), notes


def _of_folder(name: str, pixels: Pixels, table: pd.DataFrame, rows: np.ndarray, classes: tuple[str, ...]) -> HeldOut:
    y = label_matrix(table["labels"], classes)
    ids, groups = table["image_id"].to_numpy(str), table["group"].to_numpy(str)
    return HeldOut(Rows(pixels.images, rows), ids, groups, y, facts_of("folder", ids, groups, y) | {"name": name})


def facts_of(kind: str, ids: np.ndarray, groups: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return the entry of run.json on held-out images: their number, the number of groups, and the SHA-256 over ids, groups and labels in order."""
    lines = [f"{name}\0{group}\0{labels.tobytes().hex()}" for name, group, labels in zip(ids, groups, y, strict=True)]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return {"kind": kind, "n_images": len(ids), "n_groups": len(set(groups)), "digest": digest}
