"""Keys of cells, and a cache of them: a run with nothing to do finds that out without loading torch and the like.

A cell's key depends on weights and on versions stated in code. It is cached under everything that could change it and that
can be read without loading them: the model's table, the files of the code and of the weights with their sizes and times, and the packages.
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
from bench.cells.encodings import Encodings
from bench.data.dataset import Data
from bench.recipes import contract
from bench.recipes.build import Resources, build
from bench.recipes.plugins import ROOMS
from bench.recipes.source import module_file
from bench.recipes.suite import ModelSpec
from reports.runs.format import is_sealed, parse_fold, recipe, sealed


def cell_key(spec: ModelSpec, encodings: Encodings, data: Data, seed: int) -> str:
    """Hash of everything that decides a cell's numbers but its fold; of a tuned model, over the values of all folds."""
    if spec.tuned:
        places = [parse_fold(place) for place in sorted(spec.tuned.folds)]
        keys = [cell_key(spec.of_fold(*place), encodings, data, seed) for place in places]
        return hashlib.sha256(json.dumps([places, keys]).encode()).hexdigest()
    head = build(spec.head, encodings.resources, "head")
    start = contract.fingerprint(head)
    encoders = [encodings.key(part) for part in spec.encoders]
    facts = [
        recipe(spec.as_dict()),
        encoders,
        start,
        contract.version(spec.head.class_),
        encodings.digest,
        data.splits_digest,
        seed,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class CellKeyCache:
    """Keeps the keys of models' cells in a cache.

    Parameters
    ----------
    cache : Path
    resources : Resources
    provenance : tuple of str or int
        Whatever else the keys depend on: digests of pixels and splits, the seed.
    """

    def __init__(self, cache: Path, resources: Resources, provenance: tuple[str | int, ...]) -> None:
        self.folder = cache / "keys"
        self.resources = resources
        self.provenance = provenance

    def cached(self, spec: ModelSpec) -> str | None:
        """Return the key of a model's cells, if nothing has changed since it was computed."""
        try:
            record = json.loads(self._file(spec).read_text(encoding="utf-8"))
            return record["key"] if is_sealed(record) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def get(self, spec: ModelSpec, compute: Callable[[], str]) -> str:
        """Return the key of a model's cells, computed if it is not cached."""
        key = self.cached(spec)
        if key is None:
            key = compute()
            write_whole(self._file(spec), json.dumps(sealed({"key": key})))
        return key

    def _file(self, spec: ModelSpec) -> Path:
        parts = [*spec.encoders, spec.head]
        modules = sorted({part.class_.partition(":")[0] for part in parts})
        named = [str(value) for part in parts for name, value in part.parameters.items() if name == "weights"]
        facts: list[Any] = [
            spec.as_dict(),
            self.provenance,
            self.resources.device,
            [
                _files(file.parent) if m.split(".")[0] in ROOMS else _stat(file)
                for m in modules
                if (file := module_file(m))
            ],
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
