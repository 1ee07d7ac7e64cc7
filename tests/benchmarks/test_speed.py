"""How fast, side by side with what others would use, in one process: ``make bench``.

Ours and theirs take turns; the ratio is the median of the rounds' ratios, with the lowest and the highest. Ours runs on all cores, as it
does in a run, theirs as it comes. A test fails where the results differ, never because of a time. The table is printed at the end.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import skimage.filters
from decision import decided, f1_per_image
from growth import another
from PIL import Image, ImageOps
from radiographs.phantom import Recipe, write_folder
from radiographs.pixels import load_pixels
from radiographs.preprocess import Preprocessing, _denoise
from radiographs.sources import Hints, open_source
from radiographs.splits import make_splits
from skimage.feature import hog, local_binary_pattern
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from baselines.boosting import XGBoost
from baselines.distances import squared_distances
from baselines.hog import HOG
from baselines.lbp import LBP
from baselines.selection import best_f1_samples
from baselines.svm import SVM

pytestmark = pytest.mark.slow

Work = Callable[[], Any]
Compare = Callable[..., tuple[Any, Any]]
PARTS = 22


@pytest.fixture(scope="module", autouse=True)
def lines() -> Iterator[list[str]]:
    """Lines of the table."""
    found: list[str] = []
    yield found
    print("\n".join(["", f"{'':<58} {'ours, ms':>10} {'theirs, ms':>10}    ratio (lowest-highest)", *found]))


@pytest.fixture
def compare(benchmark: Any, lines: list[str]) -> Compare:
    """Run two works in turns, note the ratio of their times (also for ``--benchmark-json``), and return both results."""

    def take_turns(name: str, ours: Work, theirs: Work, rounds: int = 5) -> tuple[Any, Any]:
        ours()
        pairs, results = [], (None, None)
        for _ in range(rounds):
            (first, a), (second, b) = clocked(ours), clocked(theirs)
            pairs.append((first, second))
            results = a, b
        ratios = [second / first for first, second in pairs]
        mine, peer = (1e3 * median(column) for column in zip(*pairs, strict=True))
        spread = f"({min(ratios):.1f}-{max(ratios):.1f})"
        lines.append(f"{name:<58} {mine:>10.1f} {peer:>10.1f} {median(ratios):8.1f} {spread}")
        benchmark.extra_info[name] = {"ours_ms": mine, "theirs_ms": peer, "ratios": ratios}
        if benchmark.stats is None:
            benchmark.pedantic(ours, rounds=1)
        return results

    return take_turns


def clocked(work: Work) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@pytest.fixture(scope="module")
def source(shared: Path) -> Path:
    return shared / "data" / "unifesp"


@pytest.fixture(scope="module")
def images(source: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Real radiographs, (1027, 224, 224) uint8."""
    listing = open_source(source, Hints())
    return np.array(load_pixels(listing, Preprocessing(), tmp_path_factory.mktemp("cache"), workers=2).images)


@pytest.mark.parametrize("cell", [8, 16])
def test_hog(compare: Compare, images: np.ndarray, cell: int) -> None:
    some = images[:60]
    ours, theirs = compare(
        f"HOG, cells of {cell} x {cell}, 60 images",
        lambda: HOG(cell).encode(some),
        lambda: np.stack([hog(image, 9, (cell, cell), (2, 2), block_norm="L2-Hys") for image in some]),
    )
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize(("points", "radius"), [(8, 1), (24, 3)])
def test_lbp(compare: Compare, images: np.ndarray, points: int, radius: int) -> None:
    some, grid = images[:60], 8

    def theirs() -> np.ndarray:
        codes = [local_binary_pattern(image, points, radius, "uniform").astype(int) for image in some]
        regions = np.stack(codes).reshape(len(some), grid, 28, grid, 28).swapaxes(2, 3).reshape(-1, 28 * 28)
        return np.stack([np.bincount(region, minlength=points + 2) for region in regions])

    counts, expected = compare(
        f"LBP, {points} points, radius {radius}, 8 x 8 histograms, 60 images",
        lambda: LBP(points, radius, root=False).encode(some),
        theirs,
    )
    np.testing.assert_allclose(counts.reshape(expected.shape), expected / 28**2, atol=1e-6)


@pytest.mark.parametrize("kind", ["median", "gaussian"])
def test_denoising(compare: Compare, images: np.ndarray, kind: str) -> None:
    some = images[:60]
    reference = {
        "median": lambda image: skimage.filters.median(image, np.ones((3, 3)), mode="nearest"),
        "gaussian": lambda image: skimage.filters.gaussian(image, 1.0, mode="mirror", preserve_range=True),
    }[kind]
    ours, expected = compare(
        f"{kind} filter, 60 images",
        lambda: np.stack([_denoise(image, kind) for image in some]),
        lambda: np.stack([reference(image) for image in some]),
    )
    assert np.abs(ours.astype(float) - expected).max() <= (0 if kind == "median" else 1.01)


