"""Where the two slowest stages of the suite `quick` spend their time.

python tests/benchmarks/profiles.py finetune UNIFESP WEIGHTS     torch's profiler on one fold of squeezenet-last-stage
py-spy record --native --format raw -o xgboost.txt -- python tests/benchmarks/profiles.py xgboost UNIFESP
python tests/benchmarks/profiles.py shares xgboost.txt           native functions by their share of the samples
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from radiographs.preprocess import Preprocessing
from radiographs.read import read_picture
from radiographs.sources import Hints, open_source
from radiographs.splits import GroupedMultilabelKFold


def data(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels, and the rows of one fold's training and test part."""
    listing = open_source(folder, Hints())
    settings = Preprocessing()
    images = np.stack([settings.apply(read_picture(listing.root / file).grey) for file in listing.items["file"]])
    names = sorted({label for labels in listing.items["labels"] for label in labels})
    y = np.array([[name in labels for name in names] for labels in listing.items["labels"]], np.int8)
    train, test = next(iter(GroupedMultilabelKFold(5, seed=0).split(images, y, listing.items["group"].to_numpy(str))))
    return images, y, train, test


def finetune(folder: Path, weights: Path) -> None:
    import torch

    from deep.activations import Activations
    from deep.laststages import LastStages

    images, y, train, test = data(folder)
    options = {"weights_dir": weights, "offline": True}
    X = Activations("squeezenet1_0", 12, side=160, **options).encode(images)
    head = LastStages("squeezenet1_0", 12, epochs=4, **options)
    head.fit(X[train], y[train], X[test], y[test], 0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        head.fit(X[train], y[train], X[test], y[test], 0)
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    total = sum(times.values())
    print(f"{total / 1e6:.1f} s of operations; the largest:")
    for name, value in sorted(times.items(), key=lambda item: -item[1])[:14]:
        print(f"  {value / total:6.1%}  {name}")


def xgboost(folder: Path) -> None:
    from baselines.boosting import XGBoost
    from baselines.hog import HOG

    images, y, train, test = data(folder)
    X = HOG(cell=32).encode(images)
    mirrored = HOG(cell=32).encode(np.ascontiguousarray(images[:, :, ::-1]))
    both, twice = np.concatenate([X[train], mirrored[train]]), np.tile(y[train], (2, 1))
    XGBoost(threads=2).fit(both, twice, X[test], y[test], 0)


def shares(file: Path) -> None:
    """Innermost functions of py-spy's raw stacks, within XGBoost."""
    counts: Counter[str] = Counter()
    for line in file.read_text(errors="replace").splitlines():
        stack, _, n = line.rpartition(" ")
        if "xgboost" in stack:
            counts[stack.split(";")[-1].split(" (")[0][:110]] += int(n)
    total = sum(counts.values())
    for name, n in counts.most_common(14):
        print(f"  {n / total:6.1%}  {name}")


if __name__ == "__main__":
    {"finetune": finetune, "xgboost": xgboost, "shares": shares}[sys.argv[1]](*map(Path, sys.argv[2:]))
