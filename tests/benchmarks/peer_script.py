"""What a researcher writes instead of using this product: scikit-image, GridSearchCV, XGBoost and a plain torch loop.

It imports nothing of this project, reads the manifest and the splits of a finished run folder, and trains the ten models of the quick
suite on the same folds: ``python tests/benchmarks/peer_script.py RUN --data FOLDER --weights FILE --out peer.json``. Its seconds stand
beside those of the same models in the suite ``standard`` (its ``squeezenet-last-stage`` beside the script's ``squeezenet-finetune``). A cell's seconds hold no features: these are stages, HOG and LBP made once before the
folds, SqueezeNet's once in each fold, as tutorials do.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from PIL import Image, ImageOps
from safetensors.torch import load_file
from skimage.feature import hog, local_binary_pattern
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler
from sklearn.svm import SVC
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import SqueezeNet, squeezenet1_0
from torchvision.transforms import v2
from xgboost import XGBClassifier

SIDE = 224
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PACKAGES = ("joblib", "numpy", "pillow", "scikit-image", "scikit-learn", "torch", "torchvision", "xgboost")

Rows = dict[str, np.ndarray]
"""The rows of each part of a fold: train, valid, test."""
Predict = Callable[[np.ndarray], np.ndarray]
"""Features to scores (n, n_classes); a score over 0 names the class."""
Learn = Callable[[np.ndarray, np.ndarray, Rows], Predict]


def main() -> None:
    """Train each model on each fold, write the record after each model, print the table."""
    arguments, began = parse_arguments(), perf_counter()
    recipes = all_recipes(arguments.weights, arguments.epochs)
    names = arguments.models.split(",") if arguments.models else list(recipes)
    study = read_study(arguments)
    record = study_facts(study)
    for name in names:
        inputs, learn = recipes[name]
        for fold in study.folds:
            record["cells"].append({"model": name, **run_cell(study, fold, inputs, learn)})
        record["total_seconds"] = perf_counter() - began
        arguments.out.write_text(json.dumps(record, indent=1))
    print_table(record)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run folder: its manifest and splits are used")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--weights", type=Path, required=True, help="SqueezeNet 1.0 as .safetensors or .pth")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--models", help="names with commas between; all if left out")
    parser.add_argument("--folds", help="numbers with commas between; all if left out")
    parser.add_argument("--epochs", type=int, default=2, help="of fine-tuning")
    parser.add_argument("--limit", type=int, help="use so many images, drawn at random")
    return parser.parse_args()


def all_recipes(weights: Path, epochs: int) -> dict[str, tuple[tuple[str, ...], Learn]]:
    """Name each model's inputs and how it learns."""
    scaled_svm = partial(fit_svm, scaled=True)
    return {
        "hog-svm": (("hog",), fit_svm),
        "lbp-svm": (("lbp",), fit_svm),
        "hog-lbp-svm": (("hog", "lbp"), scaled_svm),
        "hog-xgboost": (("hog",), fit_xgboost),
        "lbp-xgboost": (("lbp",), fit_xgboost),
        "hog-lbp-xgboost": (("hog", "lbp"), fit_xgboost),
        "squeezenet-probe": (("squeezenet",), fit_logistic),
        "squeezenet-svm": (("squeezenet",), scaled_svm),
        "fusion-svm": (("squeezenet", "hog", "lbp"), scaled_svm),
        "squeezenet-finetune": (("pixels",), partial(finetune, weights=weights, epochs=epochs)),
    }


