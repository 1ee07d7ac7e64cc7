"""Backbones, frozen features, the probe and fine-tuning."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from deep.augment import Augmentation
from deep.backbones import build_backbone
from deep.classifier import Classifier
from deep.device import pick_device
from deep.finetune import FineTune
from deep.frozen import Frozen
from deep.probe import LogisticProbe
from deep.weights import read_weights


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("squeezenet1_0", 512),
        ("resnet18", 512),
        ("mobilenet_v3_small", 576),
        ("shufflenet_v2_x0_5", 1024),
        ("densenet121", 1024),
        ("swin_t", 768),
        ("regnet_y_400mf", 440),
    ],
)
def test_every_architecture_gives_a_feature_map(name: str, width: int) -> None:
    backbone = build_backbone(name).eval()
    with torch.inference_mode():
        found = backbone(torch.rand(2, 1, 224, 224))
    assert found.shape[:2] == (2, width)
    assert backbone.width == width


def test_a_timm_architecture_works_by_name() -> None:
    assert build_backbone("xception41").width == 2048


def test_an_unknown_architecture_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"'resnet19' is neither .*did you mean 'resnet18'"):
        build_backbone("resnet19")


def test_the_backbone_is_torchvisions_network(weights_dir: Path) -> None:
    state = read_weights(next(weights_dir.glob("squeezenet1_0-*.safetensors")))
    network = torchvision.models.squeezenet1_0()
    network.load_state_dict(state)
    grey = torch.rand(2, 1, 224, 224)
    mean, sd = (
        torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
        torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
    )
    with torch.inference_mode():
        expected = network.eval().features((grey.repeat(1, 3, 1, 1) - mean) / sd)
        assert torch.allclose(build_backbone("squeezenet1_0", state).eval()(grey), expected, atol=1e-4)


def test_frozen_features_do_not_depend_on_the_batch(weights_dir: Path, radiographs: np.ndarray) -> None:
    whole = Frozen("squeezenet1_0", batch=32, weights_dir=weights_dir).encode(radiographs[:5])
    single = Frozen("squeezenet1_0", batch=1, weights_dir=weights_dir).encode(radiographs[:5])
    assert whole.shape == (5, 512 * 5)
    assert whole.dtype == np.float32
    assert np.abs(whole - single).max() < 1e-4


def test_frozen_features_of_reduced_images_are_those_of_small_images(
    weights_dir: Path, radiographs: np.ndarray
) -> None:
    small = radiographs.reshape(12, 112, 2, 112, 2).mean(axis=(2, 4))
    large = np.repeat(np.repeat(np.round(small).astype(np.uint8), 2, axis=1), 2, axis=2)
    reduced = Frozen("squeezenet1_0", side=112, weights_dir=weights_dir).encode(large)
    assert np.array_equal(reduced, Frozen("squeezenet1_0", weights_dir=weights_dir).encode(large[:, ::2, ::2]))


@pytest.mark.parametrize("side", [0, 96])
def test_openvino_encodes_as_torch_does(weights_dir: Path, radiographs: np.ndarray, side: int) -> None:
    pytest.importorskip("openvino")
    ours, theirs = (
        Frozen("squeezenet1_0", engine=engine, side=side, weights_dir=weights_dir, device="cpu")
        for engine in ("torch", "openvino")
    )
    expected, found = ours.encode(radiographs[:11]), theirs.encode(radiographs[:11])
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) < 0.005 * np.linalg.norm(expected)
    assert np.array_equal(found[8:9], theirs.encode(radiographs[8:9]))


def test_openvino_reports_its_use_to_nobody() -> None:
    pytest.importorskip("openvino")
    code = (
        "import sys; from deep.openvino import import_openvino; import_openvino(); "
        "print([name for name in sys.modules if name.startswith('openvino_telemetry.')], 'openvino.tools.ovc.telemetry_stub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] True"


def test_an_engine_is_one_of_two(radiographs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="engine 'tvm': torch or openvino"):
        Frozen("squeezenet1_1", start="random", engine="tvm").encode(radiographs[:1])


def test_a_random_start_is_always_the_same_one(radiographs: np.ndarray) -> None:
    torch.manual_seed(1)
    once = Frozen("squeezenet1_1", start="random", device="cpu").encode(radiographs[:3])
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again = Frozen("squeezenet1_1", start="random", device="cpu").encode(radiographs[:3])
    assert np.array_equal(once, again)
    assert torch.equal(state, torch.random.get_rng_state())
    assert Frozen("squeezenet1_1", start="random", device="cpu").fingerprint() == "random cpu"


def classes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32) * [1, 10, 0.1, 1, 1] + 3
    y = np.eye(3, dtype=np.int8)[np.digitize(X[:, 1] + 3 * rng.normal(size=n), [-2, 8])]
    return X.astype(np.float32), y


def test_the_probe_is_scikit_learns_logistic_regression() -> None:
    X, y = classes(300, 0)
    probe = LogisticProbe(C=[0.1], task="multiclass", max_iter=500).fit(X, y, X[:50], y[:50], 0)
    scaler = StandardScaler().fit(X)
    expected = (
        LogisticRegression(C=0.1, tol=1e-8, max_iter=2000)
        .fit(scaler.transform(X), y.argmax(axis=1))
        .predict_proba(scaler.transform(X))
    )
    assert np.abs(probe.predict_proba(X) - expected).max() < 2e-3


@pytest.mark.parametrize(("n", "d"), [(900, 1200), (1500, 300)])
def test_the_probe_is_the_same_bits_on_any_number_of_threads(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)).astype(np.float32)
    y = (X[:, :5] + rng.normal(size=(n, 5)) > 1).astype(np.int8)
    before, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            probe = LogisticProbe(C=(1e-3, 1e-2), device="cpu").fit(X[50:], y[50:], X[:50], y[:50], 0)
            found.add(probe.solution_.numpy().tobytes() + probe.predict_proba(X).tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_the_probe_for_several_labels_is_one_regression_per_label() -> None:
    X, y = classes(300, 1)
    probe = LogisticProbe(C=[0.5], max_iter=500).fit(X, y, X[:50], y[:50], 0)
    scaled = StandardScaler().fit_transform(X)
    expected = LogisticRegression(C=0.5, tol=1e-8, max_iter=2000).fit(scaled, y[:, 1]).predict_proba(scaled)[:, 1]
    assert np.abs(probe.predict_proba(X)[:, 1] - expected).max() < 2e-3


def test_augmentation_without_ranges_changes_nothing_and_each_image_has_its_own() -> None:
    grey = torch.rand(4, 1, 32, 32)
    still = Augmentation(rotation=0, shift=0, zoom=0, flip=False, brightness=0, contrast=0)
    assert torch.allclose(still.apply(grey, torch.Generator().manual_seed(0)), grey, atol=1e-5)
    same = grey[:1].expand(4, -1, -1, -1)
    moved = Augmentation().apply(same, torch.Generator().manual_seed(0))
    assert all((moved[0] - moved[k]).abs().max() > 0.05 for k in range(1, 4))
    assert torch.equal(moved, Augmentation().apply(same, torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def bars() -> tuple[np.ndarray, np.ndarray]:
    """Forty pictures of 64 x 64 with an upright or a lying bar, and noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (40, 64, 64), np.uint8)
    for k, image in enumerate(images):
        at = rng.integers(15, 45)
        if k % 2:
            image[:, at : at + 6] += 150
        else:
            image[at : at + 6] += 150
    return images, np.eye(2, dtype=np.int8)[np.arange(40) % 2]


