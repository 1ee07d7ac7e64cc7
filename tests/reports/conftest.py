"""Run folders on disk, small but real, with generated predictions."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from reports.runs.results import Results, load

HOSTILE = (
    "<script>alert(1)</script>",
    "{{7*7}}",
    "=cmd|'/c calc'!A0",
    r"50% \input{x} & _#$ {}",
    "</style>" + "Wide" * 40,
)
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
MODELS = {
    "prior": ("dummy", 0.0),
    "hog-svm": ("classical", 1.6),
    "lbp-xgboost": ("classical", 1.2),
    "efficientnet-finetune": ("deep", 2.4),
    "fusion-svm": ("fusion", 2.6),
    "resnet18-finetune": ("deep", 0.0),
    "xception-finetune": ("deep", 2.0),
    "convnext-tiny-finetune": ("deep", 0.0),
}
SKIPPED, FAILED, MISSING = "resnet18-finetune", "xception-finetune", "convnext-tiny-finetune"


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Build a run folder: `make_run(task=..., classes=...)` -> its path."""

    def make(task: str = "multilabel", *, classes: tuple[str, ...] | None = None, **settings) -> Path:
        names = classes or ("Hand", "Wrist", "Knee", "Chest", "Rare", *HOSTILE)
        return write_run(tmp_path / "runs" / f"{task}-quick", task, names, **settings)

    return make


@pytest.fixture(params=["multilabel", "multiclass"])
def results(request: pytest.FixtureRequest, make_run: Callable[..., Path]) -> Results:
    """A loaded run of each task."""
    return load(make_run(request.param))


def write_run(
    root: Path,
    task: str,
    classes: tuple[str, ...],
    *,
    n_images: int = 180,
    folds: int = 3,
    repeats: int = 1,
    models: dict[str, tuple[str, float]] = MODELS,
    synthetic: bool = False,
    seed: int = 0,
) -> Path:
    """Write a whole run folder; the class "Rare" occurs in two images of one patient."""
    rng = np.random.default_rng(seed)
    truth = _truth(rng, n_images, classes, task)
    image_id = np.array([f"image-{i:04d}" for i in range(n_images)])
    group = np.array([f"patient-{i // 2}" for i in range(n_images)])
    root.mkdir(parents=True)
    _write_json(root / "run.json", _description(task, classes, n_images, folds, repeats, models, synthetic))
    _manifest(image_id, group, truth, classes).to_parquet(root / "manifest.parquet")
    parts = {(r, f): _parts(group, r, f, folds) for r in range(repeats) for f in range(folds)}
    splits = [
        pd.DataFrame({"image_id": image_id, "repeat": r, "fold": f, "part": part}) for (r, f), part in parts.items()
    ]
    pd.concat(splits).to_parquet(root / "splits.parquet")
    for model, (family, signal) in models.items():
        for (repeat, fold), part in parts.items():
            if model != MISSING:
                probability = _probability(rng, truth, signal, task)
                _write_cell(root, model, family, repeat, fold, image_id, part, truth, probability, classes)
    _write_samples(root, image_id, truth, classes)
    pd.DataFrame({"image_id": image_id, "webp": [_picture(rng) for _ in image_id]}).to_parquet(
        root / "thumbnails.parquet"
    )
    return root


def _picture(rng):
    return cv2.imencode(".webp", rng.integers(0, 256, (16, 16), np.uint8))[1].tobytes()


def _truth(rng, n_images, classes, task):
    common = [k for k, label in enumerate(classes) if label != "Rare"]
    truth = np.zeros((n_images, len(classes)), dtype=np.int8)
    truth[np.arange(n_images), rng.choice(common, n_images)] = 1
    if task == "multilabel":
        several = rng.random(n_images) < 0.3
        truth[np.flatnonzero(several), rng.choice(common, several.sum())] = 1
    if "Rare" in classes:
        truth[:2] = np.array(classes) == "Rare"
    return truth


def _probability(rng, truth, signal, task):
    logits = 2.2 * signal * truth + rng.normal(size=truth.shape) * (signal > 0) - 2
    if task == "multiclass":
        weights = np.exp(logits)
        return weights / weights.sum(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-logits))


def _parts(group, repeat, fold, folds):
    number = np.array(
        [int(hashlib.md5(f"{repeat}{name}".encode(), usedforsecurity=False).hexdigest(), 16) for name in group]
    )
    return np.select([number % folds == fold, number % folds == (fold + 1) % folds], ["test", "valid"], "train")


def _manifest(image_id, group, truth, classes):
    names = np.array(classes)
    table = pd.DataFrame(
        {
            "image_id": image_id,
            "file": [f"images/{name}.png" for name in image_id],
            "labels": [list(names[row == 1]) for row in truth],
            "group": group,
            "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in image_id],
            "pixels_sha256": [hashlib.sha256(f"pixels of {name}".encode()).hexdigest() for name in image_id],
            "width": 512,
            "height": 640,
            "mode": "L",
            "grey_mean": 96.0,
            "grey_sd": 40.0,
            "status": "ok",
            "reason": None,
        }
    )
    broken = {"image_id": "broken", "file": "images/<b>cut.png", "labels": [], "group": "patient-x", "sha256": "0" * 64}
    broken |= {
        "pixels_sha256": "",
        "grey_mean": np.nan,
        "grey_sd": np.nan,
        "width": 0,
        "height": 0,
        "mode": "",
        "status": "excluded",
        "reason": "truncated: 120 of 4,096 bytes",
    }
    return pd.concat([table, pd.DataFrame([broken])], ignore_index=True)


