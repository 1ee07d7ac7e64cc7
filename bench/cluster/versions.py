"""Client and workers must be alike: the same Python, packages and code, or numbers would depend on where a cell was computed."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

import radiographs
from distributed import Client

from bench import environment
from bench.cluster.client import addresses, run_on
from bench.errors import UserError

_COMPUTES = (
    "baselines",
    "deep",
    "datasets/radiographs",
    "bench/cells",
    "bench/cluster",
    "bench/data",
    "bench/executors",
    "bench/inference",
    "bench/recipes",
    "bench/store",
    "reports/runs",
)  # what a cell, or a picture, goes through
_PACKAGES = (*environment.PACKAGES, "dask", "distributed", "threadpoolctl", "safetensors")
_CODE = "the code of xraybench"
_NONE = "none"


@cache
def found_here() -> dict[str, str]:
    """Return the versions of Python and packages, and a digest of the code, of this process.

    Of a version such as 2.6.0+cu124 the part behind the + is left out: a GPU's machine has another build of the same torch.
    """
    packages = {name: (environment.package_version(name) or _NONE).partition("+")[0] for name in _PACKAGES}
    return {"python": platform.python_version(), **packages, _CODE: _code_digest()}


def difference(here: dict[str, str], there: dict[str, str]) -> str | None:
    """Return the first difference, such as ``numpy is 2.1.0 here and 2.0.2 there``; None if there is none."""
    for name, version in here.items():
        if there.get(name, _NONE) != version:
            return f"{name} is {version} here and {there.get(name, _NONE)} there"
    return None


def refusal(client: Client, address: str) -> str | None:
    """Return why a worker cannot be used: it differs, or has no xraybench; None if it can."""
    answer = run_on(client, address, found_here, on_error="return")
    if isinstance(answer, ModuleNotFoundError):
        return f"xraybench is not installed there ({answer})"
    if isinstance(answer, BaseException):
        raise answer
    return difference(found_here(), answer)


def check_all(client: Client) -> None:
    """Check that the connected workers match this process.

    Raises
    ------
    UserError
        Naming the worker, the package and both versions.
    """
    for address in sorted(addresses(client)):
        if wrong := refusal(client, address):
            raise UserError(
                f"worker {address}: {wrong}: install the same on both (requirements.lock), and start the worker again"
            )


def _code_digest() -> str:
    """First digits of a SHA-256 over the modules that compute cells."""
    digest = hashlib.sha256()
    root, reading = Path(__file__).parents[2], Path(str(radiographs.__file__)).parent
    places = [(root / name, root) for name in _COMPUTES] + [(reading, reading.parent)]
    files = [(path, above) for place, above in places for path in (place.rglob("*.py") if place.is_dir() else [place])]
    for path, above in sorted(files):
        digest.update(path.relative_to(above).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
