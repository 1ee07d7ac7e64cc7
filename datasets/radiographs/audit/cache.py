"""Findings that take long, kept in the cache as JSON below its SHA-256."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from radiographs.disk import write_whole

_log = logging.getLogger(__name__)


def cached(path: Path, make: Callable[[], list]) -> list:
    """Return the list in a file; where there is none, or a damaged one, what `make` gives, which is then written there."""
    try:
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        if digest == _digest(text):
            return json.loads(text)
        _log.warning("cache: %s is damaged: it is made again", path.name[:16])
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        _log.warning("cache: %s is damaged: it is made again", path.name[:16])
    text = json.dumps(make())
    write_whole(path, f"{_digest(text)}\n{text}")
    return json.loads(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
