"""A model folder run by the classes that were trained: the same numbers as in the run.

Images are processed in blocks of a fixed size, the last one padded: matrix products and convolutions sum in an order that depends on the
number of rows, and an image must get the same numbers whatever else is in the block.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.inference.descriptor import choose_descriptor, descriptor_network
from bench.inference.package import PackageError, encoder_file, head_folder, read_arrays
from bench.recipes import contract
from bench.recipes.build import Resources, build, install_hint, resolve
from bench.recipes.inputs import Inputs, predict
from bench.recipes.suite import Part

BLOCK = 8  # images processed together
_OURS = re.compile(r"(baselines|deep)\.\w+:\w+")


class Native:
    """Encoders and head of a model folder.

    Parameters
    ----------
    folder : Path
    facts : dict
        The model and its model.json.
    device : str
        "auto", "cpu" or "cuda".
    trusted : bool
        Whether classes from outside of xraybench may be imported and called: such a class can do anything.
    compiled : bool
        Whether OpenVINO runs the frozen networks among the encoders, and the one that describes images for a classical model.
    """

    def __init__(
        self, folder: Path, facts: dict[str, Any], device: str, *, trusted: bool = False, compiled: bool = False
    ) -> None:
        for part in [*facts["encoders"], facts["head"]]:
            if not trusted and not _OURS.fullmatch(part["class"]):
                raise PackageError(
                    f"{folder}: names {part['class']}, which is not part of xraybench: give --trust-code if you trust it"
                )
        resources = Resources(task=facts["task"], device=device, offline=True)
        self.name = "openvino" if compiled else "native"
        self.mirror = bool(facts["mirror"])
        self.parts = [Part.model_validate(part) for part in facts["encoders"]]
        network = descriptor_network(folder, facts)
        if compiled:
            _see_that_it_can_be_compiled(folder, [*self.parts, *([network] if network else [])])
            self.parts, network = [_compiled(part) for part in self.parts], _compiled(network) if network else None
        self.encoders = [_encoder(folder, k, part, resources) for k, part in enumerate(self.parts)]
        self.head = load_head(facts["head"]["class"], head_folder(folder), device)
        references = folder / "references.safetensors"
        self.references = read_arrays(references) if references.is_file() else {}
        self.landmarks = self._landmarks()
        self.descriptor = choose_descriptor(self.parts, self.head, resources, network)

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, n_classes) float64 of images (n, h, w) uint8, and descriptions (n, d) float32 of their content."""
        found = [self._block(images[begin : begin + BLOCK]) for begin in range(0, len(images), BLOCK)]
        probability, description = zip(*found, strict=True)
        return np.concatenate(probability), np.concatenate(description)

    def _block(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(images)
        images = np.concatenate([images, np.repeat(images[-1:], BLOCK - n, axis=0)])
        encoded = [encoder.encode(images) for encoder in self.encoders]
        probability = predict(self.head, self._inputs(images, encoded))
        return probability[:n], self.descriptor.describe(images, encoded)[:n]

    def _inputs(self, images: np.ndarray, encoded: list[np.ndarray]) -> Inputs:
        if not encoded:
            return Inputs(images)
        if contract.is_pairwise(self.head):
            found = zip(self.landmarks, encoded, strict=True)
            return Inputs(np.stack([known.distances(values) for known, values in found]))  # (n_encodings, n, m)
        if contract.is_rowwise(self.head):
            return Inputs(encoded[0])
        mirrored = None
        if self.mirror:
            turned = np.ascontiguousarray(images[:, :, ::-1])
            mirrored = np.concatenate([encoder.encode(turned) for encoder in self.encoders], axis=1)
        return Inputs(np.concatenate(encoded, axis=1), mirrored)

    def _landmarks(self) -> list[Any]:
        """Return the reference encodings of a kernel machine, for each encoder; nothing for other heads."""
        if not self.references:
            return []
        from baselines.distances import Landmarks

        return [Landmarks(plain, mirrored) for plain, mirrored in self.pairs()]

    def pairs(self) -> list[contract.Reference]:
        """Return the reference encodings of a kernel machine, and those of the mirror images, by encoder."""
        refs = self.references
        return [(refs[f"{k}"], refs.get(f"{k}-mirrored")) for k in range(len(self.parts))] if refs else []


def _compiled(part: Part) -> Part:
    return part.changed(engine="openvino") if _runs_in_openvino(part) else part


def _runs_in_openvino(part: Part) -> bool:
    return "openvino" in contract.engines(resolve(part, "encoders"))


def _see_that_it_can_be_compiled(folder: Path, parts: Sequence[Part]) -> None:
    if not any(map(_runs_in_openvino, parts)):
        raise PackageError(f"{folder}: has no network for OpenVINO to run: leave out --engine openvino")
    from deep.openvino import OpenVinoMissingError, import_openvino

    try:
        import_openvino()
    except OpenVinoMissingError as error:
        raise PackageError(f"--engine openvino: {error}") from None


def _encoder(folder: Path, k: int, part: Part, resources: Resources) -> Any:
    file = encoder_file(folder, k)
    if file.is_file():
        part = Part.model_validate({"class": part.class_, **part.parameters, "weights": str(file)})
    encoder = build(part, resources, f"encoders.{k}")
    if isinstance(encoder, contract.InferenceEncoder):
        encoder.inference_mode()
    return encoder


def load_head(class_: str, folder: Path, device: str) -> contract.Head:
    """Read a head that predicts.

    Raises
    ------
    PackageError
        If it cannot be loaded.
    """
    try:
        kind = pkgutil.resolve_name(class_)
    except (ImportError, AttributeError, ValueError) as error:
        raise PackageError(
            f"{folder}: needs {class_}, which cannot be loaded here ({error}){install_hint(class_)}"
        ) from None
    head = contract.load_head(kind, folder, device)
    if head is None:
        raise PackageError(f"{class_}: has no load(folder), so that a saved one cannot be used")
    return head
