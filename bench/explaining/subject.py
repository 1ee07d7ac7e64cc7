"""A model to be explained: by Grad-CAM or Eigen-CAM if it is a network, by occlusion otherwise."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.explaining.occlusion import Score, occlusion
from bench.inference.model import Model, load_model
from bench.recipes.contract import RandomisableHead, cam_target

if TYPE_CHECKING:
    from deep.cam import CamTarget

GRAD_CAM, EIGEN_CAM, OCCLUSION, AUTO = "grad-cam", "eigen-cam", "occlusion", "auto"
HEAD, WHOLE = "head", "whole"  # what the sanity check randomises


class Subject:
    """A packaged model, opened with the classes that it was trained with.

    Parameters
    ----------
    folder : Path
        Its folder.
    method : str
        "auto", or "occlusion" for any model.
    device : str
        "auto", "cpu" or "cuda".
    trusted : bool
        Whether classes from outside of xraybench may be imported.
    """

    def __init__(self, folder: Path, method: str = AUTO, device: str = "auto", *, trusted: bool = False) -> None:
        self.model: Model = load_model(folder, "native", device, trusted=trusted)
        self.native = _without_descriptions(self.model.engine)
        native = self.native
        self.network = None if method == OCCLUSION else cam_target(native.encoders, native.head, mirror=native.mirror)
        self.method = _method(self.network)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the sanity check randomises and the map should depend on; Eigen-CAM never uses the head."""
        return {OCCLUSION: (HEAD,), GRAD_CAM: (HEAD, WHOLE), EIGEN_CAM: (WHOLE,)}[self.method]

    def heat(self, image: np.ndarray, label: int) -> np.ndarray:
        """Map (rows, columns) float32 in 0 .. 1 of the evidence for a class in an image (side, side) uint8."""
        if self.network is None:
            return occlusion(self.score(label), image)
        return _cam(self.network, image, label)

    def score(self, label: int) -> Score:
        """Probability of a class."""
        return lambda images: self.native.predict(images)[0][:, label]

    def random_heat(self, image: np.ndarray, label: int, part: str, seed: int) -> np.ndarray | None:
        """As `heat`, by the same model with random weights; None if there is no such model."""
        if self.network is not None:
            return _cam(self.network.randomised(part, seed), image, label)
        if not isinstance(self.native.head, RandomisableHead):
            return None
        native = copy.copy(self.native)
        native.head = self.native.head.randomise_weights(seed)
        return occlusion(lambda images: native.predict(images)[0][:, label], image)


class _NoDescriptor:
    """Describes nothing: the OOD score is not needed here, and describing needs a network."""

    def describe(self, images: np.ndarray, encoded: object) -> np.ndarray:  # noqa: ARG002 - a descriptor's signature
        return np.zeros((len(images), 1), np.float32)


def _without_descriptions(engine: Any) -> Any:
    native = copy.copy(engine)
    native.descriptor = _NoDescriptor()
    return native


def _method(network: CamTarget | None) -> str:
    if network is None:
        return OCCLUSION
    return EIGEN_CAM if network.classifier is None else GRAD_CAM


def _cam(network: CamTarget, image: np.ndarray, label: int) -> np.ndarray:
    from deep.cam import eigen_cam, grad_cam

    return (
        grad_cam(network, image[None], label) if network.classifier is not None else eigen_cam(network, image[None])
    )[0]
