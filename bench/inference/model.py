"""A model that predicts: opened from its folder, with an engine that is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from radiographs.preprocess import Preprocessing

from bench.inference.decision import Decision, Rule
from bench.inference.novelty import OodDetector
from bench.inference.package import ONNX, PackageError, read_facts
from bench.recipes import contract

ENGINES = ("auto", "native", "onnx", "openvino")


class Engine(Protocol):
    """Computes probabilities and descriptions."""

    name: str

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (n, n_classes) float64 and descriptions (n, d) float32 of images (n, h, w) uint8."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for n images.

    Attributes
    ----------
    probability : ndarray of float64, shape (n, n_classes)
        Probability of each class.
    decision : Decision
        Labels, confidence, and whether it is sure.
    ood_score : ndarray of float64, shape (n,)
        Above 1 an image is out of distribution: unlike those that the model was trained on.
    """

    probability: np.ndarray
    decision: Decision
    ood_score: np.ndarray


@dataclass(frozen=True)
class Model:
    """A model from a folder.

    Attributes
    ----------
    folder : Path
        Where it was opened from.
    facts : dict
        Content of model.json.
    engine : Engine
        Computes probabilities.
    rule : Rule
        Turns them into decisions.
    ood_detector : OodDetector
        Scores how unlike the training images an image is.
    """

    folder: Path
    facts: dict[str, Any]
    engine: Engine
    rule: Rule
    ood_detector: OodDetector

    @property
    def name(self) -> str:
        """As in the suite."""
        return self.facts["name"]

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of every array (n, n_classes)."""
        return tuple(self.facts["classes"])

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing from grey levels of any size to the (side, side) uint8 that the model takes."""
        return Preprocessing.model_validate(self.facts["preprocessing"])

    def predict(self, images: np.ndarray) -> Prediction:
        """Predict preprocessed images (n, side, side) uint8."""
        if not len(images):
            empty = np.empty((0, len(self.classes)))
            return Prediction(empty, Decision(empty > 0, np.empty(0), np.empty(0, bool)), np.empty(0))
        probability, description = self.engine.predict(images)
        return Prediction(probability, self.decide(probability), self.ood_detector.score(description))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities (n, n_classes) float64 of preprocessed images (n, side, side) uint8."""
        return self.predict(images).probability

    def decide(self, probability: np.ndarray) -> Decision:
        """Apply the decision rule to probabilities (n, n_classes)."""
        return self.rule.decide(probability)


def load_model(folder: Path, engine: str = "auto", device: str = "auto", *, trusted: bool = False) -> Model:
    """Open a model folder.

    Parameters
    ----------
    folder : Path
        Made by ``bench export``.
    engine : {"auto", "native", "onnx", "openvino"}
        "native": the classes it was trained with, the same numbers as in the run. "onnx" and "openvino": its graph, for models that are
        networks from end to end; OpenVINO also runs just the networks of other models. "auto": native where its packages are installed, else onnx.
    device : {"auto", "cpu", "cuda"}
        Where networks compute.
    trusted : bool
        Whether classes from outside of xraybench may be imported.

    Returns
    -------
    Model
        The opened model.

    Raises
    ------
    PackageError
        If the folder holds no model, is damaged, or needs a package that is not installed.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    try:
        rule = Rule(**facts["decision"])
    except (KeyError, TypeError):
        raise PackageError(
            f"{folder}: its decision rule is from another version of xraybench: export the model again"
        ) from None
    return Model(folder, facts, _engine(folder, facts, engine, device, trusted=trusted), rule, OodDetector.load(folder))


def _engine(folder: Path, facts: dict[str, Any], engine: str, device: str, *, trusted: bool) -> Engine:
    from bench.inference.native import Native
    from bench.recipes.build import NotInstalledError

    has_graph = (folder / ONNX).is_file()
    if engine == "auto":
        engine = "onnx" if has_graph and _needs_torch(facts) else "native"
    compiled = engine == "openvino" and not has_graph
    if engine == "native" or compiled:
        try:
            return Native(folder, facts, device, trusted=trusted, compiled=compiled)
        except (NotInstalledError, ModuleNotFoundError) as error:
            raise PackageError(f"{folder}: {error}") from None
    from bench.inference.runtimes import open_graph

    return open_graph(folder, engine)


def _needs_torch(facts: dict[str, Any]) -> bool:
    """Whether a part of the model is a network, and torch is not installed."""
    parts = [*facts["encoders"], facts["head"]]
    has_network = any(contract.declared_family(part["class"]) == contract.DEEP for part in parts)
    return has_network and importlib.util.find_spec("torch") is None