def test_decoding(compare: Compare, source: Path, tmp_path: Path) -> None:
    listing = open_source(source, Hints())
    places = iter(range(100))

    def ours() -> np.ndarray:
        return load_pixels(listing, Preprocessing(), tmp_path / str(next(places)), workers=os.cpu_count() or 1).images

    def loop(*, whole: bool) -> np.ndarray:
        out = []
        for file in listing.items["file"]:
            image = Image.open(listing.root / file).convert("L")
            if whole:
                image = ImageOps.autocontrast(image, cutoff=0.1)
                image = image.crop(image.point(lambda grey: 255 * (grey > 10)).getbbox())
            out.append(np.asarray(ImageOps.pad(image, (224, 224), Image.Resampling.BOX)))
        return np.stack(out)

    compare("decode and preprocess 1,027 PNG, beside decode and resize", ours, lambda: loop(whole=False), 3)
    found, _ = compare("the same beside decode, stretch, crop and resize", ours, lambda: loop(whole=True), 3)
    assert found.shape == (len(listing.items), 224, 224)
    seconds, again = clocked(lambda: load_pixels(listing, Preprocessing(), tmp_path / "0", workers=2))
    assert again.cached
    print(f"\nfrom the cache: {seconds:.2f} s for {len(again.images)} images")


