"""What is said of each image, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.inference.decision import NOT_SURE, OUT_OF_DISTRIBUTION, SURE
from bench.inference.inputs import InputImage
from bench.inference.model import Model

OK, FAILED = "ok", "failed"
SEPARATOR = "|"


def answer(model: Model, images: Sequence[InputImage]) -> pd.DataFrame:
    """Answer images in one go.

    Returns
    -------
    DataFrame
        A row for each, in order: file, frame, status ("ok" or "failed"), verdict ("sure", "not sure", "out of distribution", or empty where failed),
        labels (joined by "|"), confidence, ood_score, reason (of a failure, of the verdict "out of distribution", or in what a file contradicts itself), instance (SOPInstanceUID of a DICOM
        file), and probability/CLASS.
    """
    rows = [k for k, each in enumerate(images) if each.pixels is not None]
    columns: dict[str, Any] = {
        "file": [each.file for each in images],
        "frame": [each.frame for each in images],
        "status": [FAILED if each.pixels is None else OK for each in images],
        "verdict": [""] * len(images),
        "labels": [""] * len(images),
        "confidence": np.full(len(images), np.nan),
        "ood_score": np.full(len(images), np.nan),
        "reason": [each.reason for each in images],
        "instance": [each.tags.get("instance", "") for each in images],
    }
    probability = np.full((len(images), len(model.classes)), np.nan)
    if rows:
        prediction = model.predict(np.stack([images[k].pixels for k in rows]))
        probability[rows] = prediction.probability
        columns["confidence"][rows], columns["ood_score"][rows] = prediction.decision.confidence, prediction.ood_score
        for place, k in enumerate(rows):
            columns["labels"][k] = SEPARATOR.join(np.array(model.classes)[prediction.decision.labels[place]])
            verdict, reason = verdict_of(
                images[k], prediction.ood_score[place], sure=bool(prediction.decision.sure[place])
            )
            columns["verdict"][k], columns["reason"][k] = verdict, reason or images[k].reason
    return pd.DataFrame(columns | {f"probability/{name}": probability[:, k] for k, name in enumerate(model.classes)})


def verdict_of(image: InputImage, ood_score: float, *, sure: bool) -> tuple[str, str]:
    """Return the verdict, and the reason where it is "out of distribution"."""
    if image.coloured:
        return OUT_OF_DISTRIBUTION, "a picture in colours: no radiograph"
    if image.pixels is not None and image.pixels.min() == image.pixels.max():
        return OUT_OF_DISTRIBUTION, "blank"
    if image.tags.get("modality", "") in ("CT", "MR", "US", "NM", "PT"):
        return OUT_OF_DISTRIBUTION, f"its header says {image.tags['modality']}: no radiograph"
    if ood_score > 1:
        return OUT_OF_DISTRIBUTION, "not like the images that the model was trained on"
    return (SURE if sure else NOT_SURE), ""
