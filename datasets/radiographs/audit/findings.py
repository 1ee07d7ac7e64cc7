"""What a check of a data set found: codes that stay, what each means, and which images it concerns."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Row:
    """One case: the images that it concerns, and its description."""

    images: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Finding:
    """All cases of one kind.

    Attributes
    ----------
    code : str
        Such as "D021"; see codes.toml.
    rows : tuple of Row
    """

    code: str
    rows: tuple[Row, ...]

    @property
    def level(self) -> str:
        """One of `LEVELS`."""
        return codes()[self.code]["level"]

    def as_dict(self) -> dict[str, object]:
        """For JSON: code, level, title, meaning, remedy, n, and cases with their images and text."""
        cases = [{"images": list(row.images), "text": row.text} for row in self.rows]
        return {"code": self.code, **codes()[self.code], "n": len(cases), "cases": cases}


@cache
def codes() -> dict[str, dict[str, str]]:
    """Level, title, meaning and remedy by code."""
    return tomllib.loads(files("radiographs.audit").joinpath("codes.toml").read_text(encoding="utf-8"))
