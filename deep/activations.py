"""Activations of the first stages of a pretrained network, for each image and augmented versions of it: computed once, for all folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from deep.augment import Augmentation
from deep.backbones import Backbone, published_state
from deep.cam import CamTarget
from deep.device import autocast, images_at_a_time, pick_device, to_device
from deep.start import build_pretrained
from deep.weights import PretrainedWeights

VERSION = 1
_DRAWN_TOGETHER = 32  # images whose augmentation is drawn at a time, whatever the device: the same numbers everywhere


class Activations:
    """Feature maps after the first `stages` stages of a backbone, of which `deep.laststages.LastStages` trains the rest.

    These stages keep their pretrained weights, so that their output is the same in every fold and every epoch: what fine-tuning
    the last stages needs is computed once, for the image, its mirror image, and `versions` augmented ones to train on.

    Parameters
    ----------
    backbone : str
    stages : int
        Name in torchvision, else in timm, and where it is cut.
    side : int
        Images are first reduced to side x side pixels; 0 leaves them unchanged.
    versions : int
    augmentation : dict, optional
        How many augmented versions of each image, and ranges for `deep.augment.Augmentation`.
    start : str
    weights : str, optional
    weights_dir : Path, optional
    offline : bool
    device : str
        As for `deep.frozen.Frozen`.
    """

    family = "deep"

    def __init__(
        self,
        backbone: str,
        stages: int,
        *,
        side: int = 0,
        versions: int = 2,
        augmentation: dict[str, Any] | None = None,
        start: str = "imagenet",
        weights: str | None = None,
        weights_dir: Path | None = None,
        offline: bool = False,
        device: str = "auto",
    ) -> None:
        self.backbone = backbone
        self.stages = stages
        self.side = side
        self.versions = versions
        self.augmentation = augmentation
        self.start = start
        self.weights = weights
        self.weights_dir = weights_dir
        self.offline = offline
        self.device = device
        self._network: Backbone | None = None

    def weights_facts(self) -> dict[str, str | list[str]] | None:
        """Return where the weights come from, under which licence, and their SHA-256; None for a random start."""
        return self.pretrained().facts()

    def fingerprint(self) -> str:
        """SHA-256 of the weights and the kind of device.

        Raises
        ------
        deep.weights.WeightsUnavailableError
            If the weights are not available.
        """
        return self.pretrained().fingerprint(pick_device(self.device))

    def inference_mode(self) -> None:
        """Skip the augmented versions, which only training needs."""
        self.versions = 0

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Feature maps of images (n, h, w) uint8: (n, 2 + versions, channels, rows, columns) float16; image, mirror image, augmented ones."""
        device = pick_device(self.device)
        network = self.network()
        augmentation = Augmentation(**(self.augmentation or {}))
        generator = torch.Generator(device).manual_seed(0)
        out = []
        with torch.inference_mode():
            for rows in torch.from_numpy(np.array(images)).split(_DRAWN_TOGETHER):
                grey = self.reduced(rows.to(device)[:, None].float() / 255)
                views = [grey, grey.flip(3), *(augmentation.apply(grey, generator) for _ in range(self.versions))]
                out.append(torch.stack([self._through(network, view) for view in views], dim=1).cpu())
        return torch.cat(out).numpy()

    def network(self) -> Backbone:
        """Return the first stages, on their device; built once."""
        if self._network is None:
            network = build_pretrained(self.pretrained())
            network.stages = network.stages[: self.stages]
            self.n_parameters_ = sum(p.numel() for p in network.parameters())
            network.fold_grey()
            self._network = to_device(network, pick_device(self.device))
        return self._network

    def save(self, file: Path) -> None:
        """Write the backbone's weights as safetensors; given as `weights` they make the same encoder."""
        file.write_bytes(save(published_state(self.backbone, build_pretrained(self.pretrained()))))

    def to_torch(self) -> nn.Module:
        """Return the encoder as part of a `deep.graph.InferenceGraph`."""
        return _MapGraph(self)

    def cam_target(self) -> CamTarget:
        """Return the network down to the cut."""
        return CamTarget(self.reduced, None, self.network())

    def reduced(self, grey: Tensor) -> Tensor:
        """Images (n, 1, h, w) at the backbone's input size."""
        return interpolate(grey, size=(self.side, self.side), mode="area") if self.side else grey

    def _through(self, network: torch.nn.Module, grey: Tensor) -> Tensor:
        parts = []
        for part in grey.split(images_at_a_time(grey.device)):
            with autocast(grey.device):  # only float32: no float16 on a CPU
                found = network(part)
            parts.append(found.half())
        return torch.cat(parts)

    def pretrained(self) -> PretrainedWeights:
        """Return the initial weights of the backbone."""
        return PretrainedWeights(self.backbone, self.start, self.weights, self.weights_dir, self.offline)


class _MapGraph(nn.Module):
    """Feature maps (n, channels, rows, columns) of grey images (n, 1, h, w) in 0 .. 1."""

    def __init__(self, encoder: Activations) -> None:
        super().__init__()
        self.network = encoder.network()
        self.reduced = encoder.reduced

    def forward(self, grey: Tensor, mirrored: bool) -> Tensor:
        grey = self.reduced(grey)
        return self.network(grey.flip(3) if mirrored else grey)

    def describe(self, encoding: Tensor) -> Tensor:
        return normalize(encoding.mean(dim=(2, 3)).clamp_min(0).sqrt())
