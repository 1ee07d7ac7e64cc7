"""A kernel machine as a torch module, for an exported graph; the only module of this room that needs torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from baselines.calibration import Calibration
from baselines.nystroem import Machine


class KernelGraph(nn.Module):
    """An RBF kernel machine on encodings, including its reference images.

    Parameters
    ----------
    references : sequence of (ndarray, ndarray or None)
        For each encoding (m, d) float32, of these images and (or None) of their mirror images: the smaller distance counts.
    scale : ndarray of shape (n_encodings,)
        Factors on squared distances before averaging.
    machine : Machine
    gamma : float
        Of the kernel.
    calibration : Calibration
    """

    mirrored = False  # mirror images are handled by the references

    def __init__(
        self,
        references: Sequence[tuple[np.ndarray, np.ndarray | None]],
        scale: np.ndarray,
        machine: Machine,
        gamma: float,
        calibration: Calibration,
    ) -> None:
        super().__init__()
        self.gamma, self.calibration = gamma, calibration
        self.scale = [float(value) / len(references) for value in scale]
        self.references = nn.ParameterList(_constant(plain) for plain, _ in references)
        self.turned = nn.ParameterList(_constant(mirrored) for _, mirrored in references if mirrored is not None)
        self.dual, self.intercept = _constant(machine.dual), _constant(machine.intercept)

    def forward(self, views: list[list[Tensor]]) -> Tensor:
        """Probabilities (n, n_classes) of encodings, a list with (n, d) float32 for each encoder as the only view."""
        total = torch.zeros(1)
        for k, x in enumerate(views[0]):
            distances = _squared(x, self.references[k])
            if len(self.turned):
                distances = torch.minimum(distances, _squared(x, self.turned[k]))
            total = total + self.scale[k] * distances
        scores = torch.exp(-self.gamma * total) @ self.dual + self.intercept
        if self.calibration.task == "multiclass":
            return (self.calibration.slope * scores).softmax(dim=1)
        return (self.calibration.slope * scores + self.calibration.intercept).sigmoid()


def _constant(values: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(values, np.float32)), requires_grad=False)


def _squared(x: Tensor, references: Tensor) -> Tensor:
    """Squared distances (n, m) of the rows of x (n, d) to references (m, d)."""
    centre = references.mean(dim=0)
    x, references = x - centre, references - centre
    squares = x.square().sum(1, keepdim=True) + references.square().sum(1) - 2 * x @ references.T
    return squares.clamp_min(0)
