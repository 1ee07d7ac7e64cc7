"""One uploaded file, predicted by every model; its bytes are kept in memory, and only until then."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from bench.explaining.occlusion import occlusion
from bench.inference.inputs import InputImage, decode_bytes
from bench.inference.model import Model
from bench.inference.rows import verdict_of
from bench.serving.limits import Limits

_GRID = 10  # places down and across
_MOST_PROBABLE = 5  # classes


@dataclass(frozen=True)
class Upload:
    """A decoded file.

    Attributes
    ----------
    images : list of InputImage
        The image as each model takes it.
    facts : dict
        The file's frames, kind and modality.
    """

    images: list[InputImage]
    facts: dict[str, Any]


def disambiguate(models: Sequence[Model]) -> list[Model]:
    """Make names distinct: with the folder's name, and a number if that is the same too."""
    names = Counter(model.name for model in models)
    full = [f"{m.name} ({m.folder.resolve().name})" if names[m.name] > 1 else m.name for m in models]
    again = Counter(full)
    numbered = [f"{name} {full[: k + 1].count(name)}" if again[name] > 1 else name for k, name in enumerate(full)]
    return [replace(m, facts={**m.facts, "name": name}) for m, name in zip(models, numbered, strict=True)]


def decode(models: Sequence[Model], data: bytes, frame: int, limits: Limits) -> Upload:
    """Decode one file, for every model.

    Parameters
    ----------
    models : sequence of Model
        Open models.
    data : bytes
        Content of the file.
    frame : int
        Number of the frame, from 0.
    limits : Limits
        Of the server.

    Returns
    -------
    Upload
        The image as each model takes it.

    Raises
    ------
    radiographs.read.UnreadableImageError
        If it is not a usable picture, or takes too long.
    """
    wanted = [model.preprocessing for model in models]
    return Upload(*decode_bytes(data, frame, wanted, limits.max_pixels, limits.image_seconds))


def predict_upload(models: Sequence[Model], upload: Upload) -> dict[str, Any]:
    """Return every model's prediction for one file."""
    predictions = [_prediction(model, image) for model, image in zip(models, upload.images, strict=True)]
    return {**upload.facts, "models": predictions}


def explain_upload(models: Sequence[Model], upload: Upload) -> dict[str, Any]:
    """Return heat maps of the most probable class, by occlusion on a coarser grid than that of ``bench explain``, which is faster."""
    maps = []
    for model, image in zip(models, upload.images, strict=True):
        pixels = _pixels(image)
        best = int(model.probabilities(pixels[None])[0].argmax())
        heat = occlusion(lambda images, m=model, k=best: m.probabilities(images)[:, k], pixels, _GRID)
        maps.append({"model": model.name, "class": model.classes[best], "png": _png(_overlay(pixels, heat))})
    return {"models": maps}


def _prediction(model: Model, image: InputImage) -> dict[str, Any]:
    start = time.perf_counter()
    pixels = _pixels(image)
    prediction = model.predict(pixels[None])
    decision, probability = prediction.decision, prediction.probability[0]
    verdict, reason = verdict_of(image, float(prediction.ood_score[0]), sure=bool(decision.sure[0]))
    order = np.argsort(-probability, kind="stable")
    return {
        "model": model.name,
        "family": model.facts["family"],
        "labels": [name for name, given in zip(model.classes, decision.labels[0], strict=True) if given],
        "verdict": verdict,
        "reason": reason or image.reason,
        "confidence": round(float(decision.confidence[0]), 4),
        "ood_score": round(float(prediction.ood_score[0]), 3),
        "most_probable": [[model.classes[k], round(float(probability[k]), 4)] for k in order[:_MOST_PROBABLE]],
        "probabilities": {name: round(float(p), 6) for name, p in zip(model.classes, probability, strict=True)},
        "milliseconds": round(1000 * (time.perf_counter() - start), 1),
        "picture": _png(pixels),
    }


def _pixels(image: InputImage) -> np.ndarray:
    """Return the pixels of a decoded image, (side, side) uint8."""
    if image.pixels is None:
        raise ValueError("no pixels")
    return image.pixels


def _overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return the image with the heat map over it, (side, side, 3) uint8 BGR."""
    height, width = pixels.shape
    strength = cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC)
    strength = np.clip(strength, 0, 1)[..., None]
    colours = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    grey = np.repeat(pixels[..., None], 3, axis=2).astype(np.float32)
    return (grey * (1 - 0.6 * strength) + colours * 0.6 * strength).astype(np.uint8)


def _png(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
