"""Any classification network as a backbone: images in, a feature map out, without the classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from deep.addresses import check_known

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
_CLASSIFIERS = ("classifier", "fc", "heads", "head", "AuxLogits", "aux1", "aux2")


class Backbone(nn.Module):
    """A network without its classifier, from grey bytes to a feature map.

    ``stages`` is a sequence of modules, so that the first ones can be frozen or their output cached; ``width`` is the number
    of channels that come out, of all maps together. With `keep_maps` it gives the maps of several stages.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, stages: nn.Sequential, mean: tuple[float, ...], sd: tuple[float, ...]) -> None:
        super().__init__()
        self.stages = stages
        self.folded = False
        self.layers: tuple[int, ...] = ()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("sd", torch.tensor(sd).view(1, 3, 1, 1), persistent=False)
        with torch.no_grad():
            self.eval()
            self.width = self(torch.zeros(1, 1, 224, 224)).shape[1]

    def fold_grey(self) -> None:
        """Let the first convolution take the grey image directly: three equal channels equal one with the sum of their weights.

        Done where that convolution is the first module and does not pad (padding is 0 after normalisation, another grey in each channel).
        Only for networks that are no longer trained: it changes the first layer's parameters.
        """
        parent, name = self, "stages"
        while isinstance(parent.get_submodule(name), nn.Sequential):
            parent, name = parent.get_submodule(name), "0"
        first = parent.get_submodule(name)
        if type(first) is not nn.Conv2d or first.padding != (0, 0) or first.groups != 1:
            return  # timm's Conv2dSame pads by itself
        kind = (first.out_channels, first.kernel_size, first.stride)
        grey = nn.utils.skip_init(nn.Conv2d, 1, *kind, dilation=first.dilation)
        with torch.no_grad():
            weight = first.weight / self.sd  # (out, 3, rows, columns)
            bias = torch.zeros(first.out_channels) if first.bias is None else first.bias
            grey.weight = nn.Parameter(weight.sum(dim=1, keepdim=True))
            grey.bias = nn.Parameter(bias - (weight * self.mean).sum(dim=(1, 2, 3)))
        setattr(parent, name, grey)
        self.folded = True

    def keep_maps(self, layers: Sequence[int]) -> None:
        """Let `forward` give a tuple with the maps after these stages, counted from 1; stages after the last of them are dropped.

        Raises
        ------
        ValueError
            If there is no such stage.
        """
        wrong = [layer for layer in layers if not 1 <= layer <= len(self.stages)]
        if wrong:
            raise ValueError(f"layers: {wrong[0]} is not one of the stages 1 to {len(self.stages)} of this backbone")
        if layers:
            self.layers = tuple(layers)
            self.stages = self.stages[: max(layers)]
            with torch.no_grad():
                self.width = sum(found.shape[1] for found in self(torch.zeros(1, 1, 224, 224)))

    def normalise(self, grey: Tensor) -> Tensor:
        """From (n, 1, h, w) in 0 .. 1 to what the first stage takes: (n, 3, h, w) normalised, or unchanged if it was folded."""
        if self.folded:
            return grey
        return (grey.expand(-1, 3, -1, -1) - self.mean) / self.sd

    def forward(self, grey: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Feature map (n, width, rows, columns) of grey images (n, 1, h, w) in 0 .. 1; or a tuple of maps, see `keep_maps`."""
        x, kept = self.normalise(grey), {}
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if number in self.layers:
                kept[number] = x
        return tuple(kept[layer] for layer in self.layers) if self.layers else x


class _Map(nn.Module):
    """Brings every network's last output to (n, channels, rows, columns): transformers give tokens, some give vectors."""

    def __init__(self, *, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x[:, :, None, None]
        if x.ndim == 3:  # (n, tokens, channels)
            return x.transpose(1, 2)[:, :, :, None]
        return x.permute(0, 3, 1, 2) if self.channels_last else x


class _Forward(nn.Module):
    """A network used as a whole because its modules are not a plain sequence."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        network: Any = self.network
        return network.forward_features(x) if hasattr(network, "forward_features") else network(x)


def build_backbone(name: str, weights: Mapping[str, Tensor] | None = None) -> Backbone:
    """Make a backbone, from torchvision if it knows the name, else from timm.

    Parameters
    ----------
    weights : mapping of str to Tensor, optional
        State of the whole network, as published; None leaves the random start.

    Raises
    ------
    ValueError
        If no library has the name, or the weights do not fit the network.
    """
    if name in torchvision.models.list_models():
        network, mean, sd = _torchvision(name), IMAGENET_MEAN, IMAGENET_SD
    else:
        network, mean, sd = _timm(name)
    if weights is not None:
        _load(network, weights, name)
    return Backbone(_stages(name, network), mean, sd)


def published_state(name: str, backbone: Backbone) -> dict[str, Tensor]:
    """State of a backbone under the names that its library publishes, without the classifier: `build_backbone` reads it back."""
    network = _torchvision(name) if name in torchvision.models.list_models() else _timm(name)[0]
    _stages(name, network).load_state_dict(backbone.stages.state_dict())  # the stages are the network's own modules
    return {key: value.cpu().contiguous() for key, value in network.state_dict().items() if not _optional(key)}


def _torchvision(name: str) -> nn.Module:
    options = {"aux_logits": False, "init_weights": True} if name in ("inception_v3", "googlenet") else {}
    return torchvision.models.get_model(name, weights=None, **options)


def _timm(name: str) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    check_known(name)
    import timm
    from timm.data.config import resolve_model_data_config

    network = timm.create_model(name, pretrained=False, num_classes=0, global_pool="")
    settings = resolve_model_data_config(network)
    return network, settings["mean"], settings["std"]


def _load(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load published weights; only the classifier may be missing or left over."""
    wanted = network.state_dict()
    fits = {key: value for key, value in weights.items() if key in wanted and wanted[key].shape == value.shape}
    lacking = [key for key in wanted if key not in fits and not _optional(key)]
    if lacking:
        raise ValueError(
            f"these weights are not for {name}: {len(lacking)} of {len(wanted)} tensors are missing, such as {lacking[0]}"
        )
    network.load_state_dict(fits, strict=False)


def _optional(key: str) -> bool:
    return key.split(".")[0] in _CLASSIFIERS or key.endswith("num_batches_tracked")


def _stages(name: str, network: nn.Module) -> nn.Sequential:
    """Cut a network into a sequence of stages that ends in a feature map."""
    children: dict[str, Any] = dict(network.named_children())
    if {"conv_stem", "bn1", "blocks", "conv_head", "bn2"} <= set(children):  # timm's EfficientNets, in their own order
        first, last = (children[key] for key in ("conv_stem", "bn1")), (children[key] for key in ("conv_head", "bn2"))
        return nn.Sequential(*first, *children["blocks"], *last)
    if hasattr(network, "forward_features"):  # timm
        return nn.Sequential(_Forward(network), _Map())
    if "features" in children:
        if name.startswith("densenet"):
            return nn.Sequential(*children["features"], nn.ReLU(inplace=True))
        tail = [children["norm"]] if "norm" in children else []
        return nn.Sequential(*children["features"], *tail, _Map(channels_last=name.startswith("swin")))
    if "layer4" in children:
        return nn.Sequential(*[module for key, module in children.items() if key not in ("avgpool", "fc")])
    for key in _CLASSIFIERS:
        if key in children:
            setattr(network, key, nn.Identity())
    return nn.Sequential(_Forward(network), _Map())
