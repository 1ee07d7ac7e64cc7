"""What a reader sees: the page opened from a file in headless Chromium, driven over the WebDriver protocol."""

import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reports.report import write
from reports.results import load

pytestmark = pytest.mark.browser

SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
SWITCHES += ("--disable-background-networking", "--disable-component-update", "--window-size=1280,1000")


class Browser:
    """A session with chromedriver: open a page, run a script in it, read its console."""

    def __init__(self, port: int, profile: Path) -> None:
        self.port = port
        options = {"args": [*SWITCHES, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.session = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, page: Path) -> None:
        """Open a file and wait until its charts are drawn."""
        self.ask("url", {"url": page.as_uri()})
        deadline = time.monotonic() + 60
        while not self.run("return document.body.dataset.drawn") and time.monotonic() < deadline:
            time.sleep(0.1)

    def run(self, script: str) -> object:
        """Run a script in the page and return what it returns."""
        return self.ask("execute/sync", {"script": script, "args": []})

    def log(self, kind: str) -> list[dict]:
        """Read the log "browser" (console) or "performance" (network events)."""
        return self.ask("se/log", {"type": kind})

    def close(self) -> None:
        """End the session and its Chromium."""
        self._send("DELETE", f"/session/{self.session}", {})

    def ask(self, command: str, body: dict) -> object:
        """Send a command of the session."""
        return self._send("POST", f"/session/{self.session}/{command}", body)

    def _send(self, method: str, path: str, body: dict) -> object:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(value["message"])
        return value


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver on the path")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}", "--log-level=OFF"], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        session = Browser(port, tmp_path / "profile")
        yield session
        session.close()
    finally:
        driver.terminate()
        driver.wait(timeout=20)


def test_the_page_draws_its_charts_without_an_error_or_a_request(
    browser: Browser, make_run: Callable[..., Path]
) -> None:
    results = load(make_run("multilabel"))
    browser.open(write(results, html=True, csv=False, md=False, latex=False)[0])
    assert browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    requests = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
    of_page = [each for each in requests if each["documentURL"].startswith("file:")]
    assert {each["request"]["url"].split(":")[0] for each in of_page} == {"file", "data"}
    assert browser.run("return CHARTS.length") == 9
    drawn = "return [...document.querySelectorAll('.chart')].map(chart => chart.querySelectorAll('svg path').length)"
    assert min(browser.run(drawn)) > 5


def test_hostile_names_stay_text_in_the_page(browser: Browser, make_run: Callable[..., Path]) -> None:
    results = load(make_run("multiclass"))
    browser.open(write(results, html=True, csv=False, md=False, latex=False)[0])
    assert browser.run("return document.scripts.length") == 3
    assert "<script>alert(1)</script>" in browser.run("return document.getElementById('classes').textContent")
    assert "{{7*7}}" in browser.run("return document.getElementById('classes').textContent")
    assert "<script>alert(1)</script>" in browser.run("return document.getElementById('confusion').textContent")


def test_a_click_on_a_heading_sorts_the_table_both_ways(browser: Browser, make_run: Callable[..., Path]) -> None:
    results = load(make_run("multilabel"))
    browser.open(write(results, html=True, csv=False, md=False, latex=False)[0])
    click = "document.querySelectorAll('#summary thead button')[4].click();"
    values = (
        "return [...document.querySelectorAll('#summary .sortable tbody tr')].map(row => row.cells[4].dataset.value)"
    )
    descending = browser.run(click + values)
    ascending = browser.run(click + values)
    numbers = [float(value) for value in descending if value]
    assert numbers == sorted(numbers, reverse=True)
    assert [float(value) for value in ascending if value] == sorted(numbers)
    assert descending[-2:] == ascending[-2:] == ["", ""]
    state = "return document.querySelectorAll('#summary thead th')[4].getAttribute('aria-sort')"
    assert browser.run(state) == "ascending"


def test_the_class_table_shows_one_model_at_a_time(browser: Browser, make_run: Callable[..., Path]) -> None:
    results = load(make_run("multiclass"))
    browser.open(write(results, html=True, csv=False, md=False, latex=False)[0])
    rows = "[...document.querySelectorAll('#per-class tbody tr')]"
    visible = f"return {rows}.filter(row => !row.hidden).map(row => row.dataset.model)"
    assert set(browser.run(visible)) == {"squeezenet-finetune"}
    choose = (
        "const s = document.querySelector('[data-filter]'); s.value = 'hog-svm'; s.dispatchEvent(new Event('change'));"
    )
    assert browser.run(choose + visible) == ["hog-svm"] * len(results.classes)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("chromedriver did not start")
