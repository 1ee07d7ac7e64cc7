"""Frozen backbones as encoders: activations of a pretrained network, computed once for all folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize

from deep.backbones import Backbone, published_state
from deep.cam import CamTarget
from deep.compiled import Compiled
from deep.device import autocast, images_at_a_time, pick_device, to_device
from deep.start import build_pretrained
from deep.weights import PretrainedWeights

VERSION = 2


class Frozen:
    """Pooled activations of a pretrained backbone.

    Parameters
    ----------
    backbone : str
        Name in torchvision, else in timm.
    pool : sequence of int
        The feature map is averaged over each of these grids: 1 is the global mean, 2 keeps the quarters of the image.
    root : bool
        Take the signed square root before each grid's activations are brought to unit length: a few strong channels then no
        longer outweigh the others (Perronnin, Sánchez and Mensink 2010).
    start : str
        What the backbone was trained on: "imagenet", "phantom", or another word, as for `deep.weights.find_weights`; "random" for an
        untrained one, always the same.
    weights : str, optional
        A weights file; by default found as in `deep.weights.find_weights`.
    side : int
        Images are first reduced to side x side pixels by averaging; 0 leaves them unchanged.
    layers : sequence of int
        Stages of the backbone, counted from 1, whose feature maps are pooled side by side, such as the last three; by default the last
        one alone.
    batch : int
        Images per forward pass; 0 chooses by the device.
    engine : str
        "torch", or "openvino" for the CPU: the same network, faster there, with numbers that differ by the rounding of bfloat16.
    device : str
    weights_dir : Path, optional
    offline : bool
        Where to compute, where to search weights, and whether downloads are forbidden.
    """

    family = "deep"
    engines = ("torch", "openvino")

    def __init__(
        self,
        backbone: str,
        pool: Sequence[int] = (1, 2),
        *,
        root: bool = True,
        start: str = "imagenet",
        weights: str | None = None,
        side: int = 0,
        layers: Sequence[int] = (),
        batch: int = 0,
        engine: str = "torch",
        device: str = "auto",
        weights_dir: Path | None = None,
        offline: bool = False,
    ) -> None:
        self.backbone = backbone
        self.pool = pool
        self.root = root
        self.start = start
        self.weights = weights
        self.side = side
        self.layers = layers
        self.batch = batch
        self.engine = engine
        self.device = "cpu" if engine == "openvino" else device
        self.weights_dir = weights_dir
        self.offline = offline
        self._network: Backbone | None = None
        self._compiled: Compiled | None = None

    def weights_facts(self) -> dict[str, str | list[str]] | None:
        """Return where the weights come from, under which licence, and their SHA-256; None for a random start."""
        return self.pretrained().facts()

    def fingerprint(self) -> str:
        """SHA-256 of the weights and the kind of device: what the numbers depend on besides the parameters.

        Raises
        ------
        deep.weights.WeightsUnavailableError
            If the weights are not available.
        """
        return self.pretrained().fingerprint(pick_device(self.device))

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Activations of images (n, h, w) uint8: (n, widths of the layers * sum of squared grid sizes) float32."""
        device = pick_device(self.device)
        network = self._forward()
        out = []
        with torch.inference_mode(), autocast(device) if self.engine == "torch" else nullcontext():
            for rows in torch.from_numpy(np.array(images)).split(self.batch or images_at_a_time(device)):
                maps = network(self.reduced(rows.to(device)[:, None].float() / 255))  # each (b, width, rows, columns)
                out.append(self.pooled(maps))
        return torch.cat(out).cpu().numpy()

    def network(self) -> Backbone:
        """Return the backbone on its device, with one feature map for each of `layers`; built once."""
        if self._network is None:
            network = build_pretrained(self.pretrained())
            network.keep_maps(self.layers)
            self.n_parameters_ = sum(p.numel() for p in network.parameters())
            network.fold_grey()
            self._network = to_device(network, pick_device(self.device))
        return self._network

    def _forward(self) -> Callable[[Tensor], Tensor | tuple[Tensor, ...]]:
        if self.engine == "torch":
            return self.network()
        if self.engine != "openvino":
            raise ValueError(f"engine {self.engine!r}: torch or openvino")
        if self._compiled is None:
            self._compiled = Compiled(self.network())
        return self._compiled

    def save(self, file: Path) -> None:
        """Write the backbone's weights as safetensors; given as `weights` they make the same encoder."""
        file.write_bytes(save(published_state(self.backbone, build_pretrained(self.pretrained()))))

    def to_torch(self) -> nn.Module:
        """Return the encoder as part of a `deep.graph.InferenceGraph`."""
        return _FrozenGraph(self)

    def cam_target(self) -> CamTarget:
        """Return the network down to its last feature map."""
        return CamTarget(self.reduced, None, self.network(), pool=self.pool if self.root else None)

    def reduced(self, grey: Tensor) -> Tensor:
        """Images (n, 1, h, w) at the backbone's input size."""
        return interpolate(grey, size=(self.side, self.side), mode="area") if self.side else grey

    def pretrained(self) -> PretrainedWeights:
        """Return the initial weights of the backbone."""
        return PretrainedWeights(self.backbone, self.start, self.weights, self.weights_dir, self.offline)

    def pooled(self, maps: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Average each map over each grid, root and unit length: (b, width, rows, columns) -> (b, d)."""
        each = [maps] if isinstance(maps, Tensor) else maps
        blocks = [adaptive_avg_pool2d(found.float(), size).flatten(1) for found in each for size in self.pool]
        if self.root:
            blocks = [normalize(block.sign() * block.abs().sqrt()) for block in blocks]
        return torch.cat(blocks, dim=1)


class _FrozenGraph(nn.Module):
    """Pooled activations of grey images (n, 1, h, w) in 0 .. 1, which describe them too."""

    def __init__(self, encoder: Frozen) -> None:
        super().__init__()
        self.network = encoder.network()
        self.reduced, self.pooled = encoder.reduced, encoder.pooled

    def forward(self, grey: Tensor, mirrored: bool) -> Tensor:
        return self.pooled(self.network(self.reduced(grey.flip(3) if mirrored else grey)))

    def describe(self, encoding: Tensor) -> Tensor:
        return encoding
