"""A network that learns no more, compiled by OpenVINO: operations joined and arrays laid out for the processor at hand."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deep.device import has_bfloat16

ROWS = 8  # images that go through together; the last ones are filled up, so that an image gets the same numbers alone


def import_openvino() -> Any:
    """OpenVINO without its usage statistics, which it sends home by itself when it is imported.

    Raises
    ------
    ValueError
        If it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType] - as if it were not installed
    try:
        import openvino  # pyright: ignore[reportMissingImports] - whoever asks for it has it
    except ImportError:
        raise ValueError("OpenVINO is not installed: pip install 'xraybench[openvino]'") from None
    return openvino


def options(threads: int) -> dict[str, Any]:
    """How OpenVINO computes: in bfloat16 where torch does here, by a table and never by its own choice."""
    precision = "bf16" if has_bfloat16(torch.device("cpu")) else "f32"
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }


class Compiled:
    """A network on the CPU, compiled for each size of image that it meets.

    Parameters
    ----------
    network
        Takes (n, 1, h, w) float32 and returns one tensor with n rows, or several.
    """

    def __init__(self, network: nn.Module) -> None:
        self.openvino = import_openvino()
        self.network = network.cpu().eval()
        self._requests: dict[tuple[int, ...], Any] = {}

    def __call__(self, grey: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return what the network gives for (n, 1, h, w), in float32."""
        request = self._request(tuple(grey.shape[1:]))
        found: list[list[np.ndarray]] = []
        for rows in grey.float().split(ROWS):
            full = torch.cat([rows, rows[-1:].expand(ROWS - len(rows), -1, -1, -1)]).contiguous()
            request.infer({0: full.numpy()})
            found.append([np.array(tensor.data[: len(rows)]) for tensor in request.output_tensors])
        joined = tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True))
        return joined if len(joined) > 1 else joined[0]

    def _request(self, shape: tuple[int, ...]) -> Any:
        key = (*shape, torch.get_num_threads())
        if key not in self._requests:
            if torch.is_autocast_enabled(
                "cpu"
            ):  # the graph would hold the casts, of which OpenVINO makes something else
                raise RuntimeError("a network cannot be compiled below autocast")
            with torch.inference_mode(mode=False), torch.no_grad():
                graph = torch.export.export(self.network, (torch.zeros(ROWS, *shape),))
            model = self.openvino.convert_model(graph)
            compiled = self.openvino.Core().compile_model(model, "CPU", options(key[-1]))
            self._requests[key] = compiled.create_infer_request()
        return self._requests[key]