def test_a_network_from_random_weights_learns_what_can_be_learned(bars: tuple[np.ndarray, np.ndarray]) -> None:
    images, y = bars
    head = FineTune(
        "resnet18", epochs=8, patience=8, start="random", batch=8, task="multiclass", device="cpu", mirror=False
    )
    head.fit(images[:28], y[:28], images[28:34], y[28:34], 0)
    assert (head.predict_proba(images[34:]).argmax(axis=1) == y[34:].argmax(axis=1)).all()
    assert len(head.history_) <= 8
    assert head.chosen_["epochs"] >= 1


def test_the_same_seed_gives_the_same_network(bars: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, y = bars
    found = []
    for seed in (1, 1, 2):
        head = FineTune("squeezenet1_1", epochs=1, start="random", batch=8, augmentation={}, device="cpu")
        torch.manual_seed(len(found))  # the global generator must not matter
        found.append(head.fit(images[:16], y[:16], images[16:24], y[16:24], seed).predict_proba(images[24:]))
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
    head.save(tmp_path)
    assert (tmp_path / "network.safetensors").stat().st_size > 1e6


def test_fine_tuning_starts_where_the_probe_ends(weights_dir: Path, radiographs: np.ndarray) -> None:
    y = np.eye(2, dtype=np.int8)[np.arange(12) % 2]
    head = FineTune(
        "squeezenet1_0", epochs=1, learning_rate=0.0, weights_dir=weights_dir, device="cpu", mirror=False, dropout=0.0
    )
    head.fit(radiographs[:8], y[:8], radiographs[8:], y[8:], 0)
    with torch.inference_mode():
        features = head.network_.features(torch.from_numpy(radiographs[:8])[:, None].float() / 255).numpy()
    images, mirrored = features, head._features(torch.from_numpy(np.ascontiguousarray(radiographs[:8, :, ::-1])))
    both = np.concatenate([images, mirrored])
    valid = np.concatenate(
        [
            head._features(torch.from_numpy(radiographs[8:])),
            head._features(torch.from_numpy(np.ascontiguousarray(radiographs[8:, :, ::-1]))),
        ]
    )
    probe = LogisticProbe((1e-3, 1e-2), device="cpu").fit(
        both, np.tile(y[:8], (2, 1)), valid, np.tile(y[8:], (2, 1)), 0
    )
    assert head.predict_proba(radiographs[:8]) == pytest.approx(probe.predict_proba(images), abs=1e-3)


def test_frozen_stages_keep_their_weights(bars: tuple[np.ndarray, np.ndarray]) -> None:
    images, y = bars
    head = FineTune("squeezenet1_1", epochs=1, start="random", batch=8, frozen_stages=6, device="cpu")
    head.fit(images[:16], y[:16], images[16:24], y[16:24], 5)
    torch.manual_seed(5)
    start = Classifier(build_backbone("squeezenet1_1"), 2, (1,), 0, 0.3).backbone.stages
    same = [
        all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))
        for old, new in zip(start, head.network_.backbone.stages, strict=True)
    ]
    learned = [bool(list(stage.parameters())) for stage in start]
    assert all(same[:6])
    assert not any(s for s, has in zip(same[6:], learned[6:], strict=True) if has)


def test_cuda_is_refused_in_words_where_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ValueError, match="use --device cpu"):
        pick_device("cuda")
