"""The page predicts what is dropped on it, and loads nothing from elsewhere."""

from __future__ import annotations

import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from tests.bench.serving.server import MODELS
from tests.reports.pages.test_browser import Browser


def dropped(browser: Browser, address: str, content: bytes) -> None:
    """Hand a file to the page as the drop of a mouse would, and wait for the answers."""
    browser.ask("url", {"url": address + "/"})
    numbers = ",".join(map(str, content))
    browser.run(
        f"const file = new File([new Uint8Array([{numbers}])], 'x'); const data = new DataTransfer(); data.items.add(file);"
        "document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));"
    )
    until(browser, f"document.querySelectorAll('article').length === {len(MODELS)}")


def until(browser: Browser, condition: str) -> None:
    """Wait until a condition holds in the page."""
    deadline = time.monotonic() + 30
    while not browser.run(f"return {condition}"):
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)


@pytest.mark.browser
def test_another_frame_is_asked_for_in_the_page(address: str, picture: bytes, browser: Browser) -> None:
    pytest.importorskip("pydicom")
    from tests.radiographs.test_dicom import twin

    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))[:200, :200]
    dropped(browser, address, twin(np.stack([grey, grey[::-1], 255 - grey]), NumberOfFrames="3"))
    assert not browser.run("return document.getElementById('frames').hidden")
    first = browser.run("return document.querySelector('article img').src")
    browser.run("const f = document.getElementById('frame'); f.value = 3; f.dispatchEvent(new Event('change'));")
    until(browser, "document.getElementById('status').textContent.endsWith('frame 3 of 3')")
    assert browser.run("return document.querySelector('article img').src") != first
    browser.run("const f = document.getElementById('frame'); f.value = 4; f.dispatchEvent(new Event('change'));")
    assert browser.run("return document.getElementById('status').textContent").endswith("frame 3 of 3")
    assert browser.complaints() == []


@pytest.mark.browser
def test_a_dropped_file_is_answered_in_the_page(address: str, picture: bytes, browser: Browser) -> None:
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
