"""A model that is asked what it looks at: by Grad-CAM or Eigen-CAM where it is a network, by occlusion where it is not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from bench.explaining.occlusion import Score, occlusion
from bench.inference.model import Model, load_model

GRAD_CAM, EIGEN_CAM, OCCLUSION, AUTO = "grad-cam", "eigen-cam", "occlusion", "auto"
HEAD, WHOLE = "head", "whole"  # what the sanity check draws anew


class Subject:
    """A packaged model, opened with the classes that it was trained with.

    Parameters
    ----------
    folder
        Its folder.
    method
        "auto", or "occlusion" for any model.
    device
        "auto", "cpu" or "cuda".
    """

    def __init__(self, folder: Path, method: str = AUTO, device: str = "auto") -> None:
        self.model: Model = load_model(folder, "native", device)
        self.native = _without_descriptions(self.model.engine)
        self.network = None if method == OCCLUSION else _network(self.native, self.model.facts)
        self.method = _method(self.network)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the sanity check draws anew and the map should depend on; Eigen-CAM never looks at the head."""
        return {OCCLUSION: (HEAD,), GRAD_CAM: (HEAD, WHOLE), EIGEN_CAM: (WHOLE,)}[self.method]

    def heat(self, image: np.ndarray, label: int) -> np.ndarray:
        """Map (rows, columns) float32 in 0 .. 1 of what speaks for a class in an image (side, side) uint8."""
        if self.network is None:
            return occlusion(self.score(label), image)
        return _cam(self.network, image, label)

    def score(self, label: int) -> Score:
        """Probability of a class."""
        return lambda images: self.native.predict(images)[0][:, label]

    def random_heat(self, image: np.ndarray, label: int, part: str, seed: int) -> np.ndarray | None:
        """As `heat`, by the same model with weights that know nothing; None where it cannot be had."""
        if self.network is not None:
            return _cam(self.network.randomised(part, seed), image, label)
        head = randomised_head(self.native.head, seed)
        if head is None:
            return None
        native = copy.copy(self.native)
        native.head = head
        return occlusion(lambda images: native.predict(images)[0][:, label], image)


def randomised_head(head: Any, seed: int) -> Any:
    """Return a head of the same shape that has learned nothing, or None where there is no such thing.

    Kernel machines: the coefficients go to other images. Trees: each split looks at another feature. Networks and regressions: weights
    drawn anew.
    """
    rng = np.random.default_rng(seed)
    if hasattr(head, "machine_"):
        fresh, machine = copy.copy(head), head.machine_
        fresh.machine_ = type(machine)(machine.dual[rng.permutation(len(machine.dual))], machine.intercept)
        return fresh
    if hasattr(head, "booster_"):
        return _OtherFeatures(head, rng)
    if type(head).__module__.startswith("deep."):
        from deep.cam import redrawn

        return redrawn(head, seed)
    return None


class _OtherFeatures:
    """Trees that get the features in another order."""

    def __init__(self, head: Any, rng: np.random.Generator) -> None:
        self.head = head
        self.order = rng.permutation(head.booster_.num_features())

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.head.predict_proba(np.ascontiguousarray(X[:, self.order]))


class _NoDescriptor:
    """Describes nothing: the OOD score is not needed here, and describing costs a network."""

    def describe(self, images: np.ndarray, encoded: object) -> np.ndarray:  # noqa: ARG002 - a descriptor's signature
        return np.zeros((len(images), 1), np.float32)


def _without_descriptions(engine: Any) -> Any:
    native = copy.copy(engine)
    native.descriptor = _NoDescriptor()
    return native


def _network(native: Any, facts: dict[str, Any]) -> Any:
    if not all(part["class"].startswith("deep.") for part in facts["encoders"]):
        return None
    if not facts["encoders"] and not facts["head"]["class"].startswith("deep."):
        return None
    from deep.cam import cut

    return cut(native.encoders, native.head, mirror=native.mirror)


def _method(network: Any) -> str:
    if network is None:
        return OCCLUSION
    return EIGEN_CAM if network.classifier is None else GRAD_CAM


def _cam(network: Any, image: np.ndarray, label: int) -> np.ndarray:
    from deep.cam import eigen_cam, grad_cam

    return (
        grad_cam(network, image[None], label) if network.classifier is not None else eigen_cam(network, image[None])
    )[0]