@pytest.fixture(scope="module")
def problem(source: Path, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """1,738 images, as the public data set has: UNIFESP's part and images made of it, 22 labels, one fold of five by patient."""
    listing = open_source(source, Hints())
    usable = load_pixels(listing, Preprocessing(), tmp_path_factory.mktemp("cache"), workers=2).usable
    rows = np.arange(1738) % len(images)
    grown = np.stack([images[row] if k < len(images) else another(images[row], k) for k, row in enumerate(rows)])
    classes = sorted({label for labels in usable["labels"] for label in labels})
    y = np.array([[name in labels for name in classes] for labels in usable["labels"]], np.int8)[rows]
    ids, groups = [str(k) for k in range(1738)], usable["group"].to_numpy(str)[rows]
    table = make_splits(ids, y, groups, folds=5, repeats=1, seed=0)
    part = table[table["fold"] == 0].set_index("image_id")["part"].reindex(ids).to_numpy(str)
    return {"images": grown, "y": y} | {name: np.flatnonzero(part == name) for name in ("train", "valid", "test")}


def test_svm(compare: Compare, problem: dict[str, np.ndarray]) -> None:
    y, train, valid = (problem[name] for name in ("y", "train", "valid"))
    X = HOG(16).encode(problem["images"])
    both = np.concatenate([train, valid])
    mean = squared_distances(X[train]).mean()

    def ours() -> SVM:
        D = squared_distances(X[both])[None]
        n = len(train)
        return SVM().fit(D[:, :n, :n], y[train], D[:, n:, :n], y[valid], 0)

    def theirs() -> GridSearchCV:
        grid = {"estimator__C": [3, 10], "estimator__gamma": [gamma / mean for gamma in (0.5, 1, 2)]}
        search = GridSearchCV(
            OneVsRestClassifier(SVC()),
            grid,
            cv=[(np.arange(len(train)), np.arange(len(train), len(both)))],
            scoring=f1_per_image,
            refit=False,
            n_jobs=-1,
        )
        return search.fit(X[both], y[both])

    machine, search = compare("SVM, one fold, 6 candidates, 22 labels, n 1,738", ours, theirs, 1)
    D = squared_distances(X[both])[None, len(train) :, : len(train)]
    scores = machine.machine_.scores(np.exp(-machine.chosen_["gamma"] * D[0] / mean))
    assert abs(best_f1_samples(scores, y[valid]) - search.best_score_) < 0.005


def test_xgboost(compare: Compare, problem: dict[str, np.ndarray]) -> None:
    import xgboost

    y, train, valid, test = (problem[name] for name in ("y", "train", "valid", "test"))
    X = HOG(32).encode(problem["images"])
    head = XGBoost()

    def theirs() -> Any:
        rounds = int(head.chosen_["trees"]) + head.stop_after
        return xgboost.XGBClassifier(n_estimators=rounds, n_jobs=-1).fit(X[train], y[train])

    _, defaults = compare(
        "XGBoost, one fold, n 1,738, same rounds",
        lambda: head.fit(X[train], y[train], X[valid], y[valid], 0),
        theirs,
        1,
    )
    ours, expected = (
        f1_score(y[test], decided(p - 0.5), average="samples", zero_division=0)
        for p in (head.predict_proba(X[test]), defaults.predict_proba(X[test]))
    )
    print(f"\nF1 per image: ours {ours:.3f}, defaults {expected:.3f}")
    assert ours > expected - 0.005


NETWORKS = pytest.mark.parametrize("name", ["squeezenet1_0", "resnet18"])
FOLDS, EPOCHS = 5, 4


@NETWORKS
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_frozen_networks(compare: Compare, images: np.ndarray, name: str, engine: str) -> None:
    import torch

    from deep.frozen import Frozen

    if engine == "openvino":
        pytest.importorskip("openvino")
    some = images[:128]
    body = plain_body(name)
    encoder = Frozen(name, start="random", engine=engine)
    begun = time.perf_counter()
    encoder.encode(some)
    print(f"\n{name}, {engine}: the first time, with what is built once: {time.perf_counter() - begun:.1f} s")
    ours, _ = compare(
        f"{name}, {engine}, forward pass of 128 images", lambda: encoder.encode(some), lambda: forward(body, some), 3
    )
    expected = Frozen(name, start="random").encode(some)
    apart = np.linalg.norm(ours - expected) / np.linalg.norm(expected)
    print(f"\n{name}, {engine}: features differ by {apart:.2%} from torch's")
    assert apart < 0.005
    compare(
        f"{name}, {engine}, features of 128 images for {FOLDS} folds, beside once a fold",
        lambda: encoder.encode(some),
        lambda: [forward(body, some) for _ in range(FOLDS)],
        3,
    )
    seconds, _ = clocked(lambda: torch.randn(2048, 2048) @ torch.randn(2048, 2048))
    print(f"\nmatrix product: {2 * 2048**3 / seconds / 1e9:.0f} GFLOP/s")


def plain_body(name: str) -> Any:
    """The layers of torchvision's network before its classifier."""
    import torch
    from torchvision.models import get_model

    network = get_model(name, weights=None).eval()
    return torch.nn.Sequential(*list(network.children())[: -1 if name == "squeezenet1_0" else -2])


def forward(body: Any, images: np.ndarray) -> Any:
    """Mean activations as tutorials take them: float32, three channels, batches of 32, no gradients."""
    import torch

    mean, sd = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        batches = [rows[:, None].float() / 255 for rows in torch.from_numpy(images).split(32)]
        return torch.cat([body((grey.expand(-1, 3, -1, -1) - mean) / sd).mean(dim=(2, 3)) for grey in batches])


def plain_loop(network: Any, X: np.ndarray, y: np.ndarray, side: int, epochs: int) -> None:
    """Train in float32 on what a DataLoader with two workers augments and hands over, 32 images at a time."""
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import v2

    class Pictures(Dataset):
        change = v2.Compose(
            [
                v2.Resize(side),
                v2.RandomAffine(15, (0.08, 0.08), (0.87, 1.15)),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.1, 0.2),
                v2.Grayscale(3),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
            return self.change(Image.fromarray(X[row])), torch.from_numpy(y[row]).float()

    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    network.train()
    batches = DataLoader(Pictures(), 32, shuffle=True, num_workers=2, persistent_workers=True)
    for _ in range(epochs):
        for x, truth in batches:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(x), truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


@NETWORKS
def test_a_training_epoch(compare: Compare, problem: dict[str, np.ndarray], name: str) -> None:
    from torchvision.models import get_model

    from deep.finetune import FineTune

    X, y = problem["images"][:128], problem["y"][:128]
    network = get_model(name, weights=None, num_classes=y.shape[1])

    def ours() -> FineTune:
        head = FineTune(name, 1, start="random", augmentation={}, mirror=False)
        return head.fit(X, y, X[:1], y[:1], 0)

    head, _ = compare(f"{name}, an epoch of 128 images", ours, lambda: plain_loop(network, X, y, 224, 1), 3)
    assert np.isfinite(head.history_[0]["train_loss"])


def test_last_stages(compare: Compare, problem: dict[str, np.ndarray]) -> None:
    from torchvision.models import get_model

    from deep.activations import Activations
    from deep.laststages import LastStages

    name, cut, side = "squeezenet1_0", 12, 160
    X, y = problem["images"][:64], problem["y"][:64]

    def ours() -> LastStages:
        kept = Activations(name, cut, side=side, augmentation={}, start="random").encode(X)
        heads = [LastStages(name, cut, EPOCHS, start="random") for _ in range(FOLDS)]
        return [head.fit(kept, y, kept[:1], y[:1], fold) for fold, head in enumerate(heads)][-1]

    def theirs() -> None:
        for _ in range(FOLDS):
            network = get_model(name, weights=None, num_classes=y.shape[1])
            network.features[:cut].requires_grad_(False)
            plain_loop(network, X, y, side, EPOCHS)

    what = f"{name}, last stage, {FOLDS} folds x {EPOCHS} epochs of 64 images"
    head, _ = compare(what, ours, theirs, 3)
    assert np.isfinite(head.history_[0]["train_loss"])


def test_the_command_line_starts_at_once(compare: Compare) -> None:
    bench = Path(sys.executable).with_name("bench")
    compare(
        "bench --help, beside Python with NumPy",
        lambda: subprocess.run([bench, "--help"], capture_output=True, check=True),
        lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True),
    )


@pytest.mark.parametrize(("side", "n"), [(224, 500), (1024, 100)])
def test_phantoms(tmp_path: Path, side: int, n: int) -> None:
    write_folder(tmp_path / "warm", Recipe(4, 0, side=side))
    seconds, _ = clocked(lambda: write_folder(tmp_path / "timed", Recipe(n, 0, side=side)))
    print(f"\nphantoms of {side} x {side}: {n / seconds:.0f} images/s")
    assert len([*tmp_path.glob("timed/images/train/*.png")]) == n
