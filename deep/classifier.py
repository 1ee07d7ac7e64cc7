"""A backbone with a new head, for fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from deep.backbones import Backbone

_ROOT_FLOOR = 1e-3  # keeps the slope of the square root finite at 0


class Classifier(nn.Module):
    """A backbone, average pooling over one or more grids, scaling, dropout, perhaps a hidden layer, and a linear layer.

    The linear layer is new for every backbone: torchvision's SqueezeNet classifier, for example, ends in a ReLU, which cannot
    express a negative logit. The pooled activations go through the same root and unit length as `deep.frozen.Frozen` gives
    them; the scaling that follows is a constant (0 and 1, unless a linear probe sets it).
    """

    backbone: Backbone | Tail
    shift: Tensor  # (width,)
    scale: Tensor  # (width,)

    def __init__(
        self, backbone: Backbone | Tail, n_classes: int, pool: Sequence[int], hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = tuple(pool)
        width = backbone.width * sum(size**2 for size in self.pool)
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.head = nn.Sequential(*layers, nn.Linear(hidden or width, n_classes))

    @property
    def linear(self) -> nn.Linear:
        """The last layer."""
        return cast(nn.Linear, self.head[-1])

    def features(self, grey: Tensor) -> Tensor:
        """Pooled activations (n, width) float32 of grey images (n, 1, h, w) in 0 .. 1, before scaling."""
        maps = self.backbone(grey)
        each = [maps] if isinstance(maps, Tensor) else maps  # (n, channels, rows, columns)
        blocks = [adaptive_avg_pool2d(found.float(), size).flatten(1) for found in each for size in self.pool]
        return torch.cat([normalize(block.sign() * (block.abs() + _ROOT_FLOOR).sqrt()) for block in blocks], dim=1)

    def forward(self, grey: Tensor) -> Tensor:
        """Logits (n, n_classes)."""
        return self.head((self.features(grey) - self.shift) * self.scale)

    def start_from(self, mean: Tensor, sd: Tensor, solution: Tensor) -> None:
        """Set scaling (width,) and solution (width + 1, n_classes) of a logistic regression on `features`, if there is no hidden layer."""
        with torch.no_grad():
            self.shift.copy_(mean)
            self.scale.copy_(1 / sd)
            self.linear.weight.copy_(solution[:-1].T)
            self.linear.bias.copy_(solution[-1])


class Tail(nn.Module):
    """The stages of a backbone after a cut, as a backbone of their own."""

    def __init__(self, backbone: Backbone, cut: int) -> None:
        super().__init__()
        self.stages = backbone.stages[cut:]
        self.width = backbone.width

    def forward(self, activations: Tensor) -> Tensor:
        """Feature map (n, width, rows, columns) of activations at the cut."""
        return self.stages(activations)
