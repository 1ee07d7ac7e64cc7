"""Augmentation of a whole batch in one warp, each image with its own rotation, shift, zoom, flip and brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


@dataclass(frozen=True)
class Augmentation:
    """Ranges from which parameters are drawn uniformly.

    Parameters
    ----------
    rotation : float
        Degrees to either side.
    shift : float
        Share of the side, to either side, in both directions.
    zoom : float
        Factor between 1 / (1 + zoom) and 1 + zoom.
    flip : bool
        Whether half of the images are mirrored left to right.
    brightness, contrast : float
        Grey levels become (grey - 0.5) * (1 ± contrast) + 0.5 ± brightness, in 0 .. 1.
    """

    rotation: float = 15
    shift: float = 0.08
    zoom: float = 0.15
    flip: bool = True
    brightness: float = 0.1
    contrast: float = 0.2

    def apply(self, grey: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch (n, 1, h, w) float in 0 .. 1; areas from beyond the border are black."""
        n = len(grey)

        def draw(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, generator=generator, device=grey.device)

        angle = draw(-1, 1) * math.radians(self.rotation)
        scale = torch.exp(draw(-1, 1) * math.log1p(self.zoom))
        mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0) if self.flip else torch.ones_like(angle)
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        rows = [cos * mirror, -sin, 2 * self.shift * draw(-1, 1), sin * mirror, cos, 2 * self.shift * draw(-1, 1)]
        matrix = torch.stack(rows, dim=1).view(n, 2, 3)
        warped = grid_sample(grey, affine_grid(matrix, list(grey.shape), align_corners=False), align_corners=False)
        gain, offset = 1 + self.contrast * draw(-1, 1), self.brightness * draw(-1, 1)
        lit = (warped - 0.5) * gain.view(n, 1, 1, 1) + 0.5 + offset.view(n, 1, 1, 1)
        return torch.where(warped > 0, lit, warped).clamp_(0, 1)  # the black around the image stays black
