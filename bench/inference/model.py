"""A model that answers: opened from its folder, with the engine that is there."""

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

ENGINES = ("auto", "native", "onnx", "openvino")


class Engine(Protocol):
    """What computes."""

    name: str

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, n_classes) float64 of images (n, h, w) uint8, and descriptions (n, d) float32 of what is seen in them."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What was found in n images.

    Attributes
    ----------
    probability : array, shape (n, n_classes)
    decision : Decision
    ood_score : array, shape (n,)
        Above 1: not like the images that the model was trained on.
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
    facts : dict
        model.json.
    engine : Engine
    rule : Rule
    ood_detector : OodDetector
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
        """What turns grey levels of any size into the (side, side) uint8 that the model takes."""
        return Preprocessing.model_validate(self.facts["preprocessing"])

    def predict(self, images: np.ndarray) -> Prediction:
        """Look at preprocessed images (n, side, side) uint8 once, for everything there is to say."""
        if not len(images):
            empty = np.empty((0, len(self.classes)))
            return Prediction(empty, Decision(empty > 0, np.empty(0), np.empty(0, bool)), np.empty(0))
        probability, description = self.engine.predict(images)
        return Prediction(probability, self.decide(probability), self.ood_detector.score(description))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 of preprocessed images (n, side, side) uint8."""
        return self.predict(images).probability

    def decide(self, probability: np.ndarray) -> Decision:
        """Labels, confidence and sureness of probabilities (n, n_classes)."""
        return self.rule.decide(probability)


def load_model(folder: Path, engine: str = "auto", device: str = "auto", *, trusted: bool = False) -> Model:
    """Open a model folder.

    Parameters
    ----------
    engine
        "native": the classes it was trained with, the same numbers as in the run. "onnx" and "openvino": its graph, for models that are
        networks from end to end; OpenVINO also runs the networks alone of others. "auto": native where its packages are installed, else onnx.
    device
        "auto", "cpu" or "cuda".
    trusted
        Whether classes from outside of xraybench may be imported.

    Raises
    ------
    PackageError
        If the folder holds no model, is damaged, or needs what is not installed.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    try:
        rule = Rule(**facts["decision"])
    except (KeyError, TypeError):
        raise PackageError(
            f"{folder}: its decision rule is of another version of xraybench: export the model again"
        ) from None
    return Model(folder, facts, _engine(folder, facts, engine, device, trusted=trusted), rule, OodDetector.load(folder))


def _engine(folder: Path, facts: dict[str, Any], engine: str, device: str, *, trusted: bool) -> Engine:
    from bench.inference.native import Native
    from bench.recipes.build import NotInstalledError

    if engine == "auto":
        deep = any(part["class"].startswith("deep.") for part in [*facts["encoders"], facts["head"]])
        lacks_torch = deep and importlib.util.find_spec("torch") is None
        engine = "onnx" if lacks_torch and (folder / ONNX).is_file() else "native"
    compiled = engine == "openvino" and not (folder / ONNX).is_file()
    if engine == "native" or compiled:
        try:
            return Native(folder, facts, device, trusted=trusted, compiled=compiled)
        except (NotInstalledError, ModuleNotFoundError) as error:
            raise PackageError(f"{folder}: {error}") from None
    from bench.inference.runtimes import open_graph

    return open_graph(folder, engine)
