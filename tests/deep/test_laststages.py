"""Fine-tuning the last stages on kept activations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.recipes.inputs import Rows
from deep.activations import Activations
from deep.backbones import build_backbone
from deep.device import has_bfloat16
from deep.laststages import LastStages

START = {"start": "random", "device": "cpu"}


@pytest.fixture(scope="module")
def bars() -> tuple[np.ndarray, np.ndarray]:
    """Sixty pictures of 64 x 64 with an upright or a lying bar, and noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (60, 64, 64), np.uint8)
    for k, image in enumerate(images):
        at = rng.integers(15, 45)
        if k % 2:
            image[:, at : at + 6] += 150
        else:
            image[at : at + 6] += 150
    return images, np.eye(2, dtype=np.int8)[np.arange(60) % 2]


def test_activations_are_those_of_the_first_stages(bars: tuple[np.ndarray, np.ndarray]) -> None:
    images = bars[0][:5]
    found = Activations("squeezenet1_0", 6, versions=3, augmentation={}, **START).encode(images)
    torch.manual_seed(0)
    network = build_backbone("squeezenet1_0").eval()
    with torch.inference_mode():
        grey = torch.from_numpy(images)[:, None].float() / 255
        expected = [network.stages[:6](network.normalise(part)) for part in (grey, grey.flip(3))]
    assert found.shape == (5, 5, *expected[0].shape[1:])
    assert found.dtype == np.float16
    for version, values in enumerate(expected):
        error, scale = np.abs(found[:, version] - values.numpy()), float(values.abs().mean())
        assert error.mean() < (0.02 if has_bfloat16(torch.device("cpu")) else 0.001) * scale
    assert all(np.abs(found[:, 0] - found[:, version]).max() > 0.01 for version in (2, 3, 4))
    again = Activations("squeezenet1_0", 6, versions=3, augmentation={}, **START).encode(images)
    assert (found == again).all()
    predicting = Activations("squeezenet1_0", 6, versions=3, augmentation={}, **START)
    predicting.inference_mode()
    assert np.array_equal(predicting.encode(images), found[:, :2])


def test_one_grey_channel_gives_what_three_equal_ones_give(bars: tuple[np.ndarray, np.ndarray]) -> None:
    grey = torch.from_numpy(bars[0][:3])[:, None].float() / 255
    for name in ("squeezenet1_1", "convnext_tiny", "resnet18"):  # the last pads, and is left as it is
        network = build_backbone(name).eval()
        with torch.inference_mode():
            before = network(grey)
            network.fold_grey()
            assert torch.allclose(network(grey), before, atol=1e-4 * float(before.abs().max()))
        assert network.folded == (name != "resnet18")


def test_the_last_stages_learn_and_repeat_themselves_from_memory_or_from_disk(
    bars: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images, y = bars
    X = Activations("squeezenet1_1", 8, augmentation={}, **START).encode(images)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    found = []
    for part in (lambda rows: X[rows], lambda rows: Rows(mapped, rows)):
        head = LastStages("squeezenet1_1", 8, 3, batch=8, task="multiclass", **START)
        train, valid, test = (np.arange(*ends) for ends in ((0, 36), (36, 48), (48, 60)))
        head.fit(part(train), y[train], part(valid), y[valid], 0)
        found.append(head.predict_proba(part(test)))
    assert (found[0] == found[1]).all()
    assert (found[0].argmax(axis=1) == y[48:].argmax(axis=1)).mean() > 0.7
    lowest = min(epoch["valid_loss"] for epoch in head.history_)
    kept = int(head.chosen_["epochs"])
    assert kept == 0 or head.history_[kept - 1]["valid_loss"] == lowest
    head.save(tmp_path)
    assert (tmp_path / "network.safetensors").stat().st_size > 1e5


def test_a_start_that_no_epoch_improves_is_kept(bars: tuple[np.ndarray, np.ndarray]) -> None:
    images, y = bars
    X = Activations("squeezenet1_1", 8, augmentation={}, **START).encode(images)
    head = LastStages("squeezenet1_1", 8, 2, learning_rate=5.0, backbone_rate=1.0, task="multiclass", **START)
    head.fit(X[:40], y[:40], X[40:], y[40:], 0)
    assert head.chosen_["epochs"] == 0
