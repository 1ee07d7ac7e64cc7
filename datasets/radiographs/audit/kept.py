"""Findings that take long, kept in the cache as JSON below its SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path


def kept(path: Path, make: Callable[[], list]) -> list:
    """Return the list in a file; where there is none, or a damaged one, what `make` gives, which is then written there."""
    try:
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        if digest == _digest(text):
            return json.loads(text)
    except (OSError, ValueError):
        pass
    text = json.dumps(make())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(f"{_digest(text)}\n{text}", encoding="utf-8")
    partial.replace(path)
    return json.loads(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