@dataclass
class Study:
    """The pictures (n, 224, 224), their labels (n, n_classes), the folds, and the features made so far."""

    pixels: np.ndarray
    targets: np.ndarray
    folds: dict[int, Rows]
    weights: Path
    stages: dict[str, float]
    features: dict[str, np.ndarray] = field(default_factory=dict)

    def inputs(self, names: tuple[str, ...], fold: int) -> np.ndarray:
        """Join the named features of all images; those not made yet are made now, as a stage."""
        return self.pixels if names == ("pixels",) else np.hstack([self._feature(name, fold) for name in names])

    def _feature(self, name: str, fold: int) -> np.ndarray:
        makers: dict[str, Callable[[], np.ndarray]] = {
            "hog": lambda: on_all_cores(hog_vector, self.pixels),
            "lbp": lambda: on_all_cores(lbp_histograms, self.pixels),
            "squeezenet": lambda: squeezenet_features(self.pixels, self.folds[fold], self.weights),
        }
        key = f"squeezenet-fold-{fold}" if name == "squeezenet" else name
        if key not in self.features:
            with timed(self.stages, key):
                self.features[key] = makers[name]()
        return self.features[key]


def read_study(arguments: argparse.Namespace) -> Study:
    """Read the run's manifest and first repeat, and decode the pictures."""
    manifest = pd.read_parquet(arguments.run / "manifest.parquet").query("status == 'ok'")
    if arguments.limit:
        manifest = manifest.sample(min(arguments.limit, len(manifest)), random_state=0)
    splits = pd.read_parquet(arguments.run / "splits.parquet").query("repeat == 0")
    wanted = [int(fold) for fold in arguments.folds.split(",")] if arguments.folds else sorted(splits["fold"].unique())
    row_of = pd.Series(np.arange(len(manifest)), index=manifest["image_id"])
    splits = splits[splits["image_id"].isin(row_of.index)]
    parts = {int(fold): dict(list(splits[splits["fold"] == fold].groupby("part")["image_id"])) for fold in wanted}
    folds = {fold: {part: row_of[ids].to_numpy() for part, ids in by_part.items()} for fold, by_part in parts.items()}
    stages: dict[str, float] = {}
    with timed(stages, "decode"):
        pixels = np.stack([decode(arguments.data / file) for file in manifest["file"]])
    targets = MultiLabelBinarizer().fit_transform(manifest["labels"])
    return Study(pixels, targets, folds, arguments.weights, stages)


def decode(file: Path) -> np.ndarray:
    """Read a picture as grey uint8 (224, 224), padded to a square."""
    with Image.open(file) as image:
        if image.mode.startswith(("I", "F")):
            deep = np.asarray(image, dtype=np.float32)
            image = Image.fromarray((255 * (deep - deep.min()) / max(np.ptp(deep), 1)).astype(np.uint8))
        image = image.convert("L")
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(ImageOps.pad(image, (SIDE, SIDE), Image.Resampling.BILINEAR))


