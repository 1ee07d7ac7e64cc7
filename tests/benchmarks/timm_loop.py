"""Fine-tuning as timm's train.py does it by default: what `gpu` holds ours against."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from torch.utils.data import Dataset


class TimmStyle:
    """A loop as timm's train.py has it by default with ``--amp``: its loaders and transforms on pictures, its AdamW, float16, scaled."""

    def __init__(self, backbone: str, settings: Any, device: torch.device) -> None:
        self.backbone, self.settings, self.device = backbone, settings, device

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> TimmStyle:
        """Train for `measured_epochs` at most, with a validation after each."""
        torch.manual_seed(seed)
        self.network_ = timm.create_model(self.backbone, num_classes=y.shape[1]).to(self.device)
        optimiser = create_optimizer_v2(self.network_, opt="adamw", lr=1e-3, weight_decay=0.02)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.device.type == "cuda")
        loader, valid = self._loader(X, y, training=True), self._loader(X_valid, y_valid)
        self.history_: list[dict[str, float]] = []
        with _autotuned(self.device):
            for _ in range(min(self.settings.measured_epochs, self.settings.epochs)):
                seconds = seconds_of(lambda: self._epoch(loader, optimiser, scaler), self.device)
                whole = seconds + seconds_of(lambda: self._probabilities(valid), self.device)
                images = len(loader) * min(self.settings.batch, len(X))  # the last part of a batch is left out
                self.history_.append({"images": images, "seconds": seconds, "whole_seconds": whole})
        return self

    def predictor(self, X: np.ndarray) -> Callable[[], np.ndarray]:
        """What predicts these images again and again, by workers that stay."""
        loader = self._loader(X, np.zeros((len(X), 1), np.float32))
        return lambda: self._probabilities(loader)

    def _loader(self, X: np.ndarray, y: np.ndarray, *, training: bool = False) -> Any:
        return create_loader(
            Pictures(X, y),
            input_size=self.settings.side,
            batch_size=min(self.settings.batch, len(X)),
            is_training=training,
            crop_pct=1.0,
            num_workers=self.settings.workers,
            persistent_workers=self.settings.workers > 0,
            use_prefetcher=self.device.type == "cuda",
            device=self.device,
        )

    def _epoch(self, loader: Any, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
        self.network_.train()
        criterion = torch.nn.BCEWithLogitsLoss()
        for x, y in loader:
            with self._autocast():
                loss = criterion(self.network_(x.to(self.device)), y.to(self.device).float())
            optimiser.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()

    @torch.inference_mode()
    def _probabilities(self, loader: Any) -> np.ndarray:
        self.network_.eval()
        out = []
        with self._autocast():
            for x, _ in loader:
                out.append(self.network_(x.to(self.device)).float().sigmoid())
        return torch.cat(out).cpu().numpy()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.float16, enabled=self.device.type == "cuda")


class Pictures(Dataset):
    """Arrays as a folder of pictures would come: one PIL image at a time. The loader sets `transform`."""

    transform: Callable[[Image.Image], Any]

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.X, self.y = X, y

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, row: int) -> tuple[Any, np.ndarray]:
        return self.transform(Image.fromarray(self.X[row]).convert("RGB")), self.y[row]


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds until the device has done the work."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait for what was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _autotuned(device: torch.device) -> Iterator[None]:
    """With cuDNN's own search, as timm's train.py asks for."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
