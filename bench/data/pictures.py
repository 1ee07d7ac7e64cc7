"""Pictures kept in the run folder for the report: a few before and after preprocessing and augmentation, and a small one of each image."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
from radiographs.disk import fresh_folder
from radiographs.preprocess import shrunk, to_uint8
from radiographs.read import Picture, read_picture

from bench.data.prepare import Prepared
from bench.recipes.suite import Suite
from bench.store.run_folder import RunFolder
from reports.runs.format import SAMPLE_LIST, THUMBNAILS

_IMAGES, _VERSIONS, _SIDE = 6, 3, 224
_THUMBNAIL_SIDE, _THUMBNAIL_QUALITY = 112, 55


def write_pictures(
    folder: RunFolder, prepared: Prepared, suite: Suite, seed: int, workers: int, note: Callable[[str], None]
) -> None:
    """Write all pictures and their checksums, unless intact ones exist; damaged ones are reported and rebuilt.

    Parameters
    ----------
    folder : RunFolder
    prepared : Prepared
    suite : Suite
        Its first augmentation is shown.
    seed : int
        Draws the augmentations.
    workers : int
        Number of threads.
    note : callable
        Called with notes for the user.
    """
    damaged = folder.damaged_pictures()
    if damaged:
        note(f"{damaged}: does not match its checksum: rebuilding the pictures")
    if damaged or not folder.pictures.exists():
        folder.clear_pictures()
        _write_samples(folder, prepared, suite, seed)
        _write_thumbnails(folder, prepared, workers)
        folder.write_pictures()


def _write_samples(folder: RunFolder, prepared: Prepared, suite: Suite, seed: int) -> None:
    """Write samples/ with samples.json and PNG files, unless it exists."""
    if folder.samples.exists():
        return
    manifest, images, files = prepared.usable, prepared.data.images, prepared.pixels.files
    root = prepared.listing.root
    rows = _one_per_label_set(manifest)
    augmented = _augmented(images[rows], suite, seed)
    with fresh_folder(folder.samples) as fresh:
        records = []
        for k, row in enumerate(rows):
            item = manifest.iloc[row]
            pictures = {
                f"{k}-before.png": _small(read_picture(root / files[row], frame=int(item["frame"]), max_pixels=10**12)),
                f"{k}-after.png": images[row],
            }
            versions = {
                f"{k}-augmented{j}.png": picture for j, picture in enumerate(augmented[k] if len(augmented) else [])
            }
            for name, picture in {**pictures, **versions}.items():
                (fresh / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
            before, after = pictures
            records.append(
                {
                    "image_id": item["image_id"],
                    "labels": list(item["labels"]),
                    "before": before,
                    "after": after,
                    "augmented": list(versions),
                }
            )
        (fresh / SAMPLE_LIST).write_text(json.dumps(records, indent=1), encoding="utf-8")


def _write_thumbnails(folder: RunFolder, prepared: Prepared, workers: int) -> None:
    """Write thumbnails.parquet, unless it exists: image_id, and webp, the bytes of a WebP file of 112 by 112 pixels."""
    if folder.thumbnails.exists():
        return
    with ThreadPoolExecutor(workers) as pool:
        pictures = list(pool.map(thumbnail, prepared.data.images))
    folder.write_table(THUMBNAILS, pd.DataFrame({"image_id": prepared.usable["image_id"], "webp": pictures}))


def thumbnail(image: np.ndarray, side: int = _THUMBNAIL_SIDE, quality: int = _THUMBNAIL_QUALITY) -> bytes:
    """Return the bytes of a WebP file of at most side x side pixels of a preprocessed image (h, w) uint8."""
    side = min(side, *image.shape)
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def _one_per_label_set(manifest: pd.DataFrame) -> list[int]:
    """Rows of the first image of each of the most frequent label sets."""
    label_sets = manifest["labels"].map(" + ".join)
    frequent = label_sets.value_counts(sort=True).index[:_IMAGES]
    return [int(np.flatnonzero(label_sets == name)[0]) for name in frequent]


def _small(picture: Picture) -> np.ndarray:
    return shrunk(to_uint8(picture.grey, picture.padding), _SIDE)


def _augmented(images: np.ndarray, suite: Suite, seed: int) -> np.ndarray:
    """Versions of each image as the suite's networks are trained on, (n, versions, h, w) uint8; none without such a model or torch."""
    settings = next(
        (
            m.head.parameters["augmentation"]
            for m in suite.models.values()
            if m.head.parameters.get("augmentation") is not None
        ),
        None,
    )
    if settings is None:
        return np.empty((0,))
    try:
        import torch

        from deep.augment import Augmentation
    except ImportError:
        return np.empty((0,))
    grey = torch.from_numpy(np.array(images))[:, None].float() / 255
    generator = torch.Generator().manual_seed(seed)
    versions = [Augmentation(**settings).apply(grey, generator)[:, 0] for _ in range(_VERSIONS)]
    return (torch.stack(versions, dim=1) * 255).round().to(torch.uint8).numpy()
