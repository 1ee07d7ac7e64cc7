"""A real server of two models on a free port, and requests to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from bench.inference.model import load_model
from bench.serving.app import make_app
from bench.serving.connections import TimedProtocol
from bench.serving.limits import Limits
from tests.bench.made import Made

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


def send(address: str, content: bytes, name: str = "x.png", route: str = "/v1/predict") -> httpx.Response:
    return httpx.post(address + route, files={"file": (name, content)}, timeout=60)
