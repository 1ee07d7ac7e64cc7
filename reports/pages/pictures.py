"""The pictures that a report holds: small ones of as many images as a page can carry, the telling ones first."""

import base64
from collections.abc import Iterable
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


def album(evaluation: Evaluation, first: Iterable[str]) -> dict[str, Any]:
    """Collect what the page's script shows: small pictures, and which of them stand behind each cell of the confusion matrix.

    Parameters
    ----------
    evaluation : Evaluation
    first : iterable of str
        Images that the page shows anyway.

    Returns
    -------
    dict
        images: a list of [image_id, labels, base64 of a WebP file or ""]; cells: model -> list of [true class, predicted class,
        how many, indices into images].
    """
    results = evaluation.results
    cells = {model: images_behind(evaluation, model) for model in evaluation.finished}
    wrong = pd.Series(
        [image for of_model in cells.values() for true, said, ids in of_model if true != said for image in ids],
        dtype=object,
    ).value_counts()
    order = list(
        dict.fromkeys([*first, *wrong.index, *results.manifest.loc[results.manifest["status"] == "ok", "image_id"]])
    )
    pictures, room = thumbnails(results), MAX_BYTES
    images, place = [], {}
    labels = dict(zip(results.manifest["image_id"], results.manifest["labels"], strict=True))
    for image in order:
        picture = pictures.get(image, b"")
        if len(picture) > room:
            break
        room -= len(picture)
        if picture:
            place[image] = len(images)
            images.append([image, " + ".join(labels.get(image, ())), base64.b64encode(picture).decode()])
    return {
        "images": images,
        "cells": {
            model: [
                [true, said, len(ids), [place[i] for i in ids if i in place][:MAX_IN_CELL]]
                for true, said, ids in of_model
            ]
            for model, of_model in cells.items()
        },
    }


def png_uri(path: Path) -> str | None:
    """A PNG file as the address of an image; None where there is none, or one too large for a page."""
    if not path.is_file() or path.stat().st_size > MAX_SAMPLE_BYTES:
        return None
    content = path.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(PNG_SIGNATURE) else None
