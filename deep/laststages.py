"""Fine-tuning the last stages of a backbone on cached activations: a fraction of the work, since the first stages are computed once."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from deep.backbones import build_backbone
from deep.cam import CamTarget, randomise_weights
from deep.classifier import Classifier, Tail
from deep.device import autocast, pick_device, to_device
from deep.graph import NetworkHead
from deep.probe import LogisticProbe
from deep.training import SEARCH_SPACE, OnEpoch, Recipe, loss_of, median_epochs, start_of_most, train
from deep.weights import PretrainedWeights, weights_file

IMAGE, MIRRORED = 0, 1  # versions of an image that `deep.activations.Activations` gives before the augmented ones
_START_C = (1e-3, 1e-2)
_AT_A_TIME = 256


class LastStages:
    """The stages of a backbone after a cut and a linear layer, trained on the activations before the cut.

    In each epoch every image appears in one of its versions, drawn at random. The linear layer starts from a logistic regression
    (Kumar et al. 2022), and that start is kept where no epoch has a lower validation loss. Batch normalisation keeps its pretrained means and
    variances. The prediction is the mean of the logits
    for image and mirror image.

    Parameters
    ----------
    backbone : str
    stages : int
        As for the `deep.activations.Activations` that come in.
    epochs, patience, batch : int
    learning_rate, backbone_rate, weight_decay, warm_up, label_smoothing : float
    balanced : bool
        As for `deep.training.Recipe`.
    pool : sequence of int
    dropout : float
        Grids of the average pooling, and drop-out rate before the linear layer.
    start : str
    weights : str, optional
    weights_dir : Path, optional
    offline : bool
    device : str
        As for `deep.frozen.Frozen`.
    task : str
        "multilabel" or "multiclass".
    on_epoch : callable, optional
        Called with each epoch's record.
    """

    family = "deep"
    search_space = SEARCH_SPACE
    rowwise = True  # reads its input a batch at a time, from disk if it is large

    def __init__(
        self,
        backbone: str,
        stages: int,
        epochs: int = 10,
        *,
        patience: int = 5,
        batch: int = 32,
        learning_rate: float = 5e-4,
        backbone_rate: float = 0.2,
        weight_decay: float = 0.02,
        warm_up: float = 0.1,
        label_smoothing: float = 0.0,
        balanced: bool = False,
        pool: Sequence[int] = (1, 2),
        dropout: float = 0.3,
        start: str = "imagenet",
        weights: str | None = None,
        weights_dir: Path | None = None,
        offline: bool = False,
        device: str = "auto",
        task: str = "multilabel",
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.backbone = backbone
        self.stages = stages
        self.epochs = epochs
        self.patience = patience
        self.batch = batch
        self.learning_rate = learning_rate
        self.backbone_rate = backbone_rate
        self.weight_decay = weight_decay
        self.warm_up = warm_up
        self.label_smoothing = label_smoothing
        self.balanced = balanced
        self.pool = pool
        self.dropout = dropout
        self.start = start
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
        """SHA-256 of the initial weights, and the kind of device."""
        return self.pretrained().fingerprint(pick_device(self.device))

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> LastStages:
        """Train on activations (n, versions, channels, rows, columns) float16 with labels (n, n_classes) of 0 and 1."""
        self._fit(X, y, (X_valid, y_valid), seed, None)
        return self

    def refit(self, X: np.ndarray, y: np.ndarray, folds: Sequence[Mapping[str, Any]], seed: int) -> LastStages:
        """Train on all images, for as many epochs of the schedule as the folds kept in the median (their ``epochs``)."""
        self.start_C = start_of_most(folds, _START_C)
        self._fit(X, y, None, seed, median_epochs(folds))
        return self

    def _fit(
        self, X: np.ndarray, y: np.ndarray, valid: tuple[np.ndarray, np.ndarray] | None, seed: int, keep: int | None
    ) -> None:
        device = pick_device(self.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)  # of a random start, which `Activations` has too
            tail = Tail(build_backbone(self.backbone, self.pretrained().state()), self.stages)
            torch.manual_seed(seed)
            self.network_ = Classifier(tail, y.shape[1], self.pool, 0, self.dropout)
            to_device(self.network_, device)
            truth = torch.from_numpy(y).to(device, torch.float32)
            self._start_from_probe(X, y, *(valid or (X[np.arange(1)], y[:1])), seed)
            generator = torch.Generator().manual_seed(seed)

            def inputs(rows: Tensor, _: int) -> Tensor:
                version = torch.randint(X.shape[1], (len(rows),), generator=generator)
                return self._on_device(X[rows.cpu().numpy()][np.arange(len(rows)), version.numpy()])

            self.history_, kept = train(
                self.network_,
                inputs,
                truth,
                None if valid is None else self._loss_on(*valid),
                self._recipe(),
                torch.Generator(device).manual_seed(seed),
                starts_well=True,
                keep=keep,
                on_epoch=self.on_epoch,
            )
        self.chosen_ = {"epochs": float(kept)}
        self.n_parameters_ = sum(p.numel() for p in self.network_.parameters())

    def _loss_on(self, X: np.ndarray, y: np.ndarray) -> Callable[[], float]:
        truth = torch.from_numpy(y).to(pick_device(self.device), torch.float32)
        return lambda: float(loss_of(self._logits(X), truth, self.task))

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) float64 of activations as for `fit`; of the versions the first two are used."""
        logits = self._logits(X).double()
        return (logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()).cpu().numpy()

    def to_torch(self, *, mirror: bool, references: Sequence[object]) -> nn.Module:  # noqa: ARG002 - a head's signature
        """Return the head as part of a `deep.graph.InferenceGraph`."""
        return NetworkHead(self.network_, self.task)

    def cam_target(self, encoder: CamTarget | None, *, mirror: bool) -> CamTarget | None:  # noqa: ARG002 - always both
        """Return the whole network, which begins with that of the encoder."""
        if encoder is None:
            return None
        network = self.network_
        return replace(encoder, first=encoder.backbone, backbone=network.backbone, classifier=network, mirror=True)

    def randomise_weights(self, seed: int) -> LastStages:
        """Return a copy whose trained stages have random weights."""
        fresh = copy.copy(self)
        fresh.network_ = copy.deepcopy(self.network_)
        randomise_weights(fresh.network_, seed)
        return fresh

    def save(self, folder: Path) -> None:
        """Write the trained stages as safetensors and their construction as JSON."""
        (folder / "network.safetensors").write_bytes(weights_file(self.network_))
        recipe = {name: getattr(self, name) for name in ("backbone", "stages", "dropout", "start", "task")}
        lists = {"pool": list(self.pool), "start_C": list(self.start_C), "classes": self.network_.linear.out_features}
        (folder / "network.json").write_text(json.dumps({**recipe, **lists}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> LastStages:
        """Read what `save` wrote: the stages after the cut, which predict."""
        facts = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        names = ("backbone", "stages", "pool", "dropout", "task")
        head = cls(**{name: facts[name] for name in names}, device=device)
        tail = Tail(build_backbone(head.backbone), head.stages)
        head.network_ = Classifier(tail, facts["classes"], head.pool, 0, head.dropout)
        head.network_.load_state_dict(load_file(folder / "network.safetensors"))
        to_device(head.network_, pick_device(device))
        return head

    def pretrained(self) -> PretrainedWeights:
        """Return the initial weights of the backbone."""
        return PretrainedWeights(self.backbone, self.start, self.weights, self.weights_dir, self.offline)

    def _recipe(self) -> Recipe:
        names = ("epochs", "patience", "batch", "learning_rate", "backbone_rate", "weight_decay", "warm_up")
        names += ("label_smoothing", "balanced", "task")
        return Recipe(**{name: getattr(self, name) for name in names}, frozen_statistics=True)

    def _start_from_probe(
        self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int
    ) -> None:
        """Linear layer and scaling of a logistic regression on the output of the untrained stages for images and mirror images."""
        train_part, valid = (
            np.concatenate([self._features(part, version) for version in (IMAGE, MIRRORED)]) for part in (X, X_valid)
        )
        probe = LogisticProbe(self.start_C, self.task, device=pick_device(self.device).type)
        probe.fit(train_part, np.tile(y, (2, 1)), valid, np.tile(y_valid, (2, 1)), seed)
        self.start_C = (probe.chosen_["C"],)
        self.network_.start_from(probe.mean_, probe.sd_, probe.solution_)

    @torch.inference_mode()
    def _features(self, X: np.ndarray, version: int) -> np.ndarray:
        self.network_.eval()
        parts = [self._on_device(X[rows][:, version]) for rows in _in_parts(len(X))]
        with autocast(parts[0].device):
            return torch.cat([self.network_.features(part).float() for part in parts]).cpu().numpy()

    @torch.inference_mode()
    def _logits(self, X: np.ndarray) -> Tensor:
        """Mean logits (n, n_classes) float32 of image and mirror image."""
        self.network_.eval()
        out = []
        for rows in _in_parts(len(X)):
            activations = X[rows]
            both = [self._on_device(activations[:, version]) for version in (IMAGE, MIRRORED)]
            with autocast(both[0].device):
                out.append(sum(self.network_(part).float() for part in both) / 2)
        return torch.cat(out)

    def _on_device(self, activations: np.ndarray) -> Tensor:
        """Activations (n, channels, rows, columns) float32 on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(activations)).to(pick_device(self.device))
        return tensor.float().contiguous(memory_format=torch.channels_last)


def _in_parts(n: int) -> list[np.ndarray]:
    return np.array_split(np.arange(n), max(1, -(-n // _AT_A_TIME)))
