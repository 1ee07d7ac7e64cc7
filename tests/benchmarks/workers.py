"""What cells side by side gain: ``python tests/benchmarks/workers.py UNIFESP [MODEL ...]``.

The same run five ways: one cell after another with all cores; ``--jobs 2``; ``--cluster local:2``; on one Dask worker of one core; on two of them.
Encodings are in the cache before, so that what is timed is fits and predictions. From each time that of a run that finds everything done is taken off.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

MODELS = ("hog-svm", "lbp-svm", "hog-lbp-svm", "hog-xgboost", "lbp-xgboost")
ROUNDS = 2


@contextmanager
def one_core_workers(n: int, folder: Path) -> Iterator[str]:
    """A scheduler and n workers of one core each; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    where = {**os.environ, **threads}
    with ExitStack() as stack, (folder / "dask.log").open("a") as log:

        def start(*words: str) -> None:
            line = [sys.executable, "-m", *words, "--no-dashboard"]
            process = stack.enter_context(subprocess.Popen(line, cwd=folder, env=where, stdout=log, stderr=log))
            stack.callback(process.terminate)

        start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2])
        time.sleep(4)
        for _ in range(n):
            start("distributed.cli.dask_worker", address, "--nthreads", "1", "--memory-limit", "0")
        time.sleep(8)
        yield address


def timed(data: str, models: tuple[str, ...], out: Path, *options: str) -> float:
    """Seconds of a run."""
    line = [sys.executable, "-m", "bench.cli", "run", *models, "--suite", "quick", "--data", data, "--out", str(out)]
    begun = time.perf_counter()
    subprocess.run([*line, "--no-pictures", *options], check=True, capture_output=True)
    return time.perf_counter() - begun


def main(data: str, models: tuple[str, ...]) -> None:
    """Time every way, in turn."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        timed(data, models, root / "first")  # fills the cache
        nothing = timed(data, models, root / "first")
        for turn in range(ROUNDS):
            for way, options in {
                "alone": (),
                "--jobs 2": ("--jobs", "2"),
                "--cluster local:2": ("--cluster", "local:2"),
            }.items():
                seconds.setdefault(way, []).append(timed(data, models, root / f"{way}-{turn}", *options) - nothing)
            for n in (1, 2):
                with one_core_workers(n, root) as address:
                    took = timed(data, models, root / f"workers-{n}-{turn}", "--scheduler", address) - nothing
                seconds.setdefault(f"{n} workers of one core", []).append(took)
    for way, values in seconds.items():
        print(f"{way:<24} {np.median(values):7.1f} s  ({', '.join(f'{v:.1f}' for v in values)})")
    one, two = (float(np.median(seconds[f"{n} workers of one core"])) for n in (1, 2))
    print(f"1 to 2 workers: {one / two:.2f} times as fast, efficiency {one / two / 2:.0%}")
    print(f"--jobs 2 against alone: {np.median(seconds['alone']) / np.median(seconds['--jobs 2']):.2f} times as fast")


if __name__ == "__main__":
    main(sys.argv[1], tuple(sys.argv[2:]) or MODELS)
