"""A server, an image to send, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.serving.limits import Limits
from tests.bench.made import Made
from tests.bench.serving.server import served
from tests.reports.pages.test_browser import browser  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def address(classical: Made) -> Iterator[str]:
    with served(classical, Limits(max_bytes=2_000_000, max_pixels=1_000_000)) as place:
        yield place


@pytest.fixture
def picture(classical: Made) -> bytes:
    return next((classical.data / "images" / "train").iterdir()).read_bytes()
