"""Schedulers and workers of Dask as processes of their own, as they stand on other machines."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def process(module: str, *arguments: object, cwd: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """A process of Dask in a folder of its own."""
    line = [sys.executable, "-m", module, *map(str, arguments), "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    cwd.mkdir(exist_ok=True)
    where = {**os.environ, **environment}
    with (cwd / "log").open("ab") as log, subprocess.Popen(line, cwd=cwd, env=where, stdout=log, stderr=log) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Address and process of a scheduler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with process("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, cwd=folder) as started:
        wait_for(port)
        yield f"tcp://127.0.0.1:{port}", started


@contextmanager
def worker(address: str, folder: Path, preload: str, *, nanny: bool = False) -> Iterator[subprocess.Popen]:
    """A worker that runs `preload` first; with a nanny, which starts it again when it dies."""
    folder.mkdir()
    (folder / "preload.py").write_text(preload)
    options = (
        "--nanny" if nanny else "--no-nanny",
        "--nthreads",
        1,
        "--memory-limit",
        0,
        "--local-directory",
        folder,
        "--preload",
        "preload.py",
    )
    cache = str(folder / "cache")
    with process("distributed.cli.dask_worker", address, *options, cwd=folder, XRAYBENCH_CACHE=cache) as started:
        deadline = time.monotonic() + 60
        while "Registered to" not in (folder / "log").read_text(errors="replace") and time.monotonic() < deadline:
            time.sleep(0.1)
        yield started


def wait_for(port: int) -> None:
    """Until something listens there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
