"""What an image looks like, to tell it from images of another kind: as a network sees it, where there is one at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.recipes.build import NotInstalledError, Resources, build, skip_reasons
from bench.recipes.contract import DescribingHead
from bench.recipes.suite import Part

WATCH = "watch.safetensors"
_WATCH = {"class": "deep.frozen:Frozen", "backbone": "tf_efficientnet_lite0", "pool": [1], "side": 160}
_CLASSICAL = (
    {"class": "baselines.hog:HOG", "cell": 32},
    {"class": "baselines.lbp:LBP", "points": 8, "radius": 1},
    {"class": "baselines.lbp:LBP", "points": 24, "radius": 3},
    {"class": "baselines.thumbnail:Thumbnail", "side": 16},
)


class View:
    """Describes images: by the model's own network, by a small one that watches over a classical model, or by HOG and LBP.

    Parameters
    ----------
    parts, head
        Of a model; a head on pixels may have a `describe`.
    watch
        The watching network, or None.
    """

    def __init__(self, parts: Sequence[Part], head: Any, resources: Resources, watch: Part | None = None) -> None:
        deep = [k for k, part in enumerate(parts) if part.class_.startswith("deep.")]
        self.position = deep[0] if deep else None
        self.head = head if not parts and isinstance(head, DescribingHead) else None
        own = deep or self.head is not None
        self.watch = None if own else watch
        self.kind = "network" if own or watch else "classical"
        self.parts = [] if own else [watch] if watch else [Part.model_validate(part) for part in _CLASSICAL]
        self.encoders = [build(part, resources, "view") for part in self.parts]

    def describe(self, images: np.ndarray, encoded: Sequence[np.ndarray]) -> np.ndarray:
        """Describe images (n, h, w) uint8, with their encodings, as (n, d) float32."""
        if self.position is not None:
            return pooled(encoded[self.position])
        if self.head is not None:
            return self.head.describe(images)
        return np.concatenate([encoder.encode(images) for encoder in self.encoders], axis=1)


def pooled(encoding: np.ndarray) -> np.ndarray:
    """An encoding as vectors (n, d) float32; feature maps (n, versions, channels, rows, columns) as roots of the means of the first version."""
    if encoding.ndim == 2:
        return encoding
    roots = np.sqrt(np.maximum(encoding[:, 0].astype(np.float32).mean(axis=(2, 3)), 0))  # (n, channels)
    return roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-9)


def watch_of(folder: Path, facts: dict[str, Any]) -> Part | None:
    """Return the network that watches over a packaged model."""
    if not facts.get("watch"):
        return None
    return Part.model_validate({**facts["watch"], "start": "packaged", "weights": str(folder / WATCH)})


def write_watch(folder: Path, resources: Resources) -> Part | None:
    """Put a small network beside a classical model if its weights are here; nothing is downloaded for it."""
    part = Part.model_validate(_WATCH)
    try:
        encoder = build(part, Resources(**{**vars(resources), "offline": True}), "watch")
        encoder.fingerprint()
    except NotInstalledError:
        return None
    except skip_reasons():
        return None
    encoder.save(folder / WATCH)
    return part
