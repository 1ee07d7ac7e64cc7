"""A model folder run as one graph by ONNX Runtime or OpenVINO: without torch, and without the code that trained it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.inference.native import BLOCK
from bench.inference.package import ONNX, PackageError
from deep.openvino import ROWS, CompiledModel, OpenVinoMissingError, import_openvino

OUTPUTS = ("probability", "description")


class OnnxGraph:
    """The graph in ONNX Runtime, in float32."""

    name = "onnx"

    def __init__(self, file: Path) -> None:
        import onnxruntime

        known = onnxruntime.get_available_providers()
        providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in known]
        self.session = onnxruntime.InferenceSession(str(file), providers=providers)

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `bench.inference.native.Native.predict`."""
        return _in_blocks(images, lambda block: self.session.run(list(OUTPUTS), {"images": block}))


class OpenVinoGraph:
    """The graph in OpenVINO."""

    name = "openvino"

    def __init__(self, file: Path) -> None:
        graph = import_openvino().Core().read_model(str(file))
        graph.reshape([ROWS, *graph.input("images").partial_shape[1:]])  # with a fixed size it runs in half the time
        self.model = CompiledModel(graph)

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `bench.inference.native.Native.predict`."""
        probability, description = self.model(images)
        return probability.astype(np.float64), description


_ENGINES = {"onnx": (OnnxGraph, "xraybench[deploy]"), "openvino": (OpenVinoGraph, "xraybench[openvino]")}


def open_graph(folder: Path, engine: str) -> OnnxGraph | OpenVinoGraph:
    """Open model.onnx with an engine.

    Raises
    ------
    PackageError
        If the model has no graph, or the engine is not installed.
    """
    file = folder / ONNX
    if not file.is_file():
        raise PackageError(f"{folder}: has no {ONNX}, since some of its parts are not networks: use --engine native")
    kind, extra = _ENGINES[engine]
    try:
        return kind(file)
    except (ModuleNotFoundError, OpenVinoMissingError):
        raise PackageError(f"--engine {engine}: pip install '{extra}'") from None


def _in_blocks(images: np.ndarray, run: Callable[[np.ndarray], Sequence[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Run blocks of a fixed size, the last one padded, so that an image gets the same numbers whatever else is in the block."""
    outputs = []
    for begin in range(0, len(images), BLOCK):
        block = images[begin : begin + BLOCK]
        full = np.concatenate([block, np.repeat(block[-1:], BLOCK - len(block), axis=0)])
        outputs.append([np.array(value)[: len(block)] for value in run(full)])
    probability, description = (np.concatenate(values) for values in zip(*outputs, strict=True))
    return probability.astype(np.float64), description
