"""The training loop, the only one: AdamW, a warm-up and a cosine, early stopping on the validation loss."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from deep.classifier import Classifier
from deep.device import autocast, images_at_a_time

SEARCH_SPACE = MappingProxyType(  # the search space of networks, as tables of a suite file
    {
        "learning_rate": {"low": 1e-4, "high": 3e-3, "log": True},
        "backbone_rate": {"low": 0.03, "high": 1, "log": True},
        "weight_decay": {"low": 1e-3, "high": 0.3, "log": True},
        "dropout": {"low": 0, "high": 0.6},
        "label_smoothing": {"low": 0, "high": 0.1},
    }
)
OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    epochs, patience : int
        Maximum number of epochs; stop after `patience` epochs without a lower validation loss.
    batch : int
    learning_rate, backbone_rate, weight_decay, warm_up, label_smoothing : float
        `backbone_rate` is the backbone's share of the learning rate, `warm_up` a share of all steps.
    balanced : bool
        Rare classes weigh more: a class's weight is the square root of (mean class count / its count), within 1/3 and 3.
    task : str
        "multilabel" or "multiclass".
    frozen_statistics : bool
        Batch normalisation keeps the means and variances it was pretrained with: those of small batches of few images are worse.
    """

    epochs: int
    patience: int
    batch: int
    learning_rate: float
    backbone_rate: float
    weight_decay: float
    warm_up: float
    label_smoothing: float
    balanced: bool
    task: str
    frozen_statistics: bool = False


