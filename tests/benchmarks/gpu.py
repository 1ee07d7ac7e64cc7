"""What fine-tuning costs on this device, beside a loop as in timm's train.py: ``make bench-gpu``.

Both train from random weights on the same bytes, fold after fold in turns. Model-FLOP utilisation (MFU) is the rate of the operations
that a network's forward pass needs, three times those in training, over the rate of a matrix product in our number format on the same
device. The timm-style loop trains for `measured_epochs` in each fold, the rest is multiplied up; ours trains for all of them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from timm_loop import TimmStyle, seconds_of
from torch.utils.flop_counter import FlopCounterMode

from deep.backbones import build_backbone
from deep.device import autocast, pick_device
from deep.finetune import FineTune
from deep.frozen import Frozen

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # X, y, X_valid, y_valid
QUICK = {"images": 256, "folds": 2, "epochs": 3, "measured_epochs": 3, "repeats": 3}
COMPARED = (
    "train_images_per_second",
    "train_mfu",
    "predict_images_per_second",
    "predict_mfu",
    "folds_seconds",
    "peak_memory_mb",
    "joules_per_1000_images",
)


@dataclass(frozen=True)
class Settings:
    """What is measured; each field is an option of the command line."""

    backbones: tuple[str, ...] = ("resnet18", "resnet50", "xception41", "convnext_tiny")
    side: int = 224
    images: int = 1738
    classes: int = 22
    folds: int = 5
    epochs: int = 20
    batch: int = 64
    measured_epochs: int = 4  # of the timm-style loop in each fold; the first of them is a warm-up
    repeats: int = 5
    workers: int = min(8, os.cpu_count() or 1)
    features: int = 2000
    device: str = "auto"


def main() -> None:
    """Measure; print and store after each backbone."""
    settings, out = _arguments()
    for found in measure(settings):
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(table(found), flush=True)


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """All that was measured so far, after each backbone and at the end."""
    device = pick_device(settings.device)
    X, y = pictures(settings, np.random.default_rng(0))
    product = matrix_product(device)
    found = {"made": _made(device), "settings": asdict(settings), "matrix_product": product, "backbones": {}}
    for name in settings.backbones:
        found["backbones"][name] = compare(name, X, y, settings, device, product["flop_per_second"])
        yield found
    yield found | {"xgboost": boosting(y, settings, device)}


def table(found: dict[str, Any]) -> str:
    """Return what was measured last as text; rates with a star had a spread over 10 %."""
    if "xgboost" in found:
        return f"XGBoost, s: {json.dumps(found['xgboost'])}"
    name, last = list(found["backbones"].items())[-1]
    rate = found["matrix_product"]["flop_per_second"] / 1e12
    lines = [f"\n{name}: {last['forward_gflop']:.2f} GFLOP, device {found['made']['device']} at {rate:.1f} TFLOP/s"]
    lines.append(f"  {'':<32}{'ours':>12}{'timm-style':>12}{'ratio':>8}")
    for key in COMPARED:
        ours, theirs = (_cell(last[side], key) for side in ("ours", "timm_style"))
        lines.append(f"  {key:<32}{ours:>12}{theirs:>12}{_cell(last['ratio'], key):>8}")
    lines += [
        f"  {key:<32}{_cell(last['frozen'], key):>12}" for key in ("frozen_images_per_second", "frozen_start_seconds")
    ]
    return "\n".join(lines)


def pictures(settings: Settings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a blob at each class's place: (n, side, side) uint8; one or more classes each, (n, classes) int8."""
    n, classes, side = settings.images, settings.classes, settings.side
    y = np.eye(classes, dtype=bool)[rng.permutation(n) % classes] | (rng.random((n, classes)) < 0.02)
    angle = 2 * np.pi * np.arange(classes) / classes
    places = 0.5 + 0.35 * np.stack([np.sin(angle), np.cos(angle)])[:, :, None]  # (2, classes, 1)
    rows, columns = np.exp(-(((np.arange(side) / side - places) / 0.08) ** 2)).astype(np.float32)  # (classes, side)
    blobs = (rows[:, :, None] * columns[:, None]).reshape(classes, -1)
    grey = (y.astype(np.float32) @ blobs * 200).clip(0, 200).astype(np.uint8).reshape(n, side, side)
    return grey + rng.integers(0, 50, grey.shape, dtype=np.uint8), y.astype(np.int8)


