"""What a reader sees: the page opened from a file in headless Chromium, driven over the WebDriver protocol."""

import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from reports.comparison.pairwise import TestSettings
from reports.pages.across import write_across
from reports.pages.pictures import MAX_IN_CELL
from reports.pages.report import write
from reports.runs.results import load
from reports.scores.confusion import images_behind
from reports.scores.evaluation import evaluate
from reports.studies.report import write_study
from tests.reports.conftest import write_run

pytestmark = pytest.mark.browser

AXE = """const done = arguments[0];
const report = (found) => done({ violations: found.violations.map(({ id, impact, nodes }) => ({ id, impact, html: nodes[0].html })), passes: found.passes.length });
axe.run(document).then(report, (error) => done({ violations: [{ impact: "critical", id: String(error) }], passes: 0 }));"""
WEAK = {"hog-svm": ("classical", 0.4), "efficientnet-probe": ("deep", 0.6)}
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

    def complaints(self) -> list[dict]:
        """What axe-core finds wrong with the page; the test is skipped where it is not installed."""
        folder = Path(pytest.importorskip("axe_playwright_python").__path__[0])
        self.run((folder / "axe.min.js").read_text(encoding="utf-8") + "; window.axe = axe;")
        found = self.ask("execute/async", {"script": AXE, "args": []})
        assert found["passes"] > 10
        return found["violations"]

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
    browser.open(write(results, html=True)[0])
    assert browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    requests = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
    of_page = [each for each in requests if each["documentURL"].startswith("file:")]
    assert {each["request"]["url"].split(":")[0] for each in of_page} == {"file", "data"}
    assert browser.run("return CHARTS.length") == 11
    drawn = "return [...document.querySelectorAll('.chart')].map(chart => chart.querySelectorAll('svg path').length)"
    assert min(browser.run(drawn)) > 5


def test_hostile_names_stay_text_in_the_page(browser: Browser, make_run: Callable[..., Path]) -> None:
    results = load(make_run("multiclass"))
    browser.open(write(results, html=True)[0])
    assert browser.run("return document.scripts.length") == 3
    assert "<script>alert(1)</script>" in browser.run("return document.getElementById('classes').textContent")
    assert "{{7*7}}" in browser.run("return document.getElementById('classes').textContent")
    assert "<script>alert(1)</script>" in browser.run("return document.getElementById('confusion').textContent")


def test_a_click_on_a_heading_sorts_the_table_both_ways(browser: Browser, make_run: Callable[..., Path]) -> None:
    results = load(make_run("multilabel"))
    browser.open(write(results, html=True)[0])
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
    browser.open(write(results, html=True)[0])
    rows = "[...document.querySelectorAll('#per-class tbody tr')]"
    visible = f"return {rows}.filter(row => !row.hidden).map(row => row.dataset.model)"
    assert set(browser.run(visible)) == {"efficientnet-finetune"}
    choose = (
        "const s = document.querySelector('[data-filter]'); s.value = 'hog-svm'; s.dispatchEvent(new Event('change'));"
    )
    assert browser.run(choose + visible) == ["hog-svm"] * len(results.classes)


def test_the_summary_shows_one_family_at_a_time(browser: Browser, make_run: Callable[..., Path]) -> None:
    browser.open(write(load(make_run("multiclass")), html=True)[0])
    choose = (
        "const s = document.querySelector('[data-family]'); s.value = arguments; s.dispatchEvent(new Event('change'));"
    )
    rows = "return [...document.querySelectorAll('#summary-table tbody tr')].filter(row => !row.hidden).map(row => row.cells[1].textContent);"
    assert browser.run(choose.replace("arguments", "'classical'") + rows) == ["classical", "classical"]
    assert len(browser.run(choose.replace("arguments", "''") + rows)) == 8


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_click_on_the_confusion_matrix_shows_the_images_behind_it(
    browser: Browser, make_run: Callable[..., Path], task: str
) -> None:
    evaluation = evaluate(load(make_run(task, classes=("Hand", "Knee", "<b>Hip</b>"), models=WEAK)))
    browser.open(write(evaluation.results, html=True)[0])
    clicked = browser.run(
        "const cell = [...document.querySelectorAll('#confusion .mark-rect path')].pop();"
        "const box = cell.getBoundingClientRect(), at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true };"
        "cell.dispatchEvent(new MouseEvent('click', at));"
        "return [cell.__data__.datum.model, cell.__data__.datum.true, cell.__data__.datum.predicted];"
    )
    shown = browser.run("return [...document.querySelectorAll('#confused figure code')].map(code => code.textContent)")
    cells = {(true, said): ids for true, said, ids in images_behind(evaluation, clicked[0])}
    behind = cells[clicked[1], clicked[2]]
    assert shown == behind[:MAX_IN_CELL]
    heading = browser.run("return document.querySelector('#confused select').selectedOptions[0].textContent")
    assert heading == f"{clicked[1]} → {clicked[2]}: {len(behind)}"
    loaded = (
        "return [...document.querySelectorAll('#confused img')].every(img => img.complete && img.naturalWidth === 16)"
    )
    assert browser.run(loaded)
    assert browser.log("browser") == []


