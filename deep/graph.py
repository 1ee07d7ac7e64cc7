"""A whole model as one graph, from bytes to probabilities, which other programs can run (ONNX)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deep.activations import Activations
from deep.finetune import FineTune
from deep.frozen import Frozen
from deep.laststages import LastStages
from deep.probe import LogisticProbe

Score = Callable[[Tensor], Tensor]
_OPSET = 18


class Whole(nn.Module):
    """Encoders and a head in one: images (n, side, side) uint8 in, probabilities (n, n_classes) and descriptions (n, d) float32 out.

    In float32 throughout, so that it gives the same numbers wherever it runs.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, task: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.task = task

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.encoder(images[:, None].float() / 255)
        return self.head(seen), self.encoder.description(seen)


class _Features(nn.Module):
    """Frozen encoders side by side, of the image and of its mirror image."""

    def __init__(self, encoders: Sequence[Frozen], *, mirrored: bool) -> None:
        super().__init__()
        self.networks = nn.ModuleList(encoder.network() for encoder in encoders)
        self.encoders = list(encoders)
        self.mirrored = mirrored

    def forward(self, grey: Tensor) -> list[list[Tensor]]:
        views = [grey, grey.flip(3)] if self.mirrored else [grey]
        pairs = list(zip(self.networks, self.encoders, strict=True))
        return [[encoder.pooled(net(encoder.reduced(view))) for net, encoder in pairs] for view in views]

    def description(self, seen: list[list[Tensor]]) -> Tensor:
        return seen[0][0]


class _Maps(nn.Module):
    """The first stages of a backbone on the image and its mirror image."""

    def __init__(self, encoder: Activations) -> None:
        super().__init__()
        self.network = encoder.network()
        self.reduced = encoder.reduced

    def forward(self, grey: Tensor) -> list[Tensor]:
        grey = self.reduced(grey)
        return [self.network(grey), self.network(grey.flip(3))]

    def description(self, seen: list[Tensor]) -> Tensor:
        return nn.functional.normalize(seen[0].mean(dim=(2, 3)).clamp_min(0).sqrt())


class _Pixels(nn.Module):
    """The image itself, at the side that a fine-tuned network takes, and its mirror image."""

    def __init__(self, head: FineTune) -> None:
        super().__init__()
        self.network = head.network_
        self.reduced = head.reduced
        self.mirror = head.mirror

    def forward(self, grey: Tensor) -> list[Tensor]:
        grey = self.reduced(grey)
        return [grey, grey.flip(3)] if self.mirror else [grey]

    def description(self, seen: list[Tensor]) -> Tensor:
        return self.network.features(seen[0])


class _Network(nn.Module):
    """Mean logits of a trained network over the views, as probabilities."""

    def __init__(self, network: nn.Module, task: str) -> None:
        super().__init__()
        self.network = network
        self.task = task

    def forward(self, seen: list[Tensor]) -> Tensor:
        logits = torch.stack([self.network(view) for view in seen]).mean(dim=0)
        return logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()


class _Probe(nn.Module):
    """Mean probability of a logistic regression over the views."""

    def __init__(self, probe: LogisticProbe) -> None:
        super().__init__()
        self.task = probe.task
        for name, value in (("solution", probe.solution_), ("shift", probe.mean_), ("sd", probe.sd_)):
            self.register_buffer(name, value)

    def forward(self, seen: list[list[Tensor]]) -> Tensor:
        logits = [
            ((torch.cat(view, 1) - self.shift) / self.sd) @ self.solution[:-1] + self.solution[-1] for view in seen
        ]
        each = [x.softmax(dim=1) if self.task == "multiclass" else x.sigmoid() for x in logits]
        return torch.stack(each).mean(dim=0)


class KernelHead(nn.Module):
    """An RBF kernel machine on encodings, with the images that it compares with inside.

    Parameters
    ----------
    references, mirrored
        For each encoding (m, d) float32, of these images and (or None) of their mirror images: the smaller distance counts.
    scale
        (n_encodings,), by which squared distances are multiplied before their mean is taken.
    dual, intercept
        (m, n_classes) and (n_classes,).
    gamma, slope, shift
        Of the kernel, and of the calibration: sigmoid(slope * score + shift), or a soft-max of slope * score.
    """

    def __init__(
        self,
        references: Sequence[np.ndarray],
        mirrored: Sequence[np.ndarray] | None,
        scale: np.ndarray,
        dual: np.ndarray,
        intercept: np.ndarray,
        gamma: float,
        slope: float,
        shift: float,
        task: str,
    ) -> None:
        super().__init__()
        self.n, self.gamma, self.slope, self.shift, self.task = len(references), gamma, slope, shift, task
        self.scale = [float(value) / len(references) for value in scale]
        self.both = mirrored is not None
        arrays = {f"r{k}": value for k, value in enumerate(references)}
        arrays |= {f"m{k}": value for k, value in enumerate(mirrored or ())}
        for name, value in (arrays | {"dual": dual, "intercept": intercept}).items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, np.float32)))

    def forward(self, seen: list[list[Tensor]]) -> Tensor:
        total = torch.zeros(1)
        for k, x in enumerate(seen[0]):
            distances = self._squared(x, getattr(self, f"r{k}"))
            if self.both:
                distances = torch.minimum(distances, self._squared(x, getattr(self, f"m{k}")))
            total = total + self.scale[k] * distances
        scores = torch.exp(-self.gamma * total) @ self.dual + self.intercept
        if self.task == "multiclass":
            return (self.slope * scores).softmax(dim=1)
        return (self.slope * scores + self.shift).sigmoid()

    def _squared(self, x: Tensor, references: Tensor) -> Tensor:
        centre = references.mean(dim=0)
        x, references = x - centre, references - centre
        squares = x.square().sum(1, keepdim=True) + references.square().sum(1) - 2 * x @ references.T
        return squares.clamp_min(0)


def whole(encoders: Sequence[Any], head: Any, task: str, *, mirror: bool) -> Whole | None:
    """Join the parts of a model, or return None where one of them is no network."""
    if isinstance(head, FineTune) and not encoders:
        return Whole(_Pixels(head), _Network(head.network_, task), task)
    if isinstance(head, LastStages) and len(encoders) == 1 and isinstance(encoders[0], Activations):
        return Whole(_Maps(encoders[0]), _Network(head.network_, task), task)
    if not encoders or not all(isinstance(encoder, Frozen) for encoder in encoders):
        return None
    if isinstance(head, LogisticProbe):
        return Whole(_Features(encoders, mirrored=mirror), _Probe(head), task)
    return Whole(_Features(encoders, mirrored=False), head, task) if isinstance(head, KernelHead) else None


def write_onnx(model: Whole, side: int, file: Path) -> None:
    """Write a graph with the input "images" (n, side, side) uint8 and the outputs "probability" and "description", for any n."""
    model = model.cpu().eval()
    example = torch.zeros(2, side, side, dtype=torch.uint8)
    with torch.inference_mode():
        torch.onnx.export(
            model,
            (example,),
            str(file),
            input_names=["images"],
            output_names=["probability", "description"],
            opset_version=_OPSET,
            dynamic_shapes={"images": {0: torch.export.Dim("n", min=1, max=4096)}},
            external_data=False,
            verbose=False,
        )
