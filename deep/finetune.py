"""Fine-tuning a backbone on the pixels themselves."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from deep.augment import Augmentation
from deep.backbones import build_backbone
from deep.cam import CamTarget, randomise_weights
from deep.classifier import Classifier
from deep.device import autocast, images_at_a_time, pick_device, to_device
from deep.graph import Views, as_probability
from deep.probe import LogisticProbe
from deep.training import SEARCH_SPACE, Recipe, loss_of, median_epochs, start_of_most, train
from deep.weights import RANDOM, PretrainedWeights, weights_file

Part = tuple[Tensor, Tensor]  # images and labels on the device
_START_C = (1e-3, 1e-2)  # few candidates: the probe is a starting point, not a result


class FineTune:
    """A convolutional network trained on the pixels themselves.

    AdamW with a linear warm-up and a cosine to zero; the backbone learns at a lower rate than the new layers. After each
    epoch the validation loss is computed, and the state with the lowest one is kept. If `balanced`, rare classes weigh more: a
    class's weight is the square root of (mean class count / its count), within 1/3 and 3.

    Parameters
    ----------
    backbone : str
        Name in torchvision, else in timm.
    epochs, patience : int
        Maximum number of epochs; stop after `patience` epochs without a lower validation loss.
    frozen_stages : int
        Number of first stages of the backbone that keep their pretrained weights.
    start : str
        What the backbone was trained on: "imagenet", "random" (nothing), "phantom" (``bench pretrain``), or any other word for
        which there is a file ``BACKBONE-WORD.safetensors`` in `weights_dir`.
    side : int
        Images are first reduced to side x side pixels; 0 leaves them unchanged.
    batch : int
    learning_rate, backbone_rate, weight_decay, warm_up, label_smoothing : float
        `backbone_rate` is the backbone's share of the learning rate, `warm_up` a share of all steps.
    probe_first : bool
        Start the linear layer from a logistic regression on the pretrained activations, so that the first steps do not
        distort them (Kumar et al. 2022, "Fine-tuning can distort pretrained features"). Only without a hidden layer.
    pool : sequence of int
    hidden : int
    dropout : float
        Grids of the average pooling, and of the new layers width (0: none) and drop-out rate.
    balanced : bool
        Whether rare classes weigh more.
    augmentation : dict, optional
        Ranges for `deep.augment.Augmentation`; None for none.
    mirror : bool
        Predict the mean of the logits for an image and its mirror image.
    weights : str, optional
    weights_dir : Path, optional
    offline : bool
    device : str
        As for `deep.frozen.Frozen`.
    on_epoch : callable, optional
        Called with each epoch's record.
    """

    family = "deep"
    search_space = SEARCH_SPACE

    def __init__(
        self,
        backbone: str,
        epochs: int = 10,
        *,
        patience: int = 5,
        frozen_stages: int = 0,
        start: str = "imagenet",
        side: int = 0,
        batch: int = 32,
        learning_rate: float = 1e-3,
        backbone_rate: float = 0.2,
        weight_decay: float = 0.02,
        warm_up: float = 0.1,
        label_smoothing: float = 0.0,
        probe_first: bool = True,
        pool: Sequence[int] = (1,),
        hidden: int = 0,
        dropout: float = 0.3,
        balanced: bool = True,
        augmentation: dict[str, Any] | None = None,
        mirror: bool = True,
        weights: str | None = None,
        weights_dir: Path | None = None,
        offline: bool = False,
        device: str = "auto",
        task: str = "multilabel",
        on_epoch: Callable[[dict[str, float]], None] | None = None,
    ) -> None:
        self.backbone = backbone
        self.epochs = epochs
        self.patience = patience
        self.frozen_stages = frozen_stages
        self.start = start
        self.side = side
        self.batch = batch
        self.learning_rate = learning_rate
        self.backbone_rate = backbone_rate
        self.weight_decay = weight_decay
        self.warm_up = warm_up
        self.label_smoothing = label_smoothing
        self.probe_first = probe_first
        self.pool = pool
        self.hidden = hidden
        self.dropout = dropout
        self.balanced = balanced
        self.augmentation = augmentation
        self.mirror = mirror
        self.weights = weights
        self.weights_dir = weights_dir
        self.offline = offline
        self.device = device
        self.task = task
        self.on_epoch = on_epoch
        self.start_C: Sequence[float] = _START_C

    def weights_facts(self) -> dict[str, str | list[str]] | None:
        """Return where the weights come from, under which licence, and their SHA-256; None for a random start."""
        return self.pretrained().facts()

    def weights_file(self) -> tuple[str, Path] | None:
        """Return the initial weights and their name in a weights folder, for another machine; None if it needs none."""
        return self.pretrained().portable_file()

    def fingerprint(self) -> str:
        """SHA-256 of the initial weights ("random" without), and the kind of device."""
        return self.pretrained().fingerprint(pick_device(self.device))

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> FineTune:
        """Train on images (n, h, w) uint8 with labels (n, n_classes) of 0 and 1.

        Raises
        ------
        deep.weights.WeightsUnavailableError
            If pretrained weights are requested and not available.
        FloatingPointError
            If the loss is no longer a number.
        """
        self._fit(X, y, (X_valid, y_valid), seed, None)
        return self

    def refit(self, X: np.ndarray, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> FineTune:
        """Train on all images, for as many epochs of the schedule as the folds kept in the median (their ``epochs``)."""
        self.start_C = start_of_most(folds, _START_C)
        self._fit(X, y, None, seed, median_epochs(folds))
        return self

    def _fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray] | None,
        seed: int,
        keep: int | None,
    ) -> None:
        device = pick_device(self.device)
        weights = self.pretrained().state()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            self.network_ = Classifier(
                build_backbone(self.backbone, weights), y.shape[1], self.pool, self.hidden, self.dropout
            )
            to_device(self.network_, device)
            train_part = _resident(X, y, device)
            valid = None if validation is None else _resident(*validation, device)
            if self._starts_from_probe():
                self._start_from_probe(train_part, valid or (train_part[0][:1], train_part[1][:1]), seed)
            else:
                self._start_from_prior(y)
            self._train(train_part, valid, torch.Generator(device).manual_seed(seed), keep)
        self.n_parameters_ = sum(p.numel() for p in self.network_.parameters())

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 of images (n, h, w) uint8."""
        device = pick_device(self.device)
        logits = self._logits(torch.from_numpy(np.array(X)).to(device)).double()
        return (logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()).cpu().numpy()

    def describe(self, X: np.ndarray) -> np.ndarray:
        """Pooled activations (n, width) float32 of images (n, h, w) uint8."""
        return self._features(torch.from_numpy(np.array(X)).to(pick_device(self.device)))

    def to_torch(self, *, mirror: bool, references: Sequence[object]) -> nn.Module:  # noqa: ARG002 - it has a `mirror` of its own
        """Return the head as part of a `deep.graph.InferenceGraph`."""
        return _PixelGraph(self)

    def cam_target(self, encoder: CamTarget | None, *, mirror: bool) -> CamTarget:  # noqa: ARG002 - its input is the pixels
        """Return the network."""
        return CamTarget(self.reduced, None, self.network_.backbone, self.network_, self.mirror)

    def randomise_weights(self, seed: int) -> FineTune:
        """Return a copy whose network has random weights."""
        fresh = copy.copy(self)
        fresh.network_ = copy.deepcopy(self.network_)
        randomise_weights(fresh.network_, seed)
        return fresh

    def save(self, folder: Path) -> None:
        """Write the network as safetensors and its construction as JSON."""
        (folder / "network.safetensors").write_bytes(weights_file(self.network_))
        recipe = {
            "backbone": self.backbone,
            "pool": list(self.pool),
            "side": self.side,
            "hidden": self.hidden,
            "dropout": self.dropout,
            "mirror": self.mirror,
            "task": self.task,
            "start_C": list(self.start_C),
            "classes": self.network_.linear.out_features,
        }
        (folder / "network.json").write_text(json.dumps(recipe), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> FineTune:
        """Read what `save` wrote: a network that predicts."""
        facts = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        names = ("backbone", "pool", "side", "hidden", "dropout", "mirror", "task")
        head = cls(**{name: facts[name] for name in names}, epochs=0, device=device)
        head.network_ = Classifier(
            build_backbone(head.backbone), facts["classes"], head.pool, head.hidden, head.dropout
        )
        head.network_.load_state_dict(load_file(folder / "network.safetensors"))
        to_device(head.network_, pick_device(device))
        return head

    def pretrained(self) -> PretrainedWeights:
        """Return the initial weights of the backbone."""
        return PretrainedWeights(self.backbone, self.start, self.weights, self.weights_dir, self.offline)

    def _starts_from_probe(self) -> bool:
        return self.probe_first and self.start != RANDOM and not self.hidden

    def _start_from_probe(self, train_part: Part, valid: Part, seed: int) -> None:
        """Linear layer and scaling of a logistic regression on the activations of images and mirror images."""
        features, y = [], []
        for images, truth in (train_part, valid):
            features.append(np.concatenate([self._features(images), self._features(images.flip(2))]))
            y.append(np.tile(truth.cpu().numpy(), (2, 1)))
        probe = LogisticProbe(self.start_C, self.task, device=train_part[0].device.type).fit(
            features[0], y[0], features[1], y[1], seed
        )
        self.start_C = (probe.chosen_["C"],)
        self.network_.start_from(probe.mean_, probe.sd_, probe.solution_)

    @torch.inference_mode()
    def _features(self, images: Tensor) -> np.ndarray:
        """Pooled activations (n, width) float32 of images (n, h, w) uint8 on the device."""
        self.network_.eval()
        with autocast(images.device):
            out = [
                self.network_.features(self._grey(rows)).float()
                for rows in images.split(images_at_a_time(images.device))
            ]
        return torch.cat(out).cpu().numpy()

    def _grey(self, images: Tensor) -> Tensor:
        """From (n, h, w) uint8 to (n, 1, side, side) float in 0 .. 1."""
        return self.reduced(images[:, None].float() / 255)

    def reduced(self, grey: Tensor) -> Tensor:
        """Images (n, 1, h, w) at the network's input size."""
        if self.side and self.side != grey.shape[-1]:
            grey = interpolate(grey, size=(self.side, self.side), mode="area")
        return grey.contiguous(memory_format=torch.channels_last)

    def _start_from_prior(self, y: np.ndarray) -> None:
        """Biases of the last layer that give each class its share from the first step (Lin et al. 2017, section 3.3)."""
        share = torch.from_numpy((y.sum(axis=0) + 0.5) / (len(y) + 1)).float()
        last = self.network_.linear
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.copy_(share.log() if self.task == "multiclass" else share.logit())

    def _train(self, train_part: Part, valid: Part | None, generator: torch.Generator, keep: int | None) -> None:
        images, y = train_part
        augmentation = None if self.augmentation is None else Augmentation(**self.augmentation)

        def inputs(rows: Tensor, _: int) -> Tensor:
            grey = self._grey(images[rows])
            return grey if augmentation is None else augmentation.apply(grey, generator)

        self.history_, kept = train(
            self.network_,
            inputs,
            y,
            None if valid is None else lambda: float(loss_of(self._logits(valid[0]), valid[1], self.task)),
            self._recipe(),
            generator,
            frozen=list(self.network_.backbone.stages)[: self.frozen_stages],
            starts_well=self._starts_from_probe(),
            keep=keep,
            on_epoch=self.on_epoch,
        )
        self.chosen_ = {"epochs": float(kept)}

    def _recipe(self) -> Recipe:
        return Recipe(
            self.epochs,
            self.patience,
            self.batch,
            self.learning_rate,
            1.0 if self.start == RANDOM else self.backbone_rate,
            self.weight_decay,
            self.warm_up,
            self.label_smoothing,
            balanced=self.balanced,
            task=self.task,
        )

    @torch.inference_mode()
    def _logits(self, images: Tensor) -> Tensor:
        """Logits (n, n_classes) float32 of images (n, h, w) uint8 on the device."""
        self.network_.eval()
        out = []
        for rows in images.split(images_at_a_time(images.device)):
            grey = self._grey(rows)
            with autocast(images.device):
                logits = self.network_(grey).float()
                out.append((logits + self.network_(grey.flip(3)).float()) / 2 if self.mirror else logits)
        return torch.cat(out)


def _resident(X: np.ndarray, y: np.ndarray, device: torch.device) -> Part:
    """Images as bytes and labels as float32, kept on the device during training."""
    return torch.from_numpy(np.array(X)).to(device), torch.from_numpy(y).to(device, torch.float32)


class _PixelGraph(nn.Module):
    """Mean logits of a fine-tuned network over image and mirror image, as probabilities."""

    mirrored = False  # mirror images are made here, after the image was reduced

    def __init__(self, head: FineTune) -> None:
        super().__init__()
        self.network = head.network_
        self.reduced = head.reduced
        self.both, self.task = head.mirror, head.task

    def forward(self, views: Views) -> Tensor:
        grey = self.reduced(views[0][0])
        sides = [grey, grey.flip(3)] if self.both else [grey]
        return as_probability(torch.stack([self.network(side) for side in sides]).mean(dim=0), self.task)

    def describe(self, grey: Tensor) -> Tensor:
        return self.network.features(self.reduced(grey))
