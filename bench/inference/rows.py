"""What is said of each image, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.inference.decision import NOT_SURE, STRANGE, SURE
from bench.inference.inputs import Seen
from bench.inference.model import Model

OK, FAILED = "ok", "failed"
LEADING = ("file", "frame", "status", "verdict", "labels", "confidence", "strangeness", "reason", "instance")
SEPARATOR = "|"


def answer(model: Model, images: Sequence[Seen]) -> pd.DataFrame:
    """Answer images in one go.

    Returns
    -------
    DataFrame
        A row for each, in order: file, frame, status ("ok" or "failed"), verdict ("sure", "not sure", "strange", or empty where failed),
        labels (joined by "|"), confidence, strangeness, reason (of a failure, of a strange verdict, or in what a file contradicts itself), instance (SOPInstanceUID of a DICOM
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
        "strangeness": np.full(len(images), np.nan),
        "reason": [each.reason for each in images],
        "instance": [each.tags.get("instance", "") for each in images],
    }
    probability = np.full((len(images), len(model.classes)), np.nan)
    if rows:
        look = model.look(np.stack([images[k].pixels for k in rows]))
        probability[rows] = look.probability
        columns["confidence"][rows], columns["strangeness"][rows] = look.decision.confidence, look.strangeness
        for place, k in enumerate(rows):
            columns["labels"][k] = SEPARATOR.join(np.array(model.classes)[look.decision.labels[place]])
            verdict, reason = verdict_of(images[k], look.strangeness[place], sure=bool(look.decision.sure[place]))
            columns["verdict"][k], columns["reason"][k] = verdict, reason or images[k].reason
    return pd.DataFrame(columns | {f"probability/{name}": probability[:, k] for k, name in enumerate(model.classes)})


def verdict_of(image: Seen, strangeness: float, *, sure: bool) -> tuple[str, str]:
    """Say whether an answer is sure, not sure, or strange, and why it is strange."""
    if image.coloured:
        return STRANGE, "a picture in colours: no radiograph"
    if image.pixels is not None and image.pixels.min() == image.pixels.max():
        return STRANGE, "blank"
    if image.tags.get("modality", "") in ("CT", "MR", "US", "NM", "PT"):
        return STRANGE, f"its header says {image.tags['modality']}: no radiograph"
    if strangeness > 1:
        return STRANGE, "not like the images that the model was trained on"
    return (SURE if sure else NOT_SURE), ""
