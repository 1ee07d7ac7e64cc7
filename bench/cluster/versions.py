"""Client and workers must be alike: the same Python, packages and code, or numbers would depend on where a cell was computed."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

import radiographs
from distributed import Client

from bench import environment
from bench.errors import UserError

_ROOMS = ("store", "recipes", "data", "cells", "executors", "cluster", "inference")
_COMPUTES = (
    "baselines",
    "deep",
    "datasets/radiographs",
    *(f"bench/{name}" for name in _ROOMS),
)  # what a cell, or a picture, goes through
_PACKAGES = (*environment.PACKAGES, "dask", "distributed", "threadpoolctl", "safetensors")
_CODE = "the code of xraybench"
_NONE = "none"


@cache
def found_here() -> dict[str, str]:
    """Versions of Python and packages, and a digest of the code, of this process.

    Of a version such as 2.6.0+cu124 the part behind the + is left out: a GPU's machine has another build of the same torch.
    """
    packages = {name: (environment.package_version(name) or _NONE).partition("+")[0] for name in _PACKAGES}
    return {"python": platform.python_version(), **packages, _CODE: _code_digest()}


def difference(here: dict[str, str], there: dict[str, str]) -> str | None:
    """Say what differs first, such as ``numpy is 2.1.0 here and 2.0.2 there``; None where nothing does."""
    for name, version in here.items():
        if there.get(name, _NONE) != version:
            return f"{name} is {version} here and {there.get(name, _NONE)} there"
    return None


def refusal(client: Client, address: str) -> str | None:
    """Return why a worker cannot be used: it differs, or has no xraybench; None if it can."""
    answer = client.run(found_here, workers=[address], on_error="return")[address]
    if isinstance(answer, ModuleNotFoundError):
        return f"xraybench is not installed there ({answer})"
    if isinstance(answer, BaseException):
        raise answer
    return difference(found_here(), answer)


def check_all(client: Client) -> None:
    """See that the workers that are there are like this process.

    Raises
    ------
    UserError
        Naming the worker, the package and both versions.
    """
    for address in sorted(client.nthreads()):
        if wrong := refusal(client, address):
            raise UserError(
                f"worker {address}: {wrong}: install the same on both (requirements.lock), and start the worker again"
            )


def _code_digest() -> str:
    """First digits of a SHA-256 over the modules that compute cells."""
    digest = hashlib.sha256()
    root, reading = Path(__file__).parents[2], Path(str(radiographs.__file__)).parent
    places = [(root / name, root) for name in _COMPUTES] + [(reading, reading.parent)]
    files = [(path, above) for place, above in places for path in place.rglob("*.py")]
    for path, above in sorted(files):
        digest.update(path.relative_to(above).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
