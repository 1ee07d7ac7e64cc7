"""What an encoder and a head are: the one place where a class is asked what it can do.

`Encoder` and `Head` are required, every other protocol is optional. All are structural: a class needs no base class and no registration, it
has the members or it has them not. `bench.recipes.checks` tests a class against them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from deep.cam import CamTarget

Reference = tuple[
    np.ndarray, np.ndarray | None
]  # encodings (m, d) of what a pairwise head compares with, and of their mirror images


@runtime_checkable
class Encoder(Protocol):
    """Describes images; learns nothing, so that it is computed once for all folds."""

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Describe images (n, h, w) uint8 as (n, d) float32, each row by its own image alone."""
        ...


@runtime_checkable
class Head(Protocol):
    """Learns from the training part; tunes and stops on the validation part.

    X is (n, d) float32, the encodings side by side; without encoders the images (n, h, w) uint8; see `PairwiseHead` and `RowwiseHead` for
    the two other kinds of input.
    """

    def fit(self, X: Any, y: np.ndarray, X_valid: Any, y_valid: np.ndarray, seed: int) -> Any:
        """Learn from X and labels (n, n_classes) of 0 and 1; the constructor's parameters stay as they are."""
        ...

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, n_classes) float64, on the host."""
        ...


@runtime_checkable
class PairwiseHead(Head, Protocol):
    """A head with ``pairwise = True`` gets squared distances (n_encodings, n, m) to training images instead of features."""

    pairwise: bool


@runtime_checkable
class LandmarkHead(PairwiseHead, Protocol):
    """A pairwise head that makes do with the distances to some of the training images, the landmarks."""

    def n_landmarks(self, n_train: int) -> int | None:
        """Return to how many training images the distances are wanted; None for all of them."""
        ...


@runtime_checkable
class PrunableHead(PairwiseHead, Protocol):
    """A pairwise head that compares with a few of its training images only."""

    @property
    def support_(self) -> np.ndarray:
        """Positions of these images among the columns of X."""
        ...

    def prune_to_support(self) -> np.ndarray:
        """Forget the other images; return the positions of those that stay."""
        ...


@runtime_checkable
class RowwiseHead(Head, Protocol):
    """A head with ``rowwise = True`` reads the rows of one encoding itself, a batch at a time: X is a `bench.recipes.inputs.Rows`."""

    rowwise: bool


@runtime_checkable
class BatchHead(Head, Protocol):
    """A head with a parameter `batch`: it is halved once where memory does not suffice."""

    batch: int


@runtime_checkable
class GpuHead(Head, Protocol):
    """A head with a parameter `device`, which may be "cuda"."""

    device: str


@runtime_checkable
class RefittableHead(Head, Protocol):
    """A head that can be fitted without a validation part; what ``bench export`` needs."""

    def refit(self, X: Any, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> Any:
        """Fit to all images with what the folds chose: of each, `chosen_` and the JSON files that `save` wrote."""
        ...


@runtime_checkable
class SavableHead(Head, Protocol):
    """A head that writes what it learned, as arrays and JSON and never as a pickle; ``load(folder)`` is its class method."""

    def save(self, folder: Path) -> None:
        """Write into an empty folder."""
        ...


@runtime_checkable
class LoadableHead(Protocol):
    """The class of a `SavableHead`; `load` may also take a `device`."""

    def load(self, folder: Path) -> Head:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class SavableEncoder(Encoder, Protocol):
    """An encoder with weights: named as its parameter `weights` the file gives the same encoder."""

    def save(self, file: Path) -> None:
        """Write the weights as safetensors."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """An encoder or head whose numbers depend on more than its parameters, such as a file of weights."""

    def fingerprint(self) -> str:
        """Return a text that changes with them; it is part of the key of everything computed."""
        ...


@runtime_checkable
class Pretrained(Protocol):
    """An encoder or head that starts from published weights."""

    def weights_facts(self) -> Mapping[str, Any] | None:
        """Return backbone, file, origin, licence, citations and sha256; None for a random start."""
        ...


@runtime_checkable
class PortableWeights(Protocol):
    """A head whose weights can be sent to another machine beside it."""

    def weights_file(self) -> tuple[str, Path] | None:
        """Return the weights and a name by which they are found in a weights folder; None where nothing needs to be sent along."""
        ...


@runtime_checkable
class InferenceEncoder(Encoder, Protocol):
    """An encoder that does less when it only predicts."""

    def inference_mode(self) -> None:
        """Leave out what only training needs."""
        ...


@runtime_checkable
class DescribingHead(Head, Protocol):
    """A head on pixels that can say what it sees, for the out-of-distribution score."""

    def describe(self, X: np.ndarray) -> np.ndarray:
        """Describe images (n, h, w) uint8 as (n, d) float32."""
        ...


@runtime_checkable
class RandomisableHead(Head, Protocol):
    """A head of which there is a copy that has learned nothing, for the sanity check of explanations (Adebayo et al. 2018)."""

    def randomise_weights(self, seed: int) -> Head:
        """Return a head of the same shape with random weights; this one stays as it is."""
        ...


@runtime_checkable
class TorchEncoder(Encoder, Protocol):
    """An encoder that is a network: it can become part of an exported graph."""

    def to_torch(self) -> nn.Module:
        """Return a module with ``forward(grey, mirrored)`` and ``describe(encoding)``, see `deep.graph.InferenceGraph`."""
        ...


@runtime_checkable
class TorchHead(Head, Protocol):
    """A head that can become part of an exported graph."""

    def to_torch(self, *, mirror: bool, references: Sequence[Reference]) -> nn.Module:
        """Return a module with ``forward(views)`` and the attribute `mirrored`, see `deep.graph.InferenceGraph`."""
        ...


@runtime_checkable
class CamEncoder(Encoder, Protocol):
    """An encoder with a feature map."""

    def cam_target(self) -> CamTarget:
        """Return the network up to the map."""
        ...


@runtime_checkable
class CamHead(Head, Protocol):
    """A head with gradients down to a feature map: explained by Grad-CAM, others by occlusion."""

    def cam_target(self, encoder: CamTarget | None, *, mirror: bool) -> CamTarget | None:
        """Return the whole network, from that of the encoder (None for a head on pixels) on; None where there are no gradients."""
        ...


def is_pairwise(head: object) -> bool:
    """Whether a head gets squared distances."""
    return isinstance(head, PairwiseHead) and bool(head.pairwise)


def is_rowwise(head: object) -> bool:
    """Whether a head reads the rows of one encoding itself."""
    return isinstance(head, RowwiseHead) and bool(head.rowwise)


def n_landmarks(head: object, n_train: int) -> int | None:
    """To how many training images a pairwise head wants the distances; None for all."""
    return head.n_landmarks(n_train) if isinstance(head, LandmarkHead) else None


def n_support(head: object) -> int:
    """Training images that a fitted head keeps to compare with."""
    return len(head.support_) if isinstance(head, PrunableHead) else 0


def smaller_batch(head: object) -> int:
    """Half of a head's batch, 0 where there is none to halve."""
    return int(head.batch) // 2 if isinstance(head, BatchHead) else 0


