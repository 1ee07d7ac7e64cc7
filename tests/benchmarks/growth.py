"""How cost grows with the number of images: ``python tests/benchmarks/growth.py make SOURCE OUT --n 60000`` ``... measure SOURCE`` and
``... chart growth.json growth.svg``.

Images beyond those of the source are made of them: turned, shifted, scaled, lit differently and with noise, so that no two have the
same features. A made image keeps its patient, so that folds do not leak.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import altair as alt
import cv2
import numpy as np
import pandas as pd
from radiographs.pixels import Pixels, load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import Hints, open_source
from radiographs.splits import make_splits

from baselines.boosting import XGBoost
from baselines.distances import distances_to_landmarks, squared_distances
from baselines.hog import HOG
from baselines.lbp import LBP
from baselines.selection import best_f1_samples
from baselines.svm import SVM

SIZES = (250, 500, 1000, 2000, 4000, 8000, 16000)
BLOCK = 2048


def make(source: Path, out: Path, n: int) -> None:
    """Write n images as PNG files with a table of files, labels and patients."""
    pixels, rows, images = grown(source, n)
    usable = pixels.usable
    (out / "images").mkdir(parents=True)
    names = [f"images/{k:06d}.png" for k in range(n)]
    table = {
        "file": names,
        "labels": ["|".join(usable["labels"][row]) for row in rows],
        "patient": usable["group"].to_numpy()[rows],
    }
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda k: cv2.imwrite(str(out / names[k]), images(k)), range(n)):
            pass
    pd.DataFrame(table).to_csv(out / "labels.csv", index=False)


def grown(source: Path, n: int) -> tuple[Pixels, np.ndarray, Callable[[int], np.ndarray]]:
    """Pixels of the source, the row that each of n images is made of, and a function that makes one (224, 224) uint8."""
    listing = open_source(source, Hints())
    with tempfile.TemporaryDirectory() as cache:
        pixels = load_pixels(listing, Preprocessing(), Path(cache), workers=2)
        originals = np.array(pixels.images)
    order = np.random.default_rng(0).permutation(len(originals))
    rows = order[np.arange(n) % len(order)]
    return pixels, rows, lambda k: originals[rows[k]] if k < len(order) else another(originals[rows[k]], k)


def another(image: np.ndarray, seed: int) -> np.ndarray:
    """Make another image of one."""
    rng = np.random.default_rng(seed)
    side = image.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-45, 45), rng.uniform(0.6, 1.4))
    turn[:, 2] += rng.uniform(-0.15, 0.15, 2) * side
    warped = cv2.warpAffine(image, turn, (side, side), flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    lit = warped ** rng.uniform(0.7, 1.4) * 255 + rng.normal(0, 3, warped.shape) * (warped > 0)
    return np.clip(lit, 0, 255).astype(np.uint8)


def measure(source: Path, sizes: tuple[int, ...], out: Path) -> None:
    """Time every stage at every size, and compare the exact machine with its approximation at the switch."""
    pixels, rows, image = grown(source, max(sizes))
    with ThreadPoolExecutor() as pool:
        images = np.stack(list(pool.map(image, range(max(sizes)))))
    classes = sorted({label for labels in pixels.usable["labels"] for label in labels})
    truth = np.array([[name in labels for name in classes] for labels in pixels.usable["labels"]], np.int8)[rows]
    groups = pixels.usable["group"].to_numpy(str)[rows]
    found = []
    for n in sizes:
        for row in stages(images[:n], truth[:n], groups[:n]):
            found.append({"n": n, **row})
            print(json.dumps(found[-1]), flush=True)
            out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def stages(images: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Iterator[dict[str, float | str]]:
    """Seconds of every stage, and the F1 of heads, on one fold."""
    n = len(images)
    encoders = {"HOG, 16 x 16 cells": HOG(16), "LBP, 24 points": LBP(24, 3), "HOG, 32 x 32 cells": HOG(32)}
    encoded = {}
    for name, encoder in encoders.items():
        encoder.encode(images[:2])  # compiles, where it has not
        seconds, encoded[name] = clocked(lambda e=encoder: np.concatenate([e.encode(part) for part in blocks(images)]))
        yield {"stage": name, "seconds": seconds}
    ids = [str(k) for k in range(n)]
    seconds, table = clocked(lambda: make_splits(ids, y, groups, folds=5, repeats=1, seed=0))
    yield {"stage": "splits", "seconds": seconds}
    part = table[table["fold"] == 0].set_index("image_id")["part"].reindex(ids).to_numpy(str)
    train, valid, test = (np.flatnonzero(part == name) for name in ("train", "valid", "test"))
    X = encoded["HOG, 16 x 16 cells"]
    if len(train) <= 8000:
        yield machine("SVM, exact", SVM(exact_up_to=10**9), X, y, train, valid, test, len(train))
    if len(train) > 1000:
        yield machine("SVM, Nyström", SVM(exact_up_to=0), X, y, train, valid, test, min(2000, len(train) - 1))
    X = encoded["HOG, 32 x 32 cells"]
    for name, limit in (("XGBoost, all rows", 10**9), ("XGBoost, rows in turns", 10_000)):
        if (limit < len(train)) != (name == "XGBoost, all rows") and len(train) <= 20_000:
            head = XGBoost(rows=limit)
            seconds, _ = clocked(lambda h=head: h.fit(X[train], y[train], X[valid], y[valid], 0))
            yield {"stage": name, "seconds": seconds, "f1": best_f1_samples(head.predict_proba(X[test]), y[test])}


def machine(
    name: str, head: SVM, X: np.ndarray, y: np.ndarray, train: np.ndarray, valid: np.ndarray, test: np.ndarray, m: int
) -> dict[str, float | str]:
    """One fold of a kernel machine with its distances to m training images."""

    def fit() -> np.ndarray:
        if m == len(train):
            D = squared_distances(np.concatenate([X[train], X[valid], X[test]]))[None, :, :m]
        else:
            D = distances_to_landmarks(np.concatenate([X[train], X[valid], X[test]]), X[train[:m]])[None]
        ends = np.cumsum([len(train), len(valid)])
        head.fit(D[:, : ends[0]], y[train], D[:, ends[0] : ends[1]], y[valid], 0)
        return head.predict_proba(D[:, ends[1] :])

    seconds, probability = clocked(fit)
    return {"stage": name, "seconds": seconds, "f1": best_f1_samples(probability, y[test])}


def blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Images as a run encodes them."""
    return (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))