def test_another_model_has_other_images(browser: Browser, make_run: Callable[..., Path]) -> None:
    evaluation = evaluate(load(make_run("multilabel", classes=("Hand", "Knee", "Hip"))))
    browser.open(write(evaluation.results, html=True)[0])
    browser.run(
        "const s = [...document.querySelectorAll('#confusion .vega-bindings select')][0]; s.value = 'lbp-xgboost';"
        "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change'));"
    )
    time.sleep(0.5)
    options = browser.run("return [...document.querySelectorAll('#confused option')].map(option => option.textContent)")
    assert options == [f"{true} → {said}: {len(ids)}" for true, said, ids in images_behind(evaluation, "lbp-xgboost")]


def test_doubtful_and_hard_images_are_shown_beside_their_labels(
    browser: Browser, make_run: Callable[..., Path]
) -> None:
    browser.open(write(load(make_run("multilabel", models=WEAK)), html=True)[0])
    for section in ("suspects", "hardest"):
        pictures = f"[...document.querySelectorAll('#{section} img')]"
        assert browser.run(f"return {pictures}.length") > 0
        assert browser.run(f"return {pictures}.every(img => !img.hidden && img.naturalWidth === 16 && img.alt !== '')")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_accessible(browser: Browser, make_run: Callable[..., Path], width: int) -> None:
    browser.ask("window/rect", {"width": width, "height": 900})
    browser.open(write(load(make_run("multilabel")), html=True)[0])
    assert [each for each in browser.complaints() if each["impact"] in ("serious", "critical")] == []
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")


def test_hostile_text_of_every_kind_stays_text(browser: Browser, make_run: Callable[..., Path]) -> None:
    names = (
        "<img src=x onerror=alert(1)>",
        "\u202egnp.exe\u2066",
        "x" * 5000,
        "]]>--><svg onload=alert(1)>",
        "'; alert(1); '",
    )
    browser.open(write(load(make_run("multilabel", classes=("Hand", *names), models=WEAK)), html=True)[0])
    assert browser.log("browser") == []
    assert browser.run("return document.scripts.length") == 3
    assert browser.run("return document.querySelectorAll('[onerror], [onload]').length") == 0
    text = browser.run("return document.getElementById('per-class').textContent")
    assert all(name in text for name in names)
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    options = "return [...document.querySelectorAll('#confused option')].map(option => option.textContent).join(' ')"
    assert names[0] in browser.run(options)
    assert browser.run("return document.querySelectorAll('#confused svg, #confused option *').length") == 0


def test_the_page_of_several_data_sets_draws_and_is_accessible(browser: Browser, tmp_path: Path) -> None:
    runs = []
    for k in range(3):
        path = write_run(tmp_path / f"set-{k}", "multilabel", ("Hand", "Knee"), seed=k)
        description = json.loads((path / "run.json").read_text())
        description["data"] |= {"name": f"<i>set {k}</i>", "digest": str(k)}
        (path / "run.json").write_text(json.dumps(description))
        manifest = pd.read_parquet(path / "manifest.parquet")
        manifest.assign(sha256=[f"{k}{digest}" for digest in manifest["sha256"]]).to_parquet(path / "manifest.parquet")
        runs.append(load(path))
    formats = {"html": True, "csv": False, "md": False, "latex": False, "figures": (), "settings": TestSettings()}
    browser.open(write_across(runs, tmp_path / "out", **formats)[1][0])
    assert browser.log("browser") == []
    assert browser.run(
        "return [...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('svg').length)"
    ) == [1, 1]
    assert "<i>set 1</i>" in browser.run("return document.getElementById('scores').textContent")


def test_the_page_of_a_study_draws_and_is_accessible(browser: Browser, tmp_path: Path) -> None:
    facts = []
    for variant in ("base", "median"):
        for seed in (0, 1):
            name = f"a-{variant}-{seed}"
            run = write_run(
                tmp_path / "runs" / name, "multilabel", ("<b>Hand</b>", "Knee"), seed=2 * seed + len(variant)
            )
            described = json.loads((run / "run.json").read_text())
            described["suite"]["preprocessing"]["denoise"] = "median" if variant == "median" else "none"
            described["seed"] = seed
            (run / "run.json").write_text(json.dumps(described))
            place = {"data": ["<i>A</i>"], "suite": "quick", "variant": variant, "seed": seed, "test": None}
            facts.append({"name": name, **place})
    (tmp_path / "study.json").write_text(json.dumps({"name": "<s>study</s>", "runs": facts}))
    words, paths = write_study(tmp_path, html=True, csv=True)
    assert any(line.startswith("median: no significant change; observed changes: ") for line in words)
    browser.open(paths[0])
    assert browser.log("browser") == []
    charts = "return [...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('svg').length)"
    assert browser.run(charts) == [1]
    assert browser.run("return document.querySelectorAll('i, s, td b').length") == 0
    assert "<i>A</i>" in browser.run("return document.getElementById('table-seeds').textContent")
    effects = pd.read_csv(tmp_path / "report" / "tables" / "effects.csv")
    assert set(effects["n_seeds"]) == {2}
    assert "prior" not in set(effects["model"])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("chromedriver did not start")
