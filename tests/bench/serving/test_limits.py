"""Requests that are refused, in one line, and files that cost only their own answer."""

from __future__ import annotations

import io
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bench.serving import predictions
from bench.serving.connections import TimedProtocol
from bench.serving.limits import Limits
from tests.bench.made import Made, endless_jpeg
from tests.bench.serving.server import send, served


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"no picture", "not a"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "damaged|not a"),
        (b"PK\3\4", "not a"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(address: str, content: bytes, words: str) -> None:
    response = send(address, content, "../../etc/passwd")
    assert response.status_code == 422
    assert re.search(words, response.json()["error"])
    assert "passwd" not in response.text
    assert "Traceback" not in response.text


def test_too_many_bytes_and_too_many_pixels_are_refused(address: str, tmp_path: Path) -> None:
    assert send(address, b"\0" * 3_000_000).status_code == 413

    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(60):
            yield b"\0" * 50_000

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        status = httpx.post(address + "/v1/predict", content=chunks(), headers=headers, timeout=30).status_code
    except httpx.TransportError:  # the server hangs up while it is still being sent to
        status = 413
    assert status == 413
    Image.new("L", (1200, 1200)).save(tmp_path / "large.png")
    response = send(address, (tmp_path / "large.png").read_bytes())
    assert response.status_code == 422
    assert "limit" in response.json()["error"]
    assert httpx.get(address + "/health").json()["status"] == "ok"


def test_only_requests_to_this_machine_by_its_own_name_are_answered(address: str, picture: bytes) -> None:
    for host in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""):
        response = httpx.post(address + "/v1/predict", files={"file": picture}, headers={"Host": host})
        assert response.status_code in (400, 403)
    assert httpx.get(address + "/health", headers={"Host": "localhost:1"}).status_code == 200


@pytest.mark.parametrize("route", ["/v1/predict", "/v1/explain"])
def test_another_sites_page_is_not_served(address: str, picture: bytes, route: str) -> None:
    """A form on any page may be sent anywhere; the browser says whose page it was."""
    own = address.removeprefix("http://")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": f"http://{own}.evil.example"},
        {"Origin": address, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
    ):
        response = httpx.post(address + route, files={"file": picture}, headers=headers)
        assert response.status_code == 403, headers
        assert "other sites' pages" in response.json()["error"]
    for headers in ({}, {"Origin": address}, {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}):
        assert httpx.post(address + route, files={"file": picture}, headers=headers, timeout=60).status_code == 200
    assert httpx.get(address + "/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link leads here


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"POST /v1/predict HTTP/1.1\r\nHost: local",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\nx",
    ],
)
def test_requests_that_are_half_sent_shut_nobody_out_for_long(
    classical: Made, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(TimedProtocol, "seconds", 1.0)
    with served(classical, Limits()) as place, ExitStack() as lines:
        half = [lines.enter_context(socket.create_connection(("127.0.0.1", int(place[-5:])))) for _ in range(70)]
        deadline = time.monotonic() + 30
        while True:
            for line in half:
                with suppress(OSError):  # hung up
                    line.sendall(begin[:1] if line in half[:1] else begin)
            begin = begin[-1:]  # goes on letter by letter
            with suppress(httpx.TransportError):
                if httpx.get(f"{place}/health", timeout=5).status_code == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_file_that_takes_long_to_read_holds_up_no_other(
    classical: Made, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    decode_bytes = predictions.decode_bytes

    def slowly(data: bytes, *arguments: Any, **options: Any) -> Any:
        if data == b"slow":
            goes_on.wait(30)
        return decode_bytes(data, *arguments, **options)

    monkeypatch.setattr(predictions, "decode_bytes", slowly)
    with served(classical, Limits()) as place:
        waiting = threading.Thread(target=send, args=(place, b"slow"))
        waiting.start()
        time.sleep(0.2)
        assert send(place, picture).status_code == 200
        assert waiting.is_alive()
        goes_on.set()
        waiting.join()


def test_nothing_goes_through_the_disk(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of more than the megabyte from which on forms are usually kept in a temporary file."""
    noise = np.random.default_rng(0).integers(0, 256, (1150, 850), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG", compress_level=0)
    assert 900_000 < len(stream.getvalue()) < 2_000_000
    rolled: list[object] = []
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda self: rolled.append(self))
    large = np.random.default_rng(0).integers(0, 65536, (900, 900), dtype=np.uint16)
    Image.fromarray(large).save(wide := io.BytesIO(), "PNG", compress_level=0)
    assert len(wide.getvalue()) > 1_500_000
    for content in (stream.getvalue(), wide.getvalue()):
        assert send(address, content).status_code == 200
    assert rolled == []


def test_a_body_that_does_not_come_is_not_waited_for(classical: Made) -> None:
    with (
        served(classical, Limits(seconds=0.5)) as place,
        socket.create_connection(("127.0.0.1", int(place[-5:]))) as line,
    ):
        line.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 999\r\n\r\n--b"
        )
        line.settimeout(20)
        assert b" 408 " in line.recv(200)


def test_a_frame_that_is_not_there_and_a_form_without_a_file_are_refused(address: str, picture: bytes) -> None:
    beyond = send(address, picture, route="/v1/predict?frame=5")
    assert beyond.status_code == 422
    assert "frame 5" in beyond.json()["error"]
    other = httpx.post(address + "/v1/predict", files={"picture": picture})
    assert other.status_code == 422
    assert "multipart field 'file'" in other.json()["error"]
    assert httpx.post(address + "/v1/predict", content=b"x").status_code == 422


def test_too_many_at_once_are_sent_away(classical: Made, picture: bytes) -> None:
    with served(classical, Limits(at_once=1, waiting=0)) as place:
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda: codes.append(send(place, picture, route="/v1/explain").status_code))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(codes) == {200, 503}
        assert send(place, picture).status_code == 200


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_answered(classical: Made, picture: bytes) -> None:
    from tests.radiographs.test_envelopes import bomb

    with served(classical, Limits(image_seconds=3)) as place:
        begun = time.monotonic()
        slow = send(place, endless_jpeg(), "x.jpg")
        assert slow.status_code == 422
        assert slow.json() == {"error": "the file: took longer than 3 seconds"}
        assert time.monotonic() - begun < 30
        deflated = send(place, bomb(2000), "x.dcm")
        assert deflated.status_code == 422
        assert "inflates to more than" in deflated.json()["error"]
        assert send(place, picture).status_code == 200
