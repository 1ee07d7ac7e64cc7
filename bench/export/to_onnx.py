"""From a model folder's classes to one graph, and its largest differences from them."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import onnxscript  # noqa: F401 - torch's exporter needs it; without it there is no graph
import torch

from bench.inference.native import Native
from bench.recipes.contract import TorchEncoder, TorchHead
from deep.graph import InferenceGraph, write_onnx


def graph_of(native: Native) -> InferenceGraph:
    """Join the parts of a model, all of which are networks (`bench.recipes.contract.is_network`)."""
    encoders = [cast(TorchEncoder, encoder).to_torch() for encoder in native.encoders]
    head = cast(TorchHead, native.head).to_torch(mirror=native.mirror, references=native.pairs())
    return InferenceGraph(encoders, head)


def largest_difference(graph: InferenceGraph, native: Native, images: np.ndarray, file: Path) -> dict[str, float]:
    """Write the graph; return the largest differences in a probability: from torch in float32, and from the native classes.

    The native classes compute in bfloat16 if the hardware does; the graph does not.
    """
    _quietly(lambda: write_onnx(graph, images.shape[1], file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(["probability"], {"images": images})[0]
    with torch.inference_mode():
        expected = graph(torch.from_numpy(images))[0].numpy()
    probability, _ = native.predict(images)
    return {
        "onnx_to_torch": float(np.abs(found - expected).max()),
        "onnx_to_native": float(np.abs(found - probability).max()),
    }


def _quietly(do: Callable[[], object]) -> None:
    """Silence a library that prints more than a user wants to read."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            do()
    finally:
        logging.disable(before)
