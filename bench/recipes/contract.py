"""What an encoder and a head are: the one place that asks a class what it can do.

`Encoder` and `Head` are required, every other protocol is optional. All are structural: a class needs no base class and no registration, it
All are structural: a class needs no base class and no registration, it `bench.recipes.checks` tests a class against them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from bench.recipes.source import module_file

if TYPE_CHECKING:
    from torch import nn

    from deep.cam import CamTarget

Reference = tuple[
    np.ndarray, np.ndarray | None
]  # encodings (m, d) of what a pairwise head compares with, and of their mirror images


CLASSICAL, DEEP, FUSION, DUMMY = FAMILIES = ("classical", "deep", "fusion", "dummy")


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
    """A pairwise head that needs the distances to only some training images, the landmarks."""

    def n_landmarks(self, n_train: int) -> int | None:
        """Return the number of training images to compute distances to; None for all."""
        ...


@runtime_checkable
class PrunableHead(PairwiseHead, Protocol):
    """A pairwise head that compares with only a few of its training images."""

    @property
    def support_(self) -> np.ndarray:
        """Positions of these images among the columns of X."""
        ...

    def prune_to_support(self) -> np.ndarray:
        """Forget the other images; return the positions of those that remain."""
        ...


@runtime_checkable
class RowwiseHead(Head, Protocol):
    """A head with ``rowwise = True`` reads the rows of one encoding itself, a batch at a time: X is a `bench.recipes.inputs.Rows`."""

    rowwise: bool


@runtime_checkable
class BatchHead(Head, Protocol):
    """A head with a parameter `batch`: it is halved once if memory runs out."""

    batch: int


@runtime_checkable
class GpuHead(Head, Protocol):
    """A head with a parameter `device`, which may be "cuda"."""

    device: str


@runtime_checkable
class RefittableHead(Head, Protocol):
    """A head that can be fitted without a validation part; what ``bench export`` needs."""

    def refit(self, X: Any, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> Any:
        """Fit to all images with what the folds chose.

        Parameters
        ----------
        X : ndarray
            As for `fit`.
        y : ndarray of shape (n, n_classes)
        folds : sequence of mapping
            A flat dict for each fold: the entries of `chosen_` and of the JSON files that `save` wrote, such as ``fold["C"]``.
        seed : int
        """
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
    """An encoder with weights: given as its parameter `weights`, the saved file makes the same encoder."""

    def save(self, file: Path) -> None:
        """Write the weights as safetensors."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """An encoder or head whose numbers depend on more than its parameters, such as a file of weights."""

    def fingerprint(self) -> str:
        """Return a string that changes with them; it is part of the key of everything computed."""
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
        """Return the weights and the name by which a weights folder is searched for them; None if nothing needs to be sent."""
        ...


@runtime_checkable
class InferenceEncoder(Encoder, Protocol):
    """An encoder with a cheaper mode for prediction."""

    def inference_mode(self) -> None:
        """Skip whatever only training needs."""
        ...


@runtime_checkable
class DescribingHead(Head, Protocol):
    """A head on pixels that can describe images, for the out-of-distribution score."""

    def describe(self, X: np.ndarray) -> np.ndarray:
        """Describe images (n, h, w) uint8 as (n, d) float32."""
        ...


@runtime_checkable
class RandomisableHead(Head, Protocol):
    """A head that can return an untrained copy, for the sanity check of explanations (Adebayo et al. 2018)."""

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
    """Return the number of training images to which a pairwise head wants distances; None for all."""
    return head.n_landmarks(n_train) if isinstance(head, LandmarkHead) else None


def n_support(head: object) -> int:
    """Training images that a fitted head keeps to compare with."""
    return len(head.support_) if isinstance(head, PrunableHead) else 0


def smaller_batch(head: object) -> int:
    """Half of a head's batch, 0 where there is none to halve."""
    return int(head.batch) // 2 if isinstance(head, BatchHead) else 0


def fingerprint(part: object) -> str:
    """Return what the numbers of an encoder or head depend on besides its parameters; empty if nothing."""
    return part.fingerprint() if isinstance(part, Fingerprinted) else ""


def weights_facts(part: object) -> Mapping[str, Any] | None:
    """Origin of an encoder's or head's weights; None if it has none or does not report it."""
    return part.weights_facts() if isinstance(part, Pretrained) else None


def weights_file(part: object) -> tuple[str, Path] | None:
    """Weights that must be sent along to another machine, with their name in a weights folder."""
    return part.weights_file() if isinstance(part, PortableWeights) else None


def n_parameters(part: object) -> int:
    """Learned numbers of a fitted head or of an encoder that has encoded (`n_parameters_`); 0 if it does not report it."""
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


def family(class_: object) -> str | None:
    """Return what a loaded class counts as in the comparison (`family`); None if it does not declare it."""
    return getattr(class_, "family", None)


def declared_family(class_: str) -> str | None:
    """Return what a class ``module:Class`` counts as in the comparison, its attribute ``family = "..."``; None if it declares none.

    Read from the source without importing it: a missing torch must not change the family of a model, nor loading it delay a run that
    has nothing to do.
    """
    module, _, name = class_.partition(":")
    file = module_file(module)
    return _families(file, file.stat().st_mtime_ns).get(name) if file else None


@cache
def _families(file: Path, _changed: int) -> dict[str, str]:
    """Families that the classes of a source file declare, by class."""
    try:
        classes = [node for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.ClassDef)]
    except (OSError, SyntaxError, ValueError):
        return {}
    return {each.name: text for each in classes for node in each.body if (text := _family_stated(node))}


def _family_stated(node: ast.stmt) -> str | None:
    match node:
        case ast.Assign([ast.Name("family")], ast.Constant(str(text))):
            return text
        case ast.AnnAssign(ast.Name("family"), _, ast.Constant(str(text))):
            return text
    return None


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
    """Return the VERSION of the module of a class ``module:Class``, 0 if it states none or is not loaded."""
    return int(getattr(sys.modules.get(class_.partition(":")[0]), "VERSION", 0))


def load_head(class_: object, folder: Path, device: str) -> Head | None:
    """Read a head that `SavableHead.save` wrote, or return None where its class has no `load`."""
    if not isinstance(class_, LoadableHead):
        return None
    options = {"device": device} if "device" in inspect.signature(class_.load).parameters else {}
    return class_.load(folder, **options)


def cam_target(encoders: Sequence[object], head: object, *, mirror: bool) -> CamTarget | None:
    """Return the network of a model down to its last feature map, or None if it has none, or if the model has other inputs besides."""
    networks = [encoder for encoder in encoders if isinstance(encoder, CamEncoder)]
    if len(networks) != len(encoders) or len(networks) > 1:
        return None
    target = networks[0].cam_target() if networks else None
    if isinstance(head, CamHead):
        target = head.cam_target(target, mirror=mirror) or target
    return target if target is not None and target.has_map() else None
