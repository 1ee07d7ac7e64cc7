"""OpenVINO on the CPU: the one place that imports it and decides how it computes. Does not need torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

ROWS = 8  # images processed together; the last ones are filled up, so that an image gets the same numbers alone


class OpenVinoMissingError(ValueError):
    """OpenVINO is requested and not installed."""


def import_openvino() -> Any:
    """Import OpenVINO without the usage statistics that it sends on import.

    Raises
    ------
    OpenVinoMissingError
        If it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType] - as if it were not installed
    try:
        import openvino  # pyright: ignore[reportMissingImports] - an optional package
    except ImportError:
        raise OpenVinoMissingError("OpenVINO is not installed: pip install 'xraybench[openvino]'") from None
    return openvino


class CompiledModel:
    """A model of OpenVINO compiled for this processor: in bfloat16 where the hardware multiplies it, else in float32.

    Parameters
    ----------
    model : openvino.Model
        Takes one array with `ROWS` rows and returns one or more with as many.
    threads : int
        0 for as many as there are cores.
    """

    def __init__(self, model: Any, threads: int = 0) -> None:
        core = import_openvino().Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if native else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self._request = core.compile_model(model, "CPU", options).create_infer_request()

    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs for any number of rows, each (n, ...)."""
        found = []
        for begin in range(0, len(rows), ROWS):
            block = rows[begin : begin + ROWS]
            full = np.concatenate([block, np.repeat(block[-1:], ROWS - len(block), axis=0)])
            self._request.infer({0: np.ascontiguousarray(full)})
            found.append([np.array(tensor.data[: len(block)]) for tensor in self._request.output_tensors])
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
