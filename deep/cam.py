"""Class activation maps of networks: Grad-CAM (Selvaraju et al. 2017) and Eigen-CAM (Muhammad and Yeasin 2020) on its last feature map."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from deep.backbones import Backbone
from deep.classifier import Classifier, Tail

HEAD, WHOLE = "head", "whole"  # what `CamTarget.randomised` randomises
_AT_A_TIME = 8


@dataclass(frozen=True)
class CamTarget:
    """A model cut behind its last feature map.

    Attributes
    ----------
    reduced : callable
        Resizes images (n, 1, h, w) to the network's input size.
    first : Module or None
        Stages before the backbone, if separate.
    backbone : Module
        Gives the feature map (n, width, rows, columns), or those of several stages, of which the last is used.
    classifier : Classifier or None
        Holds the backbone and gives logits; None if the rest has no gradient.
    mirror : bool
        Whether the model uses the mirror image too.
    pool : sequence of int or None
        Grids over which an encoder averages the map before the square root; None if it does something else.
    """

    reduced: Callable[[Tensor], Tensor]
    first: nn.Module | None
    backbone: Backbone | Tail
    classifier: Classifier | None = None
    mirror: bool = False
    pool: Sequence[int] | None = None

    def inputs(self, images: np.ndarray) -> Tensor:
        """From (n, h, w) uint8 to (n, 1, side, side) float32 in 0 .. 1 on the network's device."""
        device = next(self.backbone.parameters()).device
        grey = torch.from_numpy(np.array(images)).to(device)[:, None].float() / 255
        return self.reduced(grey)

    def through(self, grey: Tensor) -> Tensor:
        """Return the input of the backbone."""
        if self.first is None:
            return grey
        with torch.no_grad():
            return self.first(grey)

    def randomised(self, part: str, seed: int) -> CamTarget:
        """Return the same network with random weights, in its last layer (`HEAD`) or everywhere (`WHOLE`)."""
        first, backbone, classifier = copy.deepcopy((self.first, self.backbone, self.classifier))
        modules = [] if classifier is None else [classifier.head]
        if part == WHOLE:
            modules += [backbone] if first is None else [first, backbone]
        randomise_weights(nn.ModuleList(modules), seed)
        return replace(self, first=first, backbone=backbone, classifier=classifier)

    def has_map(self) -> bool:
        """Whether the feature map has rows and columns; transformers give a list of tokens."""
        with torch.no_grad():
            maps = self.backbone(self.through(self.inputs(np.zeros((1, 224, 224), np.uint8))))
            rows, columns = _last(maps).shape[2:]
        return min(rows, columns) > 1

    def with_regression(self, mean: Tensor, sd: Tensor, solution: Tensor, *, mirror: bool) -> CamTarget | None:
        """Return the network with a logistic regression on its pooled map as classifier, so that it has gradients; None if `pool` is None."""
        if self.pool is None:
            return None
        classifier = Classifier(self.backbone, solution.shape[1], self.pool, 0, 0.0)
        classifier.start_from(mean, sd, solution)
        classifier.to(next(self.backbone.parameters()).device)
        return replace(self, classifier=classifier, mirror=mirror)


def grad_cam(network: CamTarget, images: np.ndarray, label: int) -> np.ndarray:
    """Where the evidence for a class is: ReLU of the feature map's channels, weighted by the mean of the class's gradient.

    Parameters
    ----------
    network : CamTarget
        With a classifier.
    images : ndarray
        (n, h, w) uint8.
    label : int
        Position of the class among the logits.

    Returns
    -------
    ndarray
        (n, rows, columns) float32 in 0 .. 1, of the size of the feature map. All 0 if there is no evidence for the class.
    """
    return _of_all(network, images, lambda grey: _gradient_map(network, grey, label))


def eigen_cam(network: CamTarget, images: np.ndarray) -> np.ndarray:
    """Where the network is most active, whatever the class: the first principal component of the feature map.

    Parameters and result are as for `grad_cam`. It uses neither class nor gradient, and so is independent of the head.
    """
    with torch.no_grad():
        return _of_all(
            network, images, lambda grey: first_component(_last(network.backbone(network.through(grey))).float())
        )


def first_component(feature_map: Tensor) -> Tensor:
    """Positions along the first right singular vector, (n, rows, columns) of (n, channels, rows, columns), from 0 on.

    A singular vector has no sign of its own: it is chosen so that the map grows where activations are strong.
    """
    n, channels, rows, columns = feature_map.shape
    flat = feature_map.reshape(n, channels, -1).transpose(1, 2)  # (n, rows * columns, channels)
    axis = torch.linalg.svd(flat, full_matrices=False).Vh[:, 0]  # (n, channels)
    along = (flat @ axis[:, :, None])[:, :, 0]
    energy = flat.square().sum(dim=2)
    centred = along - along.mean(dim=1, keepdim=True)
    sign = torch.where((centred * energy).sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    signed = along * sign
    return (signed - signed.amin(dim=1, keepdim=True)).reshape(n, rows, columns)


def randomise_weights(module: nn.Module, seed: int) -> None:
    """Redraw every parameter from a normal distribution with its own mean and spread: signals keep their scale, but nothing learned remains."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            mean, spread = float(parameter.mean()), float(parameter.std(correction=0))
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread + mean)


def _last(maps: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the last feature map, of a backbone that gives those of several stages."""
    return maps if isinstance(maps, Tensor) else maps[-1]


def _of_all(network: CamTarget, images: np.ndarray, one: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Return maps of all images, with those of the mirror images turned back and added, brought to 0 .. 1."""
    for module in (network.first, network.backbone, network.classifier):
        if module is not None:
            module.eval()
    out = []
    for grey in network.inputs(images).split(_AT_A_TIME):
        found = one(grey) + (one(grey.flip(3)).flip(2) if network.mirror else 0)
        out.append(found / found.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12))
    return torch.cat(out).cpu().numpy().astype(np.float32)


def _gradient_map(network: CamTarget, grey: Tensor, label: int) -> Tensor:
    """Grad-CAM (n, rows, columns) of one view, not yet brought to 0 .. 1."""
    if network.classifier is None:
        raise ValueError("grad_cam: this model's head has no gradients: use eigen_cam")
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, found: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        kept.append(_last(found).detach().float().requires_grad_())  # the gradient is needed down to here only
        return kept[-1] if isinstance(found, Tensor) else (*found[:-1], kept[-1])

    handle = network.backbone.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = network.classifier(network.through(grey))
            (gradient,) = torch.autograd.grad(logits[:, label].sum(), kept[0])
    finally:
        handle.remove()
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (n, channels, 1, 1)
    return (weights * kept[0].detach()).sum(dim=1).relu()
