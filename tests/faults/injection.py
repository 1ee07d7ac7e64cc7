"""Runs of the command on a faulty disk: each in a child of one process that has loaded its libraries, with a fault at a chosen operation.

The faults are made by `disk.c`, which stands between the process and the C library. The operations of a run are counted first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SUITE = """
name = "small"
[preprocessing]
side = 32
[cv]
folds = 2
[models.prior]
head = { class = "baselines.prior:Prior" }
[models.thumbnail-svm]
mirror = true
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]
head = { class = "baselines.svm:SVM", C = [1], gamma = [1] }
"""
_SERVER = """
import ctypes, json, os, sys
import bench.cli, bench.session.run, bench.store.lock, bench.data.pictures, baselines.prior, baselines.svm, baselines.thumbnail  # before the fork: once
import reports.pages.report, reports.runs.results, reports.pages.terminal, pyarrow.parquet, scipy.special, sklearn.svm, threadpoolctl
import cv2, numpy, radiographs.png, radiographs.sources
from radiographs.read import read_picture
radiographs.png.plain_grey(cv2.imencode(".png", numpy.zeros((64, 64), numpy.uint8))[1].tobytes(), 10**6)  # compiled, too; starts no thread
pyarrow.set_cpu_count(1)
shim = ctypes.CDLL(None) if os.environ.get("LD_PRELOAD") else None
for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if not child:
        out = os.open(task["stdout"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), os.open(task["stderr"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out[0], 1)
        os.dup2(out[1], 2)
        os.chdir(task["cwd"])
        os.environ["XRAYBENCH_CACHE"] = task["cache"]
        sys.argv = ["bench", *task["arguments"]]
        if shim: shim.fault_arm(task["roots"].encode(), task["kind"].encode(), ctypes.c_long(task["at"]), task["log"].encode())
        try:
            code = bench.cli.invoke(task["arguments"])
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        sys.stderr.flush()
        if shim: shim.fault_arm(b"", b"off", ctypes.c_long(0), b"")
        os._exit(code)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass(frozen=True)
class Finished:
    """What a command printed and returned; minus the signal's number where it was killed."""

    returncode: int
    stdout: str
    stderr: str


def build_shim(folder: Path) -> Path | None:
    """Compile the faulty disk; None where there is no compiler, or another system than Linux."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "disk.c", "-ldl"], check=True)
    return library


@dataclass
class FaultyDisk:
    """Runs commands with faults in everything below `root`, where the working folder and the cache are."""

    root: Path
    server: subprocess.Popen[str]

    def run(self, *arguments: object, kind: str = "off", at: int = 0, cwd: Path, log: Path | None = None) -> Finished:
        """Run ``bench`` with a fault of a kind at the operation `at`, counted from 1."""
        said = [self.root / name for name in ("stdout", "stderr")]
        task = {"arguments": [str(a) for a in arguments], "kind": kind, "at": at, "cwd": str(cwd)}
        task |= {"cache": str(cwd / "cache"), "roots": str(cwd), "log": str(log or "")}
        task |= {"stdout": str(said[0]), "stderr": str(said[1])}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(task) + "\n")
        self.server.stdin.flush()
        code = int(self.server.stdout.readline())
        return Finished(code, *(path.read_text(encoding="utf-8", errors="replace") for path in said))

    def operations(self, *arguments: object, cwd: Path) -> list[str]:
        """What a run does to the disk, such as ``write /…/run.json``, in its order."""
        log = self.root / "operations"
        log.unlink(missing_ok=True)
        done = self.run(*arguments, kind="count", cwd=cwd, log=log)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.partition(" ")[2] for line in log.read_text(encoding="utf-8").splitlines()]


@contextmanager
def faulty_disk(root: Path, shim: Path | None) -> Iterator[FaultyDisk]:
    """Start the process that runs commands; without the library there are no faults."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}
    environment |= {"LD_PRELOAD": str(shim)} if shim else {}
    environment.pop("XRAYBENCH_WEIGHTS", None)
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=HERE.parents[1],
    ) as server:
        try:
            yield FaultyDisk(root, server)
        finally:
            server.kill()


def contents(run: Path) -> dict[str, bytes]:
    """Everything in a run folder that must be the same bytes whatever happened on the way."""
    names = (
        "predictions.parquet",
        "splits.parquet",
        "manifest.parquet",
        "thumbnails.parquet",
        "svm.safetensors",
        "prior.json",
    )
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted(run.rglob("*")) if p.name in names}


def leftovers(folder: Path) -> list[str]:
    """Temporary files and locks that are still there."""
    return [
        str(p) for p in folder.rglob("*") if p.name.startswith(".") or p.name == "lock" or p.name.endswith(".partial")
    ]
