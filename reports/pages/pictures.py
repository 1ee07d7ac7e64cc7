"""Pictures embedded in pages: thumbnails as far as a page has room, the most relevant first."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from reports.runs.results import thumbnails
from reports.scores.confusion import images_behind
from reports.scores.evaluation import Evaluation

MAX_BYTES = 2_500_000  # of all small pictures together; base64 adds a third
MAX_SAMPLE_BYTES = 400_000
MAX_IN_CELL = 60  # of the confusion matrix
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def gallery(evaluation: Evaluation, first: Iterable[str]) -> dict[str, Any]:
    """Collect the thumbnails of a page, and which of them belong to each cell of the confusion matrix.

    Parameters
    ----------
    evaluation : Evaluation
    first : iterable of str
        Images that the page displays anyway.

    Returns
    -------
    dict
        images: what `embedded` returns, with the labels of each image; cells: model -> list of [true class, predicted class,
        how many, indices into images].
    """
    results = evaluation.results
    cells = {model: images_behind(evaluation, model) for model in evaluation.finished}
    wrong = pd.Series(
        [
            image
            for of_model in cells.values()
            for true, predicted, ids in of_model
            if true != predicted
            for image in ids
        ],
        dtype=object,
    ).value_counts()
    order = list(
        dict.fromkeys([*first, *wrong.index, *results.manifest.loc[results.manifest["status"] == "ok", "image_id"]])
    )
    labels = dict(zip(results.manifest["image_id"], results.manifest["labels"], strict=True))
    words = {image: " + ".join(labels.get(image, ())) for image in order}
    images = embedded(words, thumbnails(results), MAX_BYTES)
    place = {image: k for k, (image, *_) in enumerate(images)}
    return {
        "images": images,
        "cells": {
            model: [
                [true, predicted, len(ids), [place[i] for i in ids if i in place][:MAX_IN_CELL]]
                for true, predicted, ids in of_model
            ]
            for model, of_model in cells.items()
        },
    }


def embedded(words: Mapping[str, str], pictures: Mapping[str, bytes], max_bytes: int) -> list[list[str]]:
    """Choose the pictures that a page has room for, in the order of `words`; those that no longer fit are skipped.

    Parameters
    ----------
    words : mapping of str to str
        Name of each picture that the page would show, and its caption.
    pictures : mapping of str to bytes
        Name -> WebP file; a name may be absent.
    max_bytes : int
        Of all files together, before they are written in base64.

    Returns
    -------
    list of [name, words, base64 of the file]
    """
    room, kept = max_bytes, []
    for name, text in words.items():
        picture = pictures.get(name, b"")
        if picture and len(picture) <= room:
            room -= len(picture)
            kept.append([name, text, base64.b64encode(picture).decode()])
    return kept


def png_uri(path: Path) -> str | None:
    """Return a PNG file as a data URI; None if it is missing or too large for a page."""
    if not path.is_file() or path.stat().st_size > MAX_SAMPLE_BYTES:
        return None
    content = path.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(PNG_SIGNATURE) else None
