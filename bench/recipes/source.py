"""The source file of a module, found without loading it."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def module_file(module: str) -> Path | None:
    """File of a module, found without loading it; None if there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None
