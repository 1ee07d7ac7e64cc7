"""Data sets are fetched from a real file server: resumed, checked, and unpacked into one folder or not at all."""

import gzip
import hashlib
import http.server
import io
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from radiographs.download import fetch, unpack
from radiographs.listing import SourceError

Command = Callable[..., Any]
CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files from memory, with ranges; breaks off after `limit` bytes."""

    files: dict[str, bytes]
    asked: list[str | None]
    limit: int | None

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append(self.headers.get("Range"))
        if content is None:
            self.send_error(404)
        elif start >= len(content):
            self.send_error(416)
        else:
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][: self.limit])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    class Here(Handler):
        files = {"/data.bin": CONTENT}  # noqa: RUF012 - of this test alone
        asked = []  # noqa: RUF012 - as above
        limit = None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", Here
        httpd.shutdown()


def checksum(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_download_that_broke_off_goes_on_where_it_stopped(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    address, handler = server
    handler.limit = 1_200_000
    with pytest.raises(SourceError, match="the same command resumes it"):
        fetch(f"{address}/data.bin", tmp_path / "x", checksum(CONTENT))
    assert not (tmp_path / "x").exists()
    assert (tmp_path / "x.part").stat().st_size == 1_200_000
    handler.limit, seen = None, []
    fetch(f"{address}/data.bin", tmp_path / "x", checksum(CONTENT), lambda have, total: seen.append((have, total)))
    assert handler.asked == [None, "bytes=1200000-"]
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    fetch(f"{address}/data.bin", tmp_path / "x", checksum(CONTENT))
    assert len(handler.asked) == 2


def test_wrong_content_is_refused_and_removed(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    address, _ = server
    with pytest.raises(SourceError, match="damaged or was changed"):
        fetch(f"{address}/data.bin", tmp_path / "x", checksum(b"other"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SourceError, match="Not Found"):
        fetch(f"{address}/gone", tmp_path / "x", checksum(CONTENT))
    with pytest.raises(SourceError, match="file is not http"):
        fetch((tmp_path / "y").as_uri(), tmp_path / "x", checksum(CONTENT))


ANSWERS = {
    "no HTTP": b"hello\r\n\r\n",
    "nothing": b"",
    "a cut status line": b"HTTP/1.1 20",
    "a cut header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nxx",
    "a length below nothing": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nxx",
    "a cut body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nxx",
    "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nxx",
    "a chunk without a length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n",
    "a range that nobody asked for": b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n",
    "a way in circles": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    "a way to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    "a way to nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_a_server_answers_is_one_line(answer: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listening.accept()
                    with line:
                        line.recv(10_000)
                        line.sendall(ANSWERS[answer])

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(SourceError, match=r"127\.0\.0\.1:\d+/x: the download (failed \(.+\)|is damaged)"):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/x", tmp_path / "x", checksum(CONTENT))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://127.0.0.1:port/x", "http://a b/ö", "http://ö\n/x"])
def test_an_address_that_is_none_is_one_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the download failed"):
        fetch(url, tmp_path / "x", checksum(CONTENT))


def zipped(*, flags: int = 0, method: int | None = None) -> bytes:
    """A zip file of one entry, with the flags and the compression method of another."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/x.png", CONTENT[:1000])
    content = bytearray(buffer.getvalue())
    for begin, place in ((0, 6), (content.index(b"PK\1\2"), 8)):
        content[begin + place] |= flags
        if method is not None:
            content[begin + place + 2 : begin + place + 4] = method.to_bytes(2, "little")
    return bytes(content)


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) * 20 + content[at + 20 :]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.zip", zipped(flags=1), "encrypted"),
        ("x.zip", zipped(method=99), "compression method is not supported"),
        ("x.zip", zipped(method=12), "."),
        ("x.zip", zipped(method=14), "."),
        ("x.zip", damaged(zipped(), 60), "."),
        ("x.zip", zipped()[:-5], "."),
        ("x.tar.gz", b"", "."),
        ("x.tar.gz", gzip.compress(b"no archive", mtime=0), "."),
        ("x.tar.xz", b"\xfd7zXZ\0" + b"junk" * 50, "."),
        ("x.tar.bz2", b"BZh9" + b"junk" * 50, "."),
    ],
)
def test_an_archive_that_cannot_be_unpacked_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        SourceError, match=rf"{name}: cannot be unpacked \(.*{said}.*\): unpack it by other means into .*out"
    ):
        unpack(tmp_path / name, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_archive_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tarball({}))
    with pytest.raises(SourceError, match="holds no file"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "out")


def test_what_was_unpacked_can_be_read_by_others(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tarball({"a.png": b"x", "b.png": b"x"}))
    (tmp_path / "usual").mkdir()
    assert unpack(tmp_path / "x.tar.gz", tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


def tarball(names: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            file.addfile(entry)
    return buffer.getvalue()


def test_nothing_is_unpacked_outside_of_the_folder(tmp_path: Path) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("a.txt", "x")
        file.writestr("../evil.txt", "x")
    bad = {
        "slip.zip": zipped.getvalue(),
        "slip.tar.gz": tarball({"a": b"x", "../evil.txt": b"x"}),
        "link.tar.gz": tarball({"a": b"x"}, {"b": "/etc/passwd"}),
        "cut.tar.gz": tarball({"a": CONTENT})[:5000],
        "page.tar.gz": b"<html>",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=name):
            unpack(tmp_path / name, tmp_path / "out" / "data")
        assert not (tmp_path / "out" / "evil.txt").exists()
        assert list((tmp_path / "out").iterdir()) == []


def test_a_data_set_is_fetched_by_its_card_and_can_be_run(
    bench_command: Command, server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    address, handler = server
    pictures = {}
    for k in range(12):
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (70, 70), np.uint8)).save(buffer, "PNG")
        pictures[f"Tiny/{'x' if k % 2 else 'y'}/{k}.png"] = buffer.getvalue()
    handler.files["/tiny.tar.gz"] = archive = tarball(pictures)
    card = tmp_path / "tiny.toml"
    card.write_text(
        'name = "tiny"\ntitle = "Tiny"\nlayout = "folders"\nlicence = "CC0"\n'
        f'[download]\nurl = "{address}/tiny.tar.gz"\nchecksum = "{checksum(archive)}"\n'
    )
    done = bench_command("data", "get", card, "--out", tmp_path / "tiny")
    assert done.returncode == 0, done.stderr
    assert "CC0" in done.stdout
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == {"x", "y"}
    assert not (tmp_path / "tiny.tiny.tar.gz").exists()
    again = bench_command("data", "get", card, "--out", tmp_path / "tiny")
    assert again.returncode == 2
    assert "already exists" in again.stderr


def test_where_the_licence_forbids_it_the_steps_are_printed(bench_command: Command) -> None:
    done = bench_command("data", "get", "unifesp")
    assert done.returncode == 1
    assert "kaggle competitions download" in done.stdout
    unknown = bench_command("data", "get", "nonsense")
    assert unknown.returncode == 2
    assert "unknown; there are" in unknown.stderr
