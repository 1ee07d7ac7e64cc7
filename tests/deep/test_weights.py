"""Where weights come from, and what is refused."""

import functools
import hashlib
import pickle
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from deep.addresses import Address, address, download
from deep.backbones import build_backbone
from deep.weights import WeightsUnavailableError, find_weights, read_weights


@pytest.fixture
def server(tmp_path: Path):
    """A file server on this machine over tmp_path / "served"."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", tmp_path / "served"
        httpd.shutdown()


def test_a_named_file_comes_first_and_must_exist(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    assert find_weights("resnet18", path=str(file), offline=True).file == file
    with pytest.raises(WeightsUnavailableError, match=r"resnet18: the weights file .*gone.* is missing"):
        find_weights("resnet18", path=str(tmp_path / "gone.pth"))


def test_the_weights_folder_comes_before_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    cached = (
        tmp_path
        / "hub"
        / "checkpoints"
        / torchvision.models.get_model_weights("resnet18").DEFAULT.url.rsplit("/", 1)[-1]
    )
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_weights("resnet18", weights_dir=tmp_path, offline=True).file == cached
    (tmp_path / "resnet18-mine.pth").touch()
    assert find_weights("resnet18", weights_dir=tmp_path, offline=True).file.name == "resnet18-mine.pth"


def test_a_start_finds_the_file_of_its_name_and_imagenet_never_a_phantoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "resnet18-phantom.safetensors").touch()
    (tmp_path / "resnet18-chests.pth").touch()
    for start, name in (("phantom", "resnet18-phantom.safetensors"), ("chests", "resnet18-chests.pth")):
        assert find_weights("resnet18", start, weights_dir=tmp_path, offline=True).file.name == name
    (tmp_path / "resnet18-chests.pth").unlink()
    with pytest.raises(WeightsUnavailableError, match="no weights for resnet18"):
        find_weights("resnet18", weights_dir=tmp_path, offline=True)
    with pytest.raises(WeightsUnavailableError, match=r"no resnet50-phantom\..*make it with: bench pretrain resnet50"):
        find_weights("resnet50", "phantom", weights_dir=tmp_path)


def test_offline_says_what_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsUnavailableError, match=r"no weights for resnet50: no resnet50-\*.* --offline forbids"):
        find_weights("resnet50", weights_dir=tmp_path, offline=True)
    with pytest.raises(WeightsUnavailableError, match=r"no weights for xception41: .*--offline forbids"):
        find_weights("xception41", weights_dir=tmp_path, offline=True)


def test_a_download_is_checked_against_the_hash_in_its_name(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    content = b"weights" * 1000
    digits = hashlib.sha256(content).hexdigest()[:8]
    (folder / f"net-{digits}.pth").write_bytes(content)
    (folder / "net-00000000.pth").write_bytes(content)
    target = tmp_path / "cache" / f"net-{digits}.pth"
    assert download(f"{url}/{target.name}", target, "net", "").read_bytes() == content
    with pytest.raises(WeightsUnavailableError, match=r"download from .* is damaged"):
        download(f"{url}/net-00000000.pth", tmp_path / "cache" / "net-00000000.pth", "net", "")
    assert not (tmp_path / "cache" / "net-00000000.pth").exists()
    with pytest.raises(WeightsUnavailableError, match=r"the download of .* failed"):
        download(f"{url}/absent-11111111.pth", tmp_path / "cache" / "absent-11111111.pth", "net", "nowhere else")


class _Canary:
    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('the canary ran')",)


def test_a_file_that_would_run_code_is_refused_unrun(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1), "b": _Canary()}, tmp_path / "bad.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(_Canary()))
    for name in ("bad.pth", "old.pth"):
        with pytest.raises(WeightsUnavailableError, match=f"{name}: refused"):
            read_weights(tmp_path / name)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 not json at all")
    with pytest.raises(WeightsUnavailableError, match=r"x\.safetensors: not a readable weights file"):
        read_weights(tmp_path / "x.safetensors")


def test_weights_of_another_network_are_refused() -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    with pytest.raises(ValueError, match="these weights are not for resnet34"):
        build_backbone("resnet34", state)
    build_backbone("resnet18", {k: v for k, v in state.items() if not k.startswith("fc.")})


def test_timms_weights_without_a_place_on_the_hub_come_from_the_address_it_names() -> None:
    found = address("legacy_xception")
    assert found is not None
    assert not found.hub
    assert found.url.endswith("-43020ad28.pth")
    assert found.licence == "apache-2.0"


def test_an_unknown_backbone_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"'resnet5o' is neither in torchvision nor in timm; did you mean 'resnet50'"):
        address("resnet5o")


def test_a_failed_download_names_file_address_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    closed = Address("http://127.0.0.1:9/resnet18-f37072fd.pth")
    monkeypatch.setattr("deep.weights.address", lambda _: closed)
    with pytest.raises(
        WeightsUnavailableError,
        match=r"no resnet18-\*\.safetensors or \.pth in .*resnet18-f37072fd\.pth failed .*bench weights get resnet18 --out FOLDER",
    ):
        find_weights("resnet18", weights_dir=tmp_path)