def _description(task, classes, n_images, folds, repeats, models, synthetic):
    suite = {
        "name": "quick",
        "digest": "a" * 64,
        "preprocessing": {"size": 224, "crop": True},
        "cv": {"folds": folds, "repeats": repeats},
        "models": {
            name: {
                "family": family,
                "encoders": [{"class": "baselines.hog:HOG"}],
                "head": {},
                "description": f"{name}.",
            }
            for name, (family, _) in models.items()
        },
    }
    data = {
        "name": "generated",
        "title": "Generated X-ray body parts",
        "synthetic": synthetic,
        "task": task,
        "classes": list(classes),
        "at_least_one": True,
        "n_images": n_images,
        "n_groups": (n_images + 1) // 2,
        "group_noun": "patient",
        "n_excluded": 1,
        "licence": "CC0",
        "citation": "@misc{generated, title={Generated}, url={https://example.org}}",
        "digest": "b" * 64,
        "layout": "kaggle",
    }
    environment = {"python": "3.11.7", "platform": "Linux", "cpu": "AMD EPYC", "cores": 2, "memory_gb": 23.4}
    environment |= {"gpu": None, "threads": 2, "packages": {"numpy": "2.4.6", "scikit-learn": "1.7.2"}}
    return {
        "schema": 1,
        "run_id": "generated-quick-3f2a9c1b",
        "created": "2026-11-23T15:40:00+00:00",
        "xraybench": "0.1.0",
        "command": "bench run --all --suite quick --data generated",
        "seed": 0,
        "device": "cpu",
        "suite": suite,
        "data": data,
        "splits": {"digest": "c0ffee" * 10, "folds": folds, "repeats": repeats},
        "pixels": {"key": "k", "seconds": 12.3, "n_images": n_images, "cached": False, "side": 224},
        "environment": environment,
    }


def _write_cell(root, model, family, repeat, fold, image_id, part, truth, probability, classes):
    folder = root / "cells" / model / f"r{repeat}-f{fold}"
    folder.mkdir(parents=True)
    cell = _cell(model, family, repeat, fold, part)
    if cell["status"] == "done":
        kept = part != "train"
        columns = {f"truth/{label}": truth[kept, k] for k, label in enumerate(classes)}
        columns |= {f"probability/{label}": probability[kept, k] for k, label in enumerate(classes)}
        path = folder / "predictions.parquet"
        pd.DataFrame({"image_id": image_id[kept], "part": part[kept], **columns}).to_parquet(path)
        cell["checksums"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    _write_json(folder / "cell.json", cell)


def _cell(model, family, repeat, fold, part):
    status, reason, traceback = "done", None, None
    if model == SKIPPED:
        status, reason = "skipped", "no weights for resnet18: give --weights-dir"
    if model == FAILED and fold > 0:
        status, reason, traceback = "failed", "MemoryError: <b>out of memory</b>", "Traceback ...\nMemoryError"
    epochs = range(1, 7) if family == "deep" and status == "done" else ()
    return {
        "schema": 1,
        "model": model,
        "family": family,
        "repeat": repeat,
        "fold": fold,
        "status": status,
        "reason": reason,
        "traceback": traceback,
        "n_train": int((part == "train").sum()),
        "n_valid": int((part == "valid").sum()),
        "n_test": int((part == "test").sum()),
        "timings": {
            "preprocess_seconds": 12.3,
            "encode": [] if family == "dummy" else [{"encoder": "HOG(cell=16)", "seconds": 1.2, "n_images": len(part)}],
            "fit_seconds": {"dummy": 0.01, "classical": 3.4, "fusion": 5.0, "deep": 88.0}[family] + fold / 10,
            "predict_seconds": [0.011, 0.010, 0.015 if family == "deep" else 0.0105],
            "predict_images": int((part == "test").sum()),
        },
        "peak_memory_bytes": 812_345_678,
        "n_parameters": 12_345,
        "model_bytes": 45_678,
        "chosen": {"C": 10.0, "gamma": 1.0},
        "history": [
            {"epoch": e, "train_loss": 1 / e, "valid_loss": 1 / e + 0.1, "valid_score": 1 - 0.6 / e, "seconds": 11.2}
            for e in epochs
        ],
        "warnings": ["shared the machine with another run"] if model == "hog-svm" and fold == 0 else [],
        "checksums": {},
    }


def _write_samples(root, image_id, truth, classes):
    folder = root / "samples"
    folder.mkdir()
    for name in ("0-before.png", "0-after.png", "0-aug0.png"):
        (folder / name).write_bytes(PIXEL)
    labels = [classes[k] for k in np.flatnonzero(truth[0])]
    entry = {"image_id": image_id[0], "labels": labels, "before": "0-before.png", "after": "0-after.png"}
    _write_json(folder / "samples.json", [entry | {"augmented": ["0-aug0.png"]}])


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