def on_all_cores(encode: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Encode each picture by itself: float32 (n, d)."""
    return np.stack(Parallel(n_jobs=-1)(delayed(encode)(image) for image in pixels))


def hog_vector(image: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients of Dalal and Triggs (2005)."""
    vector = hog(image, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(2, 2), block_norm="L2-Hys")
    return vector.astype(np.float32)


def lbp_histograms(image: np.ndarray) -> np.ndarray:
    """Uniform local binary patterns at two radii, the share of each code in 8 x 8 regions."""
    return np.concatenate([region_shares(image, points, radius) for points, radius in ((8, 1), (24, 3))])


def region_shares(image: np.ndarray, points: int, radius: int) -> np.ndarray:
    """Count the codes in each of 8 x 8 regions."""
    codes = local_binary_pattern(image, points, radius, method="uniform").astype(np.int64)
    regions = codes.reshape(8, SIDE // 8, 8, SIDE // 8).swapaxes(1, 2).reshape(64, -1)  # (64, 28 * 28)
    counts = [np.bincount(region, minlength=points + 2) for region in regions]
    return (np.concatenate(counts) / regions.shape[1]).astype(np.float32)


def fit_svm(X: np.ndarray, y: np.ndarray, rows: Rows, *, scaled: bool = False) -> Predict:
    """One RBF support vector machine per class; C and gamma chosen on the validation part."""
    train = StandardScaler().fit_transform(X[rows["train"]]) if scaled else X[rows["train"]]
    scale = 1 / (train.shape[1] * float(train.var()))  # gamma="scale"
    grid = {"C": (3, 10), "gamma": (0.5 * scale, scale, 2 * scale)}
    return search(SVC(kernel="rbf"), grid, X, y, rows, scaled=scaled)


def fit_logistic(X: np.ndarray, y: np.ndarray, rows: Rows) -> Predict:
    """One logistic regression per class; C chosen on the validation part."""
    return search(LogisticRegression(max_iter=1000), {"C": (0.001, 0.01, 0.1, 1, 10)}, X, y, rows, scaled=True)


def search(classifier: Any, grid: dict, X: np.ndarray, y: np.ndarray, rows: Rows, *, scaled: bool) -> Predict:
    """Search the grid on all cores, then fit the best on the training part."""
    train, seen = rows["train"], y[rows["train"]].any(axis=0)
    scaler = StandardScaler() if scaled else "passthrough"
    pipeline = Pipeline([("scale", scaler), ("classes", OneVsRestClassifier(classifier))])
    grid = {f"classes__estimator__{name}": values for name, values in grid.items()}
    scoring = partial(searched_f1, seen=seen)
    tuned = GridSearchCV(pipeline, grid, scoring=scoring, cv=[(train, rows["valid"])], n_jobs=-1, refit=False).fit(X, y)
    best = pipeline.set_params(**tuned.best_params_, classes__n_jobs=-1).fit(X[train], y[train])
    return partial(decision_values, best, seen=seen)


def searched_f1(model: Pipeline, X: np.ndarray, y: np.ndarray, seen: np.ndarray) -> float:
    """Score a candidate as the test part is scored."""
    return image_f1(y, decision_values(model, X, seen))


def decision_values(model: Pipeline, X: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Signed values (n, n_classes); a class without a training image, for which scikit-learn says 0, is never named."""
    return np.where(seen, model.decision_function(X), -np.inf)


def fit_xgboost(X: np.ndarray, y: np.ndarray, rows: Rows) -> Predict:
    """Gradient-boosted trees, all parameters left as they come."""
    model = XGBClassifier(n_estimators=100, n_jobs=-1, random_state=0).fit(X[rows["train"]], y[rows["train"]])
    return lambda features: model.predict_proba(features) - 0.5


def finetune(pixels: np.ndarray, y: np.ndarray, rows: Rows, *, weights: Path, epochs: int) -> Predict:
    """Train the whole network; the epoch with the lowest validation loss is kept."""
    torch.manual_seed(0)
    network, best, lowest = multilabel_squeezenet(weights, y.shape[1]), None, np.inf
    optimizer, criterion = torch.optim.AdamW(network.parameters(), lr=3e-4), nn.BCEWithLogitsLoss()
    batches = loader(pixels[rows["train"]], y[rows["train"]], augment=True)
    valid_targets = torch.from_numpy(y[rows["valid"]]).float()
    for _ in range(epochs):
        train_epoch(network, batches, optimizer, criterion)
        loss = criterion(torch.from_numpy(forward(network, pixels[rows["valid"]])), valid_targets).item()
        if loss < lowest:
            best, lowest = copy.deepcopy(network.state_dict()), loss
    network.load_state_dict(best)
    return partial(forward, network)


def train_epoch(
    network: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer, criterion: nn.Module
) -> None:
    """Go through the training images once."""
    network.train()
    for images, targets in batches:
        optimizer.zero_grad()
        criterion(network(images.to(DEVICE)), targets.to(DEVICE)).backward()
        optimizer.step()


class Radiographs(Dataset):
    """Decoded pictures as normalised tensors (3, 224, 224), augmented or not, with their labels."""

    def __init__(self, pixels: np.ndarray, targets: np.ndarray, *, augment: bool) -> None:
        """Keep the arrays and the transforms."""
        self.pixels, self.targets = torch.from_numpy(pixels), torch.from_numpy(targets).float()
        jitter = [
            v2.RandomAffine(degrees=10, translate=(0.05, 0.05), scale=(0.9, 1.1)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.1, contrast=0.1),
        ]
        normalise = v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
        to_network = [v2.Grayscale(num_output_channels=3), v2.ToDtype(torch.float32, scale=True), normalise]
        self.transform = v2.Compose([*(jitter if augment else []), *to_network])

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.pixels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give a picture and its labels."""
        return self.transform(self.pixels[row][None]), self.targets[row]


def loader(pixels: np.ndarray, targets: np.ndarray, *, augment: bool) -> DataLoader:
    """Load batches of 32: with a worker on each core to augment, without workers where there is next to nothing to do."""
    images, workers = Radiographs(pixels, targets, augment=augment), CORES if augment else 0
    return DataLoader(images, batch_size=32, shuffle=augment, num_workers=workers, persistent_workers=augment)


def squeezenet_features(pixels: np.ndarray, rows: Rows, weights: Path) -> np.ndarray:
    """Run the frozen network over each part, its last activations averaged: float32 (n, 512)."""
    network = nn.Sequential(pretrained(weights).features, nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(DEVICE)
    features = np.zeros((len(pixels), 512), dtype=np.float32)
    for part in rows.values():
        features[part] = forward(network, pixels[part])
    return features


@torch.no_grad()
def forward(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """Run the network without gradients: float32 (n, d)."""
    network.eval()
    batches = loader(pixels, np.zeros(len(pixels)), augment=False)
    return np.concatenate([network(images.to(DEVICE)).cpu().numpy() for images, _ in batches])


def multilabel_squeezenet(weights: Path, n_classes: int) -> SqueezeNet:
    """Give the network a new last layer, without the ReLU that would keep every logit above 0."""
    network = pretrained(weights)
    network.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, n_classes, kernel_size=1), nn.AdaptiveAvgPool2d(1))
    return network.to(DEVICE)


def pretrained(weights: Path) -> SqueezeNet:
    """Build SqueezeNet 1.0 with its ImageNet weights."""
    network = squeezenet1_0()
    safe = weights.suffix == ".safetensors"
    network.load_state_dict(load_file(weights) if safe else torch.load(weights, weights_only=True))
    return network


def run_cell(study: Study, fold: int, names: tuple[str, ...], learn: Learn) -> dict[str, Any]:
    """Train and test a model on a fold, timed."""
    rows, X = study.folds[fold], study.inputs(names, fold)
    began = perf_counter()
    predict = learn(X, study.targets, rows)
    fitted = perf_counter()
    scores = predict(X[rows["test"]])
    predicted = perf_counter()
    f1 = image_f1(study.targets[rows["test"]], scores)
    return {"fold": fold, "fit_seconds": fitted - began, "predict_seconds": predicted - fitted, "f1": f1}


def image_f1(y: np.ndarray, scores: np.ndarray) -> float:
    """Mean over the images of each image's F1: every class over 0 is named, the top class if none is."""
    named = scores > 0
    none = ~named.any(axis=1)
    named[none, scores[none].argmax(axis=1)] = True
    return float(f1_score(y, named, average="samples", zero_division=0))


@contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Keep the seconds that a stage took."""
    began = perf_counter()
    yield
    stages[name] = perf_counter() - began


def study_facts(study: Study) -> dict[str, Any]:
    """Say what ran on what; the stages fill as they are made."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    facts = {"versions": versions, "cores": CORES, "device": DEVICE.type, "n_images": len(study.pixels)}
    return {**facts, "stages": study.stages, "cells": []}


def print_table(record: dict[str, Any]) -> None:
    """Print the mean F1 and the seconds of each model, and the seconds of each stage."""
    cells = pd.DataFrame(record["cells"])
    cells["seconds"] = cells["fit_seconds"] + cells["predict_seconds"]
    print(cells.groupby("model", sort=False).agg(f1=("f1", "mean"), seconds=("seconds", "sum")).round(3).to_string())
    print("stages:", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record["stages"].items()))
    print(f"total: {record['total_seconds']:.1f} s")


if __name__ == "__main__":
    main()
