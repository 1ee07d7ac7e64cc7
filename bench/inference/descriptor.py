"""Descriptions of images for the out-of-distribution score: by a network if there is one, else by HOG, LBP and thumbnails.

A model's own network comes first, then a head on pixels that describes images itself. A classical model gets a small network of its own
if the weights are available when it is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.inference.package import DESCRIPTOR, array_file
from bench.recipes.build import NotInstalledError, Resources, build, skip_reasons
from bench.recipes.contract import DEEP, DescribingHead, declared_family
from bench.recipes.suite import Part

NETWORK, CLASSICAL = "network", "classical"
_NETWORK = Part.model_validate(
    {"class": "deep.frozen:Frozen", "backbone": "tf_efficientnet_lite0", "pool": [1], "side": 160}
)
_CLASSICAL = tuple(
    Part.model_validate(part)
    for part in (
        {"class": "baselines.hog:HOG", "cell": 32},
        {"class": "baselines.lbp:LBP", "points": 8, "radius": 1},
        {"class": "baselines.lbp:LBP", "points": 24, "radius": 3},
        {"class": "baselines.thumbnail:Thumbnail", "side": 16},
    )
)
Encode = Callable[[Part], np.ndarray]  # an encoder of the suite -> encodings (n, ...)


class Descriptor(Protocol):
    """Describes images as vectors."""

    @property
    def kind(self) -> str:
        """Whether a network describes ("network") or not ("classical")."""
        ...

    def describe(self, images: np.ndarray, encoded: Sequence[np.ndarray]) -> np.ndarray:
        """Describe images (n, h, w) uint8, with their encodings by the model's encoders, as (n, d) float32."""
        ...

    def describe_cached(self, images: Callable[[], np.ndarray], encode: Encode) -> np.ndarray:
        """Describe images as (n, d) float32 from cached encodings; the images are read only if needed."""
        ...


@dataclass(frozen=True)
class EncodingDescriptor:
    """Describes images by the encodings of the model's own network."""

    part: Part
    position: int  # of the network among the model's encoders
    kind: str = NETWORK

    def describe(self, images: np.ndarray, encoded: Sequence[np.ndarray]) -> np.ndarray:  # noqa: ARG002 - of the protocol
        """Describe images by their encodings."""
        return pooled(encoded[self.position])

    def describe_cached(self, images: Callable[[], np.ndarray], encode: Encode) -> np.ndarray:  # noqa: ARG002 - of the protocol
        """Describe images by their cached encodings."""
        return pooled(encode(self.part))


@dataclass(frozen=True)
class HeadDescriptor:
    """Describes images by a head on pixels."""

    head: Any
    kind: str = NETWORK

    def describe(self, images: np.ndarray, encoded: Sequence[np.ndarray]) -> np.ndarray:  # noqa: ARG002 - of the protocol
        """Describe images by the head."""
        return self.head.describe(images)

    def describe_cached(self, images: Callable[[], np.ndarray], encode: Encode) -> np.ndarray:  # noqa: ARG002 - of the protocol
        """Describe images by the head."""
        return self.head.describe(images())


@dataclass(frozen=True)
class EncoderDescriptor:
    """Describes images by encoders that only describe."""

    kind: str
    parts: tuple[Part, ...]
    encoders: tuple[Any, ...]

    def describe(self, images: np.ndarray, encoded: Sequence[np.ndarray]) -> np.ndarray:  # noqa: ARG002 - of the protocol
        """Describe images by every encoder, side by side."""
        return np.concatenate([encoder.encode(images) for encoder in self.encoders], axis=1)

    def describe_cached(self, images: Callable[[], np.ndarray], encode: Encode) -> np.ndarray:  # noqa: ARG002 - of the protocol
        """Describe images by cached encodings, side by side."""
        return np.concatenate([encode(part) for part in self.parts], axis=1)


def choose_descriptor(
    parts: Sequence[Part], head: Any, resources: Resources, network: Part | None = None
) -> Descriptor:
    """Choose what describes images for a model.

    Parameters
    ----------
    parts : sequence of Part
        The model's encoders.
    head : object
        The model's head; one on pixels may have a method ``describe``.
    resources : Resources
        What encoders are built with.
    network : Part, optional
        A network that describes for a model that has none.

    Returns
    -------
    Descriptor
        By the model's own network if it has one, else by `network`, else by HOG, LBP and thumbnails.
    """
    own = next((k for k, part in enumerate(parts) if declared_family(part.class_) == DEEP), None)
    if own is not None:
        return EncodingDescriptor(parts[own], own)
    if not parts and isinstance(head, DescribingHead):
        return HeadDescriptor(head)
    chosen = (network,) if network else _CLASSICAL
    encoders = tuple(build(part, resources, "descriptor") for part in chosen)
    return EncoderDescriptor(NETWORK if network else CLASSICAL, chosen, encoders)


def pooled(encoding: np.ndarray) -> np.ndarray:
    """Turn an encoding into vectors.

    Parameters
    ----------
    encoding : ndarray of shape (n, d) or (n, versions, channels, rows, columns)
        Vectors or feature maps.

    Returns
    -------
    ndarray of float32, shape (n, d)
        Vectors as they are; of feature maps the roots of the means of the first version, of length 1.
    """
    if encoding.ndim == 2:
        return encoding
    roots = np.sqrt(np.maximum(encoding[:, 0].astype(np.float32).mean(axis=(2, 3)), 0))  # (n, channels)
    return roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-9)


def descriptor_network(folder: Path, facts: dict[str, Any]) -> Part | None:
    """Return the network that describes images for a packaged model, or None if there is none."""
    part = facts.get("descriptor_network")
    if not part:
        return None
    return Part.model_validate({**part, "start": "packaged", "weights": str(array_file(folder, DESCRIPTOR))})


def write_descriptor_network(folder: Path, resources: Resources) -> Part | None:
    """Write a small network into a model folder, and return it; None if its weights are not available: nothing is downloaded."""
    try:
        encoder = build(_NETWORK, replace(resources, offline=True), "descriptor")
        encoder.fingerprint()
    except (NotInstalledError, *skip_reasons()):
        return None
    encoder.save(folder / DESCRIPTOR)
    return _NETWORK
