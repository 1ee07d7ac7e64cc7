"""What `test_readers` has done in another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from radiographs.preprocess import Preprocessing


@dataclass(frozen=True)
class Seen:
    """What a decoder might answer."""

    path: Path
    pixels: np.ndarray | None
    tags: dict[str, str]


class OwnError(Exception):
    """An error that this module knows by name."""


def look(path: Path, settings: Sequence[Preprocessing], data: bytes) -> tuple[Seen, int]:
    side = settings[0].side
    return Seen(path, np.full((side, 2), len(data), np.uint16), {"a": "1"}), side


def lie() -> tuple[Seen, int]:
    return "no picture", 7  # type: ignore[return-value]


def fail(kind: str) -> None:
    raise {"own": OwnError("mine"), "file": FileNotFoundError(2, "No such file", "x.png"), "local": _local()}[kind]


def _local() -> Exception:
    class LocalError(Exception):
        pass

    return LocalError("nobody knows it")
