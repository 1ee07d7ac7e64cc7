"""One uploaded file, looked at by every model; its bytes live in memory and only while it is looked at."""

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
_MOST = 5  # most probable classes that are told


@dataclass(frozen=True)
class Decoded:
    """What each model gets to see of a file, and the file's frames, kind and modality."""

    images: list[InputImage]
    facts: dict[str, Any]


def disambiguate(models: Sequence[Model]) -> list[Model]:
    """Give models of one name, such as one of each of two hospitals, the names of their folders as well, and numbers where these are the same."""
    names = Counter(model.name for model in models)
    full = [f"{m.name} ({m.folder.resolve().name})" if names[m.name] > 1 else m.name for m in models]
    again = Counter(full)
    numbered = [f"{name} {full[: k + 1].count(name)}" if again[name] > 1 else name for k, name in enumerate(full)]
    return [replace(m, facts={**m.facts, "name": name}) for m, name in zip(models, numbered, strict=True)]


def decoded(models: Sequence[Model], data: bytes, frame: int, limits: Limits) -> Decoded:
    """Read one file, for every model.

    Raises
    ------
    radiographs.read.UnreadableImageError
        If it is no picture that can be used, or takes too long.
    """
    wanted = [model.preprocessing for model in models]
    return Decoded(*decode_bytes(data, frame, wanted, limits.max_pixels, limits.image_seconds))


def look_at(models: Sequence[Model], file: Decoded) -> dict[str, Any]:
    """Answers of every model to one file."""
    answers = [_answer(model, image) for model, image in zip(models, file.images, strict=True)]
    return {**file.facts, "models": answers}


def explain(models: Sequence[Model], file: Decoded) -> dict[str, Any]:
    """Heat maps of the most probable class: `bench.explaining.occlusion` on a coarser grid than that of ``bench explain``, for its speed."""
    maps = []
    for model, image in zip(models, file.images, strict=True):
        pixels = image.pixels
        if pixels is None:
            raise ValueError("no pixels")
        best = int(model.probabilities(pixels[None])[0].argmax())
        heat = occlusion(lambda images, m=model, k=best: m.probabilities(images)[:, k], pixels, _GRID)
        maps.append({"model": model.name, "class": model.classes[best], "png": _png(_overlay(pixels, heat))})
    return {"models": maps}


def _answer(model: Model, image: InputImage) -> dict[str, Any]:
    start = time.perf_counter()
    if image.pixels is None:
        raise ValueError("no pixels")
    prediction = model.predict(image.pixels[None])
    verdict, reason = verdict_of(image, float(prediction.ood_score[0]), sure=bool(prediction.decision.sure[0]))
    probability = prediction.probability[0]
    order = np.argsort(-probability, kind="stable")
    return {
        "model": model.name,
        "family": model.facts["family"],
        "labels": [name for name, given in zip(model.classes, prediction.decision.labels[0], strict=True) if given],
        "verdict": verdict,
        "reason": reason or image.reason,
        "confidence": round(float(prediction.decision.confidence[0]), 4),
        "ood_score": round(float(prediction.ood_score[0]), 3),
        "most_probable": [[model.classes[k], round(float(probability[k]), 4)] for k in order[:_MOST]],
        "probabilities": {name: round(float(p), 6) for name, p in zip(model.classes, probability, strict=True)},
        "milliseconds": round(1000 * (time.perf_counter() - start), 1),
        "picture": _png(image.pixels),
    }


def _overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image with the heat map over it, (side, side, 3) BGR."""
    strength = cv2.resize(heat, pixels.shape[::-1], interpolation=cv2.INTER_CUBIC)
    strength = np.clip(strength, 0, 1)[..., None]
    colours = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    grey = np.repeat(pixels[..., None], 3, axis=2).astype(np.float32)
    return (grey * (1 - 0.6 * strength) + colours * 0.6 * strength).astype(np.uint8)


def _png(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
