"""Keys of cells without loading what they are made with: a run that has nothing to do need not import torch to find that out.

A cell's key depends on weights and on versions that stand in code. It is kept in the cache under everything that could change it and that
can be told from outside: the model's table, the files of the code and of the weights with their sizes and times, and the packages.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radiographs.disk import write_whole

from bench import environment
from bench.recipes.build import Resources
from bench.recipes.plugins import ROOMS, origin
from bench.recipes.suite import ModelSpec
from bench.store.run_folder import is_sealed, sealed


class CellKeyCache:
    """Keeps the keys of models' cells in a cache.

    Parameters
    ----------
    made_of
        What else the keys depend on: digests of pixels and splits, the seed.
    """

    def __init__(self, cache: Path, resources: Resources, made_of: tuple[str | int, ...]) -> None:
        self.folder = cache / "keys"
        self.resources = resources
        self.made_of = made_of

    def known(self, spec: ModelSpec) -> str | None:
        """Key of a model's cells, if nothing changed since it was worked out."""
        try:
            record = json.loads(self._file(spec).read_text(encoding="utf-8"))
            return record["key"] if is_sealed(record) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def get(self, spec: ModelSpec, work_out: Callable[[], str]) -> str:
        """Key of a model's cells."""
        key = self.known(spec)
        if key is None:
            key = work_out()
            write_whole(self._file(spec), json.dumps(sealed({"key": key})))
        return key

    def _file(self, spec: ModelSpec) -> Path:
        parts = [*spec.encoders, spec.head]
        modules = sorted({part.class_.partition(":")[0] for part in parts})
        named = [str(value) for part in parts for name, value in part.parameters.items() if name == "weights"]
        facts: list[Any] = [
            spec.as_dict(),
            self.made_of,
            self.resources.device,
            [_files(file.parent) if m.split(".")[0] in ROOMS else _stat(file) for m in modules if (file := origin(m))],
            [_stat(Path(path)) for path in named],
            [_files(folder) for folder in (self.resources.weights_dir, _torch_cache()) if folder],
            {name: environment.package_version(name) for name in environment.PACKAGES},
        ]
        return (
            self.folder / f"{hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()}.json"
        )


def _torch_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.home() raises where there is none
    return Path(os.environ.get("TORCH_HOME") or Path(base) / "torch") / "hub" / "checkpoints"


def _files(folder: Path) -> list[Any]:
    return sorted(_stat(path) for path in folder.glob("*") if path.is_file())


def _stat(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), facts.st_size, facts.st_mtime_ns
