"""Predictions of images as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.inference.decision import NOT_SURE, OUT_OF_DISTRIBUTION, SURE
from bench.inference.inputs import InputImage
from bench.inference.model import Model

OK, FAILED = "ok", "failed"
SEPARATOR = "|"  # between the labels of an image
_OTHER_MODALITIES = ("CT", "MR", "US", "NM", "PT")


def predict_table(model: Model, images: Sequence[InputImage]) -> pd.DataFrame:
    """Predict images together.

    Parameters
    ----------
    model : Model
        An open model.
    images : sequence of InputImage
        Images, with or without pixels.

    Returns
    -------
    DataFrame
        A row for each image, in order: file; frame; status ("ok" or "failed"); verdict ("sure", "not sure", "out of distribution", or empty
        where failed); labels (joined by "|"); confidence; ood_score; reason (of a failure, of an image out of distribution, or how a file
        contradicts itself); instance (SOPInstanceUID of a DICOM file); and probability/CLASS.
    """
    pixels = {k: image.pixels for k, image in enumerate(images) if image.pixels is not None}
    rows = list(pixels)
    verdicts, reasons = [""] * len(images), [image.reason for image in images]
    labels, confidence, ood_score = [""] * len(images), np.full(len(images), np.nan), np.full(len(images), np.nan)
    probability = np.full((len(images), len(model.classes)), np.nan)
    if rows:
        prediction = model.predict(np.stack(list(pixels.values())))
        decision = prediction.decision
        probability[rows] = prediction.probability
        confidence[rows], ood_score[rows] = decision.confidence, prediction.ood_score
        for place, k in enumerate(rows):
            labels[k] = SEPARATOR.join(np.array(model.classes)[decision.labels[place]])
            verdict = verdict_of(images[k], prediction.ood_score[place], sure=bool(decision.sure[place]))
            verdicts[k], reasons[k] = verdict[0], verdict[1] or reasons[k]
    return pd.DataFrame(
        {
            "file": [image.file for image in images],
            "frame": [image.frame for image in images],
            "status": [FAILED if image.pixels is None else OK for image in images],
            "verdict": verdicts,
            "labels": labels,
            "confidence": confidence,
            "ood_score": ood_score,
            "reason": reasons,
            "instance": [image.tags.get("instance", "") for image in images],
            **{f"probability/{name}": probability[:, k] for k, name in enumerate(model.classes)},
        }
    )


def verdict_of(image: InputImage, ood_score: float, *, sure: bool) -> tuple[str, str]:
    """Return the verdict on an image, and the reason where it is "out of distribution"."""
    if image.coloured:
        return OUT_OF_DISTRIBUTION, "not a radiograph: the picture has colours"
    if image.pixels is not None and image.pixels.min() == image.pixels.max():
        return OUT_OF_DISTRIBUTION, "blank"
    if image.tags.get("modality", "") in _OTHER_MODALITIES:
        return OUT_OF_DISTRIBUTION, f"not a radiograph: the header gives the modality {image.tags['modality']}"
    if ood_score > 1:
        return OUT_OF_DISTRIBUTION, "unlike the images that the model was trained on"
    return (SURE if sure else NOT_SURE), ""
