"""Expensive findings, cached as JSON with its SHA-256."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from radiographs.disk import write_whole

_log = logging.getLogger(__name__)


def cached(path: Path, make: Callable[[], list]) -> list:
    """Return the list in a file; if it is missing or damaged, write and return what `make` gives."""
    try:
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        if digest == _digest(text):
            return json.loads(text)
        _log.warning("cache: %s is damaged: recomputing it", path.name[:16])
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        _log.warning("cache: %s is damaged: recomputing it", path.name[:16])
    text = json.dumps(make())
    write_whole(path, f"{_digest(text)}\n{text}")
    return json.loads(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