def fingerprint(part: object) -> str:
    """Return what the numbers of an encoder or head depend on beside its parameters; empty where that is nothing."""
    return part.fingerprint() if isinstance(part, Fingerprinted) else ""


def weights_facts(part: object) -> Mapping[str, Any] | None:
    """Where an encoder's or head's weights come from; None where it has none or does not say."""
    return part.weights_facts() if isinstance(part, Pretrained) else None


def weights_file(part: object) -> tuple[str, Path] | None:
    """Weights that must be sent along to another machine, with their name in a weights folder."""
    return part.weights_file() if isinstance(part, PortableWeights) else None


def n_parameters(part: object) -> int:
    """Learned numbers of a fitted head or of an encoder that has encoded (`n_parameters_`); 0 where it does not say."""
    return int(getattr(part, "n_parameters_", 0))


def chosen(head: object) -> dict[str, Any]:
    """Return what a fitted head selected on the validation part (`chosen_`)."""
    return getattr(head, "chosen_", {})


def history(head: object) -> list[dict[str, Any]]:
    """Return a record for each epoch of a fitted head (`history_`)."""
    return getattr(head, "history_", [])


def takes_candidates(part: object, name: str) -> bool:
    """Whether a parameter of an encoder or head holds a list of candidates."""
    return isinstance(getattr(part, name, None), list | tuple)


def search_space(class_: object) -> dict[str, Any]:
    """Return what ``bench tune`` may try of a class, by parameter (`search_space`), as tables of a suite file."""
    return dict(getattr(class_, "search_space", {}))


def former_names(class_: object) -> dict[str, str]:
    """Present names of parameters by the names they had in suites of earlier versions (`former_names`)."""
    return dict(getattr(class_, "former_names", {}))


def engines(class_: object) -> tuple[str, ...]:
    """Return what an encoder's parameter `engine` may be (`engines`)."""
    return tuple(getattr(class_, "engines", ()))


def packaged(class_: type, file: Path) -> dict[str, str]:
    """Parameters of an encoder that starts from the weights which `SavableEncoder.save` wrote."""
    known = inspect.signature(class_).parameters
    return {"weights": str(file)} | ({"start": "packaged"} if "start" in known else {})


def is_network(encoders: Sequence[object], head: object) -> bool:
    """Whether encoders and head, or their classes, can be joined to one graph."""
    describes = isinstance(encoders[0] if encoders else head, TorchEncoder if encoders else DescribingHead)
    return describes and isinstance(head, TorchHead) and all(isinstance(each, TorchEncoder) for each in encoders)


def version(class_: str) -> int:
    """Return the VERSION of the module of a class ``module:Class``, 0 where it states none or is not loaded."""
    return int(getattr(sys.modules.get(class_.partition(":")[0]), "VERSION", 0))


def load_head(class_: object, folder: Path, device: str) -> Head | None:
    """Read a head that `SavableHead.save` wrote, or return None where its class has no `load`."""
    if not isinstance(class_, LoadableHead):
        return None
    options = {"device": device} if "device" in inspect.signature(class_.load).parameters else {}
    return class_.load(folder, **options)


def cam_target(encoders: Sequence[object], head: object, *, mirror: bool) -> CamTarget | None:
    """Return the network of a model down to its last feature map, or None where it has none, or where it is not all that the model sees."""
    networks = [encoder for encoder in encoders if isinstance(encoder, CamEncoder)]
    if len(networks) != len(encoders) or len(networks) > 1:
        return None
    target = networks[0].cam_target() if networks else None
    if isinstance(head, CamHead):
        target = head.cam_target(target, mirror=mirror) or target
    return target if target is not None and target.has_map() else None
