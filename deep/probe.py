"""Linear probe: logistic regression on frozen activations, all classes at once, by L-BFGS along principal axes."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from deep.cam import CamTarget, randomise_weights
from deep.device import pick_device
from deep.fixed import Blocks, in_blocks
from deep.graph import Views, as_probability

VERSION = 3


class LogisticProbe:
    """L2-regularised logistic regression (soft-max for one label, one sigmoid per class for several).

    Minimises C * sum of losses + ||W||² / 2, as scikit-learn's ``LogisticRegression`` does, on features scaled by the training
    part's standard deviation. The C with the lowest validation loss is kept; each C starts from the solution of the one before.

    Parameters
    ----------
    C : sequence of float
        Candidates, inverse strength of the regularisation.
    task : str
        "multilabel" or "multiclass".
    max_iter : int
        L-BFGS iterations per candidate.
    device : str
        "auto", "cpu" or "cuda".
    """

    family = "deep"
    search_space = MappingProxyType({"C": {"low": 1e-5, "high": 0.3, "log": True, "as_list": True}})

    def __init__(
        self,
        C: Sequence[float] = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        task: str = "multilabel",
        max_iter: int = 100,
        device: str = "auto",
    ) -> None:
        self.C = C
        self.task = task
        self.max_iter = max_iter
        self.device = device

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> LogisticProbe:  # noqa: ARG002 - nothing is drawn
        """Fit to features (n, d) float32 and labels (n, n_classes) of 0 and 1."""
        device = pick_device(self.device)
        self.mean_ = torch.from_numpy(X.mean(axis=0)).to(device)
        self.sd_ = torch.from_numpy(X.std(axis=0)).to(device).clamp_min(1e-6)
        train, valid = self._scaled(X), self._scaled(X_valid)
        truth, valid_truth = (torch.from_numpy(part).to(device, torch.float32) for part in (y, y_valid))
        with in_blocks(device) as blocks:
            axes, variance = _principal_axes(train, blocks)
            rotated = _product(train, axes, blocks)  # (n, r)
            solution = torch.zeros(axes.shape[1] + 1, y.shape[1], device=device)  # the last row is the intercept
            lowest = float("inf")
            for C in sorted(self.C):
                solution = self._minimise(rotated, truth, C, solution, variance, blocks)
                found = torch.cat([_product(axes, solution[:-1], blocks), solution[-1:]])
                logits = _product(valid, found[:-1], blocks) + found[-1]
                loss = float(_loss(logits, valid_truth, self.task)) / len(valid)
                if loss < lowest:
                    lowest, self.solution_, self.chosen_ = loss, found, {"C": float(C)}
        self.n_parameters_ = self.solution_.numel()
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 of features (n, d) float32."""
        with in_blocks(self.mean_.device) as blocks:
            logits = (_product(self._scaled(X), self.solution_[:-1], blocks) + self.solution_[-1]).double()
        return (logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()).cpu().numpy()

    def refit(self, X: np.ndarray, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> LogisticProbe:
        """Fit to all images with the C that most folds chose."""
        self.C = (Counter(fold["C"] for fold in folds).most_common(1)[0][0],)
        return self.fit(X, y, X[:1], y[:1], seed)

    def to_torch(self, *, mirror: bool, references: Sequence[object]) -> nn.Module:  # noqa: ARG002 - it compares with no image
        """Return the head as part of a `deep.graph.InferenceGraph`."""
        return _ProbeGraph(self, mirrored=mirror)

    def cam_target(self, encoder: CamTarget | None, *, mirror: bool) -> CamTarget | None:
        """Return the encoder's network with the regression as its linear layer."""
        return encoder and encoder.with_regression(self.mean_, self.sd_, self.solution_, mirror=mirror)

    def randomise_weights(self, seed: int) -> LogisticProbe:
        """Return a copy with random coefficients."""
        fresh = copy.copy(self)
        solution = nn.ParameterList([nn.Parameter(self.solution_.detach().clone())])
        randomise_weights(solution, seed)
        fresh.solution_ = solution[0].detach()
        return fresh

    def save(self, folder: Path) -> None:
        """Write coefficients and scaling as safetensors, the choice as JSON."""
        arrays = {"solution": self.solution_, "mean": self.mean_, "sd": self.sd_}
        arrays = {name: value.cpu().contiguous() for name, value in arrays.items()}
        (folder / "probe.safetensors").write_bytes(save(arrays))
        (folder / "probe.json").write_text(json.dumps({**self.chosen_, "task": self.task}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> LogisticProbe:
        """Read what `save` wrote: a regression that predicts."""
        facts = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
        probe = cls(task=facts["task"], device=device)
        arrays = load_file(folder / "probe.safetensors", device=str(pick_device(device)))
        probe.solution_, probe.mean_, probe.sd_ = (arrays[name] for name in ("solution", "mean", "sd"))
        return probe

    def _scaled(self, X: np.ndarray) -> Tensor:
        return (torch.from_numpy(np.ascontiguousarray(X)).to(self.mean_.device) - self.mean_) / self.sd_

    def _minimise(self, X: Tensor, y: Tensor, C: float, start: Tensor, variance: Tensor, blocks: Blocks) -> Tensor:
        """Solve one candidate; the objective is divided by C * n, which keeps L-BFGS's tolerances meaningful for every C.

        Along principal axes the Hessian is nearly diagonal, p (1 - p) variance + 1 / (C n): steps in units of its root need a tenth
        of the iterations. It changes the path to the minimum, not the minimum.
        """
        share = y.mean()
        unit = (share * (1 - share) * variance + 1 / (C * len(X))).rsqrt()[:, None]  # (r, 1)
        scaled = X * unit.T
        steps = torch.cat([start[:-1] / unit, start[-1:]])  # (r + 1, n_classes)
        optimiser = torch.optim.LBFGS(
            [steps],
            max_iter=self.max_iter,
            history_size=10,
            tolerance_grad=1e-6,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )

        def part(rows: slice) -> tuple[Tensor, Tensor]:
            """Sum of the losses of some rows, and its gradient (r + 1, n_classes)."""
            logits, truth = scaled[rows] @ steps[:-1] + steps[-1], y[rows]
            found = logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()
            slope = found - truth
            return _loss(logits, truth, self.task), torch.cat([scaled[rows].T @ slope, slope.sum(dim=0, keepdim=True)])

        def closure() -> Tensor:
            with torch.no_grad():
                found = blocks(len(X), part)
                losses: list[Tensor] = [loss for loss, _ in found]
                slopes: list[Tensor] = [slope for _, slope in found]
                gradient = sum(slopes[1:], slopes[0]) / len(X)
                gradient[:-1] += steps[:-1] * unit.square() / (C * len(X))
                steps.grad = gradient
                return sum(losses[1:], losses[0]) / len(X) + (steps[:-1] * unit).square().sum() / (2 * C * len(X))

        optimiser.step(closure)
        return torch.cat([steps[:-1] * unit, steps[-1:]])


class _ProbeGraph(nn.Module):
    """Mean probability of a logistic regression over image and mirror image."""

    solution: Tensor
    shift: Tensor
    sd: Tensor

    def __init__(self, probe: LogisticProbe, *, mirrored: bool) -> None:
        super().__init__()
        self.task, self.mirrored = probe.task, mirrored
        for name, value in (("solution", probe.solution_), ("shift", probe.mean_), ("sd", probe.sd_)):
            self.register_buffer(name, value)

    def forward(self, views: Views) -> Tensor:
        each = [
            ((torch.cat(view, 1) - self.shift) / self.sd) @ self.solution[:-1] + self.solution[-1] for view in views
        ]
        return torch.stack([as_probability(logits, self.task) for logits in each]).mean(dim=0)


def _principal_axes(X: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Axes (d, r) along which the rows of X (n, d) vary, and their variances (r,). The minimum has no part outside of them."""
    n, d = X.shape
    small = (_product(X, X.T, blocks) if n < d else _product(X.T, X, blocks)).double()
    values, vectors = torch.linalg.eigh(small)
    kept = values > 1e-7 * values[-1]
    values, vectors = values[kept].float(), vectors[:, kept].float()
    axes = _product(X.T, vectors / values.sqrt(), blocks) if n < d else vectors
    return axes, values / n


def _product(A: Tensor, B: Tensor, blocks: Blocks) -> Tensor:
    return torch.cat(blocks(len(A), lambda rows: A[rows] @ B))


def _loss(logits: Tensor, y: Tensor, task: str) -> Tensor:
    if task == "multiclass":
        return cross_entropy(logits, y, reduction="sum")
    return binary_cross_entropy_with_logits(logits, y, reduction="sum")
