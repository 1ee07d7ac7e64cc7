"""Our splitter beside those that people use, on UNIFESP's labels: how even the folds are, and what leaks. Run with -s."""

import time
from pathlib import Path

import numpy as np
import pytest
from radiographs.sources import open_source
from radiographs.splits import GroupedMultilabelKFold

pytestmark = [pytest.mark.slow, pytest.mark.shared]
FOLDS, SEEDS = 5, range(10)


def ours(y: np.ndarray, groups: np.ndarray, seed: int) -> list[np.ndarray]:
    return [test for _, test in GroupedMultilabelKFold(FOLDS, seed=seed).split(None, y, groups)]


def stratified_group(y: np.ndarray, groups: np.ndarray, seed: int) -> list[np.ndarray]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    return [test for _, test in splitter.split(y, y.argmax(axis=1), groups)]


def group_only(y: np.ndarray, groups: np.ndarray, seed: int) -> list[np.ndarray]:
    from sklearn.model_selection import GroupKFold

    return [test for _, test in GroupKFold(FOLDS, shuffle=True, random_state=seed).split(y, None, groups)]


def iterative(y: np.ndarray, groups: np.ndarray, seed: int) -> list[np.ndarray]:  # noqa: ARG001 - it knows no groups
    package = pytest.importorskip("iterstrat.ml_stratifiers")
    splitter = package.MultilabelStratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return [test for _, test in splitter.split(y, y)]


def test_label_shares_and_leaks(shared: Path) -> None:
    items = open_source(shared / "data/unifesp").items
    classes = sorted({label for labels in items["labels"] for label in labels})
    y = np.array([[label in labels for label in classes] for labels in items["labels"]], dtype=np.int8)
    groups = items["group"].to_numpy(str)
    print(f"\n{'splitter':28} {'deviation':>10} {'empty':>6} {'leaking':>8} {'seconds':>8}")
    found = {}
    for splitter in (ours, stratified_group, group_only, iterative):
        deviation, empty, leaking, start = [], [], [], time.perf_counter()
        for seed in SEEDS:
            tests = splitter(y, groups, seed)
            share = np.array([y[test].sum(axis=0) for test in tests]) / y.sum(axis=0)  # (folds, n_classes)
            deviation.append(np.abs(share - 1 / FOLDS).mean())
            empty.append((share == 0).sum())
            leaking.append(sum(len(set(groups[t]) & set(np.delete(groups, t))) for t in tests) / FOLDS)
        found[splitter.__name__] = (np.mean(deviation), np.mean(empty), np.mean(leaking))
        seconds = (time.perf_counter() - start) / len(SEEDS)
        print(
            f"{splitter.__name__:28} {np.mean(deviation):10.4f} {np.mean(empty):6.1f} {np.mean(leaking):8.1f} {seconds:8.2f}"
        )
    assert found["ours"][2] == 0
    assert found["ours"][0] < min(found["stratified_group"][0], found["group_only"][0])
    assert found["ours"][1] <= min(found["stratified_group"][1], found["group_only"][1])


def test_a_million_images_take_seconds() -> None:
    rng = np.random.default_rng(0)
    n = 1_000_000
    y = np.zeros((n, 22), np.int8)
    y[np.arange(n), rng.integers(22, size=n)] = 1
    y[rng.integers(n, size=n // 12), rng.integers(22, size=n // 12)] = 1
    groups = rng.integers(100_000, size=n)
    start = time.perf_counter()
    fold = GroupedMultilabelKFold(FOLDS).assign(y, groups)
    share = np.array([y[fold == k].sum(axis=0) for k in range(FOLDS)]) / y.sum(axis=0)
    print(
        f"\n1,000,000 images, 100,000 groups, 22 labels: {time.perf_counter() - start:.1f} s; largest deviation {np.abs(share - 0.2).max():.5f}"
    )
    assert np.abs(share - 0.2).max() < 0.001