def train(
    network: Classifier,
    inputs: Callable[[Tensor, int], Tensor],
    y: Tensor,
    valid_loss: Callable[[], float] | None,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    frozen: Sequence[nn.Module] = (),
    starts_well: bool = False,
    keep: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[list[dict[str, float]], int]:
    """Train a network, and leave it in the state with the lowest validation loss; or in that after `keep` epochs.

    Parameters
    ----------
    inputs : callable
        Returns the network's input for rows of the training part, in an epoch counted from 0.
    y : Tensor
        (n, n_classes) float32 on the network's device.
    frozen : sequence of Module
        Modules that keep their weights, and the statistics of their batch normalisation.
    starts_well : bool
        Whether the start is a result too, from a linear probe, and is kept if no epoch is better.
    keep : int, optional
        Without a validation part (`valid_loss` is None): end after this many epochs of the recipe's schedule.
    on_epoch : callable, optional
        Called with each epoch's record.

    Returns
    -------
    history : list of dict
    kept : int
        A record for each epoch, and the epoch that was kept (0: the start).

    Raises
    ------
    FloatingPointError
        If the loss is no longer a number.
    """
    optimiser, schedule = _optimiser(network, frozen, recipe, len(y), y.device)
    weight = _class_weights(y) if recipe.balanced else None
    history: list[dict[str, float]] = []
    valid_loss = valid_loss or (lambda: math.nan)
    best = _Best(network, valid_loss() if starts_well else math.inf)
    for epoch in range(1, (recipe.epochs if keep is None else keep) + 1):
        start, total = time.perf_counter(), torch.zeros((), device=y.device)
        _training_mode(network, frozen, recipe)
        for rows in _batches(len(y), recipe.batch, generator):
            total += _step(network, inputs(rows, epoch - 1), y[rows], optimiser, recipe, weight) * len(rows)
            schedule.step()
        train_loss, seconds = float(total) / len(y), time.perf_counter() - start  # the first waits for the device
        history.append({"epoch": epoch, "train_loss": train_loss, "valid_loss": valid_loss(), "seconds": seconds})
        _noted(history[-1], recipe, on_epoch, validated=keep is None)
        if keep is None and not best.improves(history[-1]["valid_loss"], epoch, recipe.patience):
            break
    if keep is None:
        network.load_state_dict(best.state)
    return history, best.epoch if keep is None else keep


class _Best:
    """State of a network with the lowest validation loss so far, and its epoch (0: the start)."""

    def __init__(self, network: nn.Module, loss: float) -> None:
        self.network, self.loss, self.epoch = network, loss, 0
        self.state = copy.deepcopy(network.state_dict())

    def improves(self, loss: float, epoch: int, patience: int) -> bool:
        """Whether training should continue: there was a lower loss within the last `patience` epochs."""
        if loss < self.loss:
            self.loss, self.epoch, self.state = loss, epoch, copy.deepcopy(self.network.state_dict())
        return epoch - self.epoch < patience or epoch == self.epoch


def _training_mode(network: nn.Module, frozen: Sequence[nn.Module], recipe: Recipe) -> None:
    """Set everything to training mode except frozen modules and, if the recipe says so, the statistics of batch normalisation."""
    network.train()
    for module in [*frozen, *(_batch_norms(network) if recipe.frozen_statistics else ())]:
        module.eval()


def median_epochs(folds: Sequence[Mapping[str, Any]]) -> int:
    """Median of the epochs that the folds kept: the length of training without a validation part."""
    return round(float(np.median([fold["epochs"] for fold in folds])))


def start_of_most(folds: Sequence[Mapping[str, Any]], default: Sequence[float]) -> tuple[float, ...]:
    """Most frequent C of the probes that folds started from; the first of `default` if unknown."""
    said = [tuple(fold.get("start_C", default[:1])) for fold in folds]
    return Counter(said).most_common(1)[0][0]


def loss_of(logits: Tensor, y: Tensor, task: str, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy for one label, binary cross-entropy summed over the classes for several; mean over the images."""
    if task == "multiclass":
        return cross_entropy(logits, y, weight=weight, label_smoothing=smoothing)
    target = y * (1 - smoothing) + smoothing / 2
    per_class = binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")  # (n, n_classes)
    return per_class.sum(dim=1).mean()


def _step(
    network: Classifier, x: Tensor, y: Tensor, optimiser: torch.optim.Optimizer, recipe: Recipe, weight: Tensor | None
) -> Tensor:
    """One step; its loss stays on the device. Without batch normalisation a batch may be processed in parts, which is faster on a CPU."""
    optimiser.zero_grad(set_to_none=True)
    size = len(x) if _normalises_batches(network) else images_at_a_time(x.device, training=True)
    loss = torch.zeros((), device=x.device)
    for part, truth in zip(x.split(size), y.split(size), strict=True):
        with autocast(x.device):
            logits = network(part)
        share = loss_of(logits.float(), truth, recipe.task, weight, recipe.label_smoothing) * (len(part) / len(x))
        share.backward()
        loss += share.detach()
    optimiser.step()
    return loss


def _normalises_batches(network: nn.Module) -> bool:
    return any(module.training for module in _batch_norms(network))


def _batch_norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def _noted(record: dict[str, float], recipe: Recipe, on_epoch: OnEpoch | None, *, validated: bool) -> None:
    """Check that an epoch's losses are finite, and pass on its record."""
    if not (math.isfinite(record["train_loss"]) and (math.isfinite(record["valid_loss"]) or not validated)):
        raise FloatingPointError(
            f"the loss is not a number in epoch {record['epoch']}: lower learning_rate ({recipe.learning_rate:g})"
        )
    if on_epoch is not None:
        on_epoch({**record, "epochs": recipe.epochs})


def _optimiser(
    network: Classifier, frozen: Sequence[nn.Module], recipe: Recipe, n: int, device: torch.device
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with four groups: backbone and new layers, each with and without weight decay (none on biases and norms); and its schedule."""
    for module in frozen:
        module.requires_grad_(False)
    groups = []
    for part, rate in (
        (network.backbone, recipe.learning_rate * recipe.backbone_rate),
        (network.head, recipe.learning_rate),
    ):
        learned = [p for p in part.parameters() if p.requires_grad]
        groups.append({"params": [p for p in learned if p.ndim > 1], "lr": rate, "weight_decay": recipe.weight_decay})
        groups.append({"params": [p for p in learned if p.ndim <= 1], "lr": rate, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], fused=device.type == "cuda")
    steps = recipe.epochs * max(1, math.ceil(n / recipe.batch))
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, _warm_up_cosine(steps, recipe.warm_up))


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows in random order; a last batch of one joins the one before, which batch normalisation needs."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    yield from batches


def _warm_up_cosine(steps: int, warm_up: float) -> Callable[[int], float]:
    warm = max(1, round(warm_up * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return factor


def _class_weights(y: Tensor) -> Tensor:
    """Square root of mean count over each class's count, within 1/3 and 3; (n_classes,)."""
    count = y.sum(dim=0)
    return (count.mean() / count.clamp_min(1)).sqrt().clamp(1 / 3, 3)
