"""A whole model as one graph, from bytes to probabilities, which other programs can run (ONNX)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

_OPSET = 18

Views = list[
    list[Tensor]
]  # encodings of an image and, where the head asks for it, of its mirror image: by view, then by encoder


class InferenceGraph(nn.Module):
    """Encoders and a head joined: images (n, side, side) uint8 in, probabilities (n, n_classes) and descriptions (n, d) float32 out.

    In float32 throughout, so that it gives the same numbers wherever it runs.

    Parameters
    ----------
    encoders : sequence of Module
        ``forward(grey, mirrored)`` gives the encoding of grey images (n, 1, h, w) in 0 .. 1, or of their mirror images; ``describe(encoding)``
        turns an encoding into a description (n, d).
    head : Module
        ``forward(views)`` gives probabilities for the encodings of the image, and of its mirror image where ``mirrored`` is true. Without
        encoders the one view holds the grey images alone, and the head has ``describe(grey)``.
    """

    def __init__(self, encoders: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = head
        self.sides = (False, True) if head.mirrored else (False,)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities and descriptions."""
        grey = images[:, None].float() / 255
        views = [[encoder(grey, mirrored) for encoder in self.encoders] or [grey] for mirrored in self.sides]
        describing = self.encoders[0] if len(self.encoders) else self.head
        return self.head(views), describing.describe(views[0][0])  # pyright: ignore[reportCallIssue] - a method, see above


class NetworkHead(nn.Module):
    """Mean logits of a trained network over image and mirror image, as probabilities."""

    mirrored = True

    def __init__(self, network: nn.Module, task: str) -> None:
        super().__init__()
        self.network = network
        self.task = task

    def forward(self, views: Views) -> Tensor:
        """Probabilities (n, n_classes) of the encodings by one encoder."""
        return as_probability(torch.stack([self.network(view[0]) for view in views]).mean(dim=0), self.task)


def as_probability(logits: Tensor, task: str) -> Tensor:
    """Soft-max of logits (n, n_classes) for one label, a sigmoid of each for several."""
    return logits.softmax(dim=1) if task == "multiclass" else logits.sigmoid()


def write_onnx(model: InferenceGraph, side: int, file: Path) -> None:
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
