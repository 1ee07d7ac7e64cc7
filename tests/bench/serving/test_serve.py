"""The server answers images, refuses everything else in one line, and keeps nothing."""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from bench.inference.model import load_model
from bench.serving import predictions
from bench.serving.app import make_app
from bench.serving.connections import TimedProtocol
from bench.serving.limits import Limits
from bench.serving.predictions import disambiguate
from tests.bench.made import Made, endless_jpeg
from tests.reports.pages.test_browser import browser  # noqa: F401 - a fixture

MODELS = ("hog-svm", "hog-xgboost")


@contextmanager
def served(made: Made, limits: Limits) -> Iterator[str]:
    """A real server on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_app([load_model(made.model(name)) for name in MODELS], limits)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", http=TimedProtocol, limit_concurrency=64))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def address(classical: Made) -> Iterator[str]:
    with served(classical, Limits(max_bytes=2_000_000, max_pixels=1_000_000)) as place:
        yield place


@pytest.fixture
def picture(classical: Made) -> bytes:
    return next((classical.data / "images" / "train").iterdir()).read_bytes()


def send(address: str, content: bytes, name: str = "x.png", route: str = "/v1/predict") -> httpx.Response:
    return httpx.post(address + route, files={"file": (name, content)}, timeout=60)


def test_every_model_answers_as_it_does_in_predict(address: str, classical: Made, picture: bytes) -> None:
    found = send(address, picture).json()
    assert [each["model"] for each in found["models"]] == list(MODELS)
    path = next((classical.data / "images" / "train").iterdir())
    for each in found["models"]:
        model = load_model(classical.model(each["model"]))
        with Image.open(path) as image:
            grey = np.asarray(image)
        probability = model.probabilities(model.preprocessing.apply(grey)[None])[0]
        assert list(each["probabilities"].values()) == [round(p, 6) for p in probability]
        assert each["verdict"] in ("sure", "not sure", "out of distribution")
        assert each["picture"].startswith("data:image/png;base64,")


def test_dicom_is_answered_and_nothing_of_the_patient_comes_back(address: str, classical: Made, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    made = classical.bench(
        "data", "phantom", tmp_path / "d", "--n", 1, "--side", 256, "--part", "Hand", "--format", "dicom"
    )
    assert made.returncode == 0, made.stderr
    file = next(path for path in (tmp_path / "d").rglob("*.dcm"))
    response = send(address, file.read_bytes(), "scan.dcm")
    assert response.status_code == 200
    assert response.json()["kind"].startswith("DICOM")
    import pydicom

    header = pydicom.dcmread(file)
    for entry in ("PatientID", "SOPInstanceUID", "StudyInstanceUID"):
        assert str(header.get(entry, "absent")) not in response.text


def test_heat_maps_are_pictures_of_every_model(address: str, picture: bytes) -> None:
    found = send(address, picture, route="/v1/explain").json()
    assert [each["model"] for each in found["models"]] == list(MODELS)
    assert all(each["png"].startswith("data:image/png;base64,") for each in found["models"])


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


def test_counts_and_descriptions(address: str, picture: bytes) -> None:
    send(address, picture)
    httpx.get(address + "/secret-name-of-a-patient")
    assert httpx.get(address + "/health", headers={"Host": "elsewhere.example"}).status_code == 403
    text = httpx.get(address + "/metrics").text
    assert 'xraybench_requests_total{route="refused",status="403"}' in text
    assert re.search(r'xraybench_requests_total\{route="/v1/predict",status="200"\} [1-9]', text)
    assert re.search(r'xraybench_answers_total\{model="hog-svm",verdict="\w', text)
    assert "secret" not in text
    schema = httpx.get(address + "/openapi.json").json()
    assert {"/v1/predict", "/v1/explain", "/v1/models", "/health", "/metrics"} <= set(schema["paths"])
    known = httpx.get(address + "/v1/models").json()
    assert [each["name"] for each in known] == list(MODELS)
    assert httpx.get(address + "/docs").status_code == 404  # it would load scripts from elsewhere


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


def test_the_command_says_what_is_wrong(classical: Made, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = classical.bench("serve", classical.model("hog-svm"), "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "cannot listen there" in done.stderr
    absent = classical.bench("serve", tmp_path)
    assert absent.returncode == 2


def test_it_ends_quietly(classical: Made) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from bench.cli import main; main()",
        "serve",
        str(classical.model("prior")),
        "--port",
        str(port),
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    running.send_signal(2)
    out, err = running.communicate(timeout=30)
    assert f"http://127.0.0.1:{port}/" in out
    assert "Traceback" not in err


def dropped(browser, address: str, content: bytes) -> None:  # noqa: F811 - the fixture
    """Hand a file to the page as the drop of a mouse would, and wait for the answers."""
    browser.ask("url", {"url": address + "/"})
    numbers = ",".join(map(str, content))
    browser.run(
        f"const file = new File([new Uint8Array([{numbers}])], 'x'); const data = new DataTransfer(); data.items.add(file);"
        "document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));"
    )
    until(browser, f"document.querySelectorAll('article').length === {len(MODELS)}")


def until(browser, condition: str) -> None:  # noqa: F811 - the fixture
    """Wait until a condition holds in the page."""
    deadline = time.monotonic() + 30
    while not browser.run(f"return {condition}"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)


@pytest.mark.browser
def test_another_frame_is_asked_for_in_the_page(address: str, picture: bytes, browser) -> None:  # noqa: F811 - the fixture
    pytest.importorskip("pydicom")
    from tests.radiographs.test_dicom import twin

    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))[:200, :200]
    dropped(browser, address, twin(np.stack([grey, grey[::-1], 255 - grey]), NumberOfFrames="3"))
    assert not browser.run("return document.getElementById('frames').hidden")
    first = browser.run("return document.querySelector('article img').src")
    browser.run("const f = document.getElementById('frame'); f.value = 3; f.dispatchEvent(new Event('change'));")
    until(browser, "document.getElementById('said').textContent.endsWith('frame 3 of 3')")
    assert browser.run("return document.querySelector('article img').src") != first
    browser.run("const f = document.getElementById('frame'); f.value = 4; f.dispatchEvent(new Event('change'));")
    assert browser.run("return document.getElementById('said').textContent").endswith("frame 3 of 3")
    assert browser.complaints() == []


def test_models_of_one_name_are_told_apart(classical: Made, tmp_path: Path) -> None:
    here, there = load_model(classical.model("hog-svm")), tmp_path / "elsewhere"
    shutil.copytree(here.folder, there)
    other = load_model(classical.model("hog-xgboost"))
    names = [model.name for model in disambiguate([here, load_model(there), other, here])]
    folder = here.folder.name
    assert names == [f"hog-svm ({folder}) 1", "hog-svm (elsewhere)", "hog-xgboost", f"hog-svm ({folder}) 2"]


@pytest.mark.browser
def test_a_dropped_file_is_answered_in_the_page(address: str, picture: bytes, browser) -> None:  # noqa: F811 - the fixture
    dropped(browser, address, picture)
    assert browser.run("return [...document.querySelectorAll('article')].map(a => a.dataset.model)") == list(MODELS)
    assert browser.run("return document.getElementById('frames').hidden")
    browser.run("document.getElementById('heat').click()")
    until(browser, "document.querySelector('article img').alt.startsWith('Where')")
    assert browser.run("return document.querySelector('article img').naturalWidth") > 0
    assert browser.complaints() == []
    assert [entry for entry in browser.log("browser") if entry["level"] == "SEVERE"] == []
    asked = [
        entry["message"] for entry in browser.log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    places = {match for message in asked for match in re.findall(r'"url":"(http[^"]+)"', message)}
    assert places
    assert all(place.startswith(address) for place in places)


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