def clocked(call: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result of a call."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def chart(measured: Path, out: Path) -> None:
    """Draw seconds against images, with the slope of each stage in its name, as SVG."""
    table = pd.read_json(measured)
    slopes = {name: slope(rows) for name, rows in table.groupby("stage")}
    table["stage"] = table["stage"].map(lambda name: f"{name}: slope {slopes[name]:.2f}")
    base = alt.Chart(table, title="Cost of each stage of one fold against the number of images")
    lines = base.mark_line(point=True).encode(
        alt.X("n", title="images").scale(type="log"),
        alt.Y("seconds", title="seconds").scale(type="log"),
        alt.Color("stage", title=None).sort(sorted(table["stage"].unique())).legend(labelLimit=400),
    )
    lines.properties(width=560, height=360).save(out)
    for name, value in sorted(slopes.items()):
        print(f"{name:<26} slope {value:.2f}")


def slope(rows: pd.DataFrame) -> float:
    """Slope of log seconds against log n, of the four largest sizes; below, what does not grow weighs too much."""
    last = rows.nlargest(4, "n")
    return float(np.polyfit(np.log(last["n"]), np.log(last["seconds"]), 1)[0]) if len(last) > 1 else float("nan")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("source", type=Path)
    making.add_argument("out", type=Path)
    making.add_argument("--n", type=int, default=60_000)
    measuring = commands.add_parser("measure")
    measuring.add_argument("source", type=Path)
    measuring.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    measuring.add_argument("--out", type=Path, default=Path("growth.json"))
    drawing = commands.add_parser("chart")
    drawing.add_argument("measured", type=Path)
    drawing.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.command == "chart":
        chart(given.measured, given.out)
    elif given.command == "make":
        make(given.source, given.out, given.n)
    else:
        measure(given.source, tuple(given.sizes), given.out)


if __name__ == "__main__":
    main()
