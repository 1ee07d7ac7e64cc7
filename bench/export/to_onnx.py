"""From a model folder's classes to one graph, and how far its numbers are from theirs."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import onnxscript  # noqa: F401 - torch's exporter needs it; without it there is no graph
import torch

from bench.inference.native import Native
from deep.graph import KernelHead, Whole, whole, write_onnx


def graph_of(native: Native, facts: dict[str, Any]) -> Whole | None:
    """Join the parts of a model, or return None where one is no network."""
    head = native.head
    if native.references:
        if not all(part["class"].startswith("deep.frozen:") for part in facts["encoders"]):
            return None
        head = _kernel_head(native, facts["task"])
    return whole(native.encoders, head, facts["task"], mirror=native.mirror)


def largest_difference(graph: Whole, native: Native, images: np.ndarray, file: Path) -> dict[str, float]:
    """Write the graph; return the largest differences of a probability: graph to torch in float32, and to the native classes.

    These compute in bfloat16 where the hardware does, which the graph does not.
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


def _kernel_head(native: Native, task: str) -> KernelHead:
    svm, refs, n = native.head, native.references, len(native.encoders)
    mirrored = [refs[f"{k}-mirrored"] for k in range(n)] if "0-mirrored" in refs else None
    calibration = svm.calibration_
    return KernelHead(
        [refs[f"{k}"] for k in range(n)],
        mirrored,
        svm.scale_,
        svm.machine_.dual,
        svm.machine_.intercept,
        svm.chosen_["gamma"],
        calibration.slope,
        calibration.intercept,
        task,
    )


def _quietly(do: Callable[[], object]) -> None:
    """Do something whose library says more than a user wants to read."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            do()
    finally:
        logging.disable(before)