def fold(X: np.ndarray, y: np.ndarray, k: int, folds: int) -> Part:
    """Training and validation part of a fold; with five folds about 68 and 12 % of the images, as `bench run` cuts them."""
    rest = np.flatnonzero(np.arange(len(X)) % folds != k)
    valid = np.arange(len(rest)) % 7 == 0
    return X[rest[~valid]], y[rest[~valid]], X[rest[valid]], y[rest[valid]]


def matrix_product(device: torch.device) -> dict[str, Any]:
    """Rate of the product of two square matrices, in the number format that training uses here; the best of ten."""
    side, products = (8192, 20) if device.type == "cuda" else (1024, 5)
    a = torch.randn(side, side, device=device, generator=torch.Generator(device).manual_seed(0))
    with torch.inference_mode(), autocast(device):
        a = a.to((a @ a).dtype)
        best = min(seconds_of(lambda: [a @ a for _ in range(products)], device) for _ in range(10))
    return {"side": side, "format": str(a.dtype), "flop_per_second": 2 * side**3 * products / best}


def compare(
    name: str, X: np.ndarray, y: np.ndarray, settings: Settings, device: torch.device, peak: float
) -> dict[str, Any]:
    """One backbone: both sides in turns, their ratios, and the frozen encoder; `peak` in FLOP/s."""
    runs: dict[str, list[Run]] = {"ours": [], "timm_style": []}
    for k in range(settings.folds):
        ours, theirs = _ours(name, settings, device), TimmStyle(name, settings, device)
        for side, model in (("ours", ours), ("timm_style", theirs)):
            runs[side].append(trained(model, fold(X, y, k, settings.folds), k, device))
    predicted = _in_turns([lambda: ours.predict_proba(X), theirs.predictor(X)], settings.repeats, device)
    utilisation = forward_flop(name, settings.side) / peak
    found: dict[str, Any] = {"forward_gflop": utilisation * peak / 1e9}
    for (side, done), seconds in zip(runs.items(), predicted, strict=True):
        found[side] = _rate("train", [speed for run in done for speed in run.speeds[1:] or run.speeds], 3 * utilisation)
        found[side] |= _rate("predict", [len(X) / s for s in seconds], utilisation) | _costs(done, settings.epochs)
    found["ratio"] = {key: _ratio(found["ours"][key], found["timm_style"][key]) for key in COMPARED}
    encoder = Frozen(name, start="random", device=device.type)
    (seconds,) = _in_turns([lambda: encoder.encode(X)], settings.repeats, device)
    start = {"frozen_start_seconds": seconds_of(lambda: encoder.encode(X[:1]), device)}  # part of each call
    return found | {"frozen": _rate("frozen", [len(X) / s for s in seconds], utilisation) | start}


def forward_flop(name: str, side: int) -> int:
    """Operations of a forward pass of one image, a multiplication and an addition being two."""
    network = build_backbone(name).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, side, side))
    return counter.get_total_flops()


@dataclass(frozen=True)
class Run:
    """What one fit took."""

    n: int
    seconds: float
    speeds: list[float]  # training images/s of each epoch
    later: float  # seconds of an epoch after the first, validation included; 0 where all epochs were measured
    peak_memory: float  # MB
    joules: float | None

    def whole_seconds(self, epochs: int) -> float:
        """Seconds of so many epochs."""
        return self.seconds + (epochs - len(self.speeds)) * self.later


def trained(model: Any, part: Part, seed: int, device: torch.device) -> Run:
    """Fit a model under the clock."""
    held, joules = _held_memory(device), energy_counter(device)
    before = joules() if joules else 0.0
    seconds = seconds_of(lambda: model.fit(*part, seed), device)
    taken = joules() - before if joules else None
    n, records = len(part[0]), model.history_
    speeds = [record.get("images", n) / record["seconds"] for record in records]
    later = mean(record.get("whole_seconds", 0.0) for record in records[1:] or records)
    return Run(n, seconds, speeds, later, _peak_memory(device) - held, taken)


def energy_counter(device: torch.device) -> Callable[[], float] | None:
    """Reads the joules that the whole board has taken so far (NVML, from Volta on), or None where there is no such counter."""
    if device.type == "cpu":
        return None
    with suppress(OSError):
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        board, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()

        def read() -> float:
            if nvml.nvmlDeviceGetTotalEnergyConsumption(board, ctypes.byref(millijoules)):
                raise OSError("NVML's energy counter does not answer")
            return millijoules.value / 1000

        if not nvml.nvmlInit_v2() and not nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(board)):
            read()
            return read
    return None


