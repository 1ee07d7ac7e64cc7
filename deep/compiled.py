"""A network for inference, compiled by OpenVINO: operations fused and arrays laid out for this processor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deep.openvino import ROWS, CompiledModel, import_openvino


class Compiled:
    """A network on the CPU, compiled for each image size.

    Parameters
    ----------
    network : Module
        Takes (n, 1, h, w) float32 and returns one tensor with n rows, or several.
    """

    def __init__(self, network: nn.Module) -> None:
        self.openvino = import_openvino()
        self.network = network.cpu().eval()
        self._models: dict[tuple[int, ...], CompiledModel] = {}

    def __call__(self, grey: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the network's output for (n, 1, h, w), in float32."""
        found = self._model(*grey.shape[1:])(grey.float().numpy())
        return torch.from_numpy(found[0]) if len(found) == 1 else tuple(map(torch.from_numpy, found))

    def _model(self, *shape: int) -> CompiledModel:
        key = (*shape, torch.get_num_threads())
        if key not in self._models:
            if torch.is_autocast_enabled(
                "cpu"
            ):  # the graph would contain the casts, which OpenVINO interprets differently
                raise RuntimeError("a network cannot be compiled under autocast")
            with torch.inference_mode(mode=False), torch.no_grad():
                graph = torch.export.export(self.network, (torch.zeros(ROWS, *shape),))
            self._models[key] = CompiledModel(self.openvino.convert_model(graph), key[-1])
        return self._models[key]