def boosting(y: np.ndarray, settings: Settings, device: torch.device) -> dict[str, Any]:
    """Seconds of XGBoost's fit on the CPU and on the GPU, in turns."""
    found: dict[str, Any] = {"cpu": None, "cuda": None, "cpu/cuda": None, "reason": None}
    try:
        import xgboost

        from baselines.boosting import XGBoost
    except ImportError as error:
        return found | {"reason": str(error)}
    kinds = ["cpu", "cuda"] if device.type == "cuda" and xgboost.build_info()["USE_CUDA"] else ["cpu"]
    if len(kinds) < 2:
        found["reason"] = "no CUDA device, or an xgboost without CUDA"
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(y), settings.features)) + 0.3 * y @ rng.normal(size=(y.shape[1], settings.features))
    part = fold(X.astype(np.float32), y, 0, settings.folds)
    works = [lambda kind=kind: XGBoost(device=kind).fit(*part, 0) for kind in kinds]
    found |= dict(zip(kinds, map(median, _in_turns(works, min(3, settings.repeats), device)), strict=True))
    return found | {"cpu/cuda": _ratio(found["cpu"], found["cuda"])}


def _ours(name: str, settings: Settings, device: torch.device) -> FineTune:
    return FineTune(
        name,
        settings.epochs,
        patience=settings.epochs,
        start="random",
        probe_first=False,
        augmentation={},
        side=0,
        batch=settings.batch,
        mirror=False,
        device=device.type,
    )


def _rate(what: str, samples: list[float], utilisation: float) -> dict[str, Any]:
    """Median of images/s, and the share of the device's rate when one image/s takes `utilisation` of it."""
    rate = median(samples)
    return {f"{what}_images_per_second": rate, f"{what}_mfu": rate * utilisation, f"{what}_samples": samples}


def _costs(runs: list[Run], epochs: int) -> dict[str, Any]:
    seconds = sum(run.whole_seconds(epochs) for run in runs)
    images = sum(run.n for run in runs) * epochs
    watts = None if None in [r.joules for r in runs] else sum(r.joules for r in runs) / sum(r.seconds for r in runs)
    return {
        "measured_epochs": len(runs[0].speeds),
        "folds_seconds": seconds,
        "peak_memory_mb": max(run.peak_memory for run in runs),
        "joules_per_1000_images": None if watts is None else watts * seconds / images * 1000,
        "energy_source": "none: no GPU, or no NVML energy counter" if watts is None else "NVML, the whole board",
    }


def _in_turns(works: list[Callable[[], Any]], repeats: int, device: torch.device) -> list[list[float]]:
    """Seconds of each work, after each was done once."""
    for work in works:
        work()
    rounds = [[seconds_of(work, device) for work in works] for _ in range(repeats)]
    return [list(seconds) for seconds in zip(*rounds, strict=True)]


def _held_memory(device: torch.device) -> float:
    """MB that are taken on the GPU; its peak counts from here on. On a CPU 0."""
    if device.type == "cpu":
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 1e6


def _peak_memory(device: torch.device) -> float:
    """MB on the GPU at most; on a CPU the process's high-water mark, which is of both sides."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours / theirs


def _cell(found: dict[str, Any], key: str) -> str:
    """A number with three or more digits; with a star where the middle half of its samples spreads over more than 10 %."""
    value = found[key]
    if value is None:
        return "-"
    low, middle, high = np.percentile(found.get(f"{key.split('_')[0]}_samples", [1.0]), (25, 50, 75))
    star = "*" if key.endswith("per_second") and high - low > 0.1 * middle else ""
    return f"{value:,.0f}{star}" if value >= 100 else f"{value:.3g}{star}"


def _made(device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "timm")},
        "cuda": torch.version.cuda if cuda else None,
        "memory": "the CUDA allocator's peak above its start"
        if cuda
        else "the process's high-water mark, of both sides",
    }


def _arguments() -> tuple[Settings, Path]:
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    for field in fields(Settings):
        many = {"nargs": "+", "type": str} if field.name == "backbones" else {"type": type(field.default)}
        parser.add_argument(f"--{field.name.replace('_', '-')}", help=f"default {field.default}", **many)
    parser.add_argument("--quick", action="store_true", help=f"a short one: {QUICK}")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    given = vars(parser.parse_args())
    out, quick = given.pop("out"), given.pop("quick", False)
    return replace(Settings(), **((QUICK if quick else {}) | given)), out


if __name__ == "__main__":
    main()
