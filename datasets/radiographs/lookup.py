"""Why a file that a table names is missing, judged by similar files: its ending, its case, its folder, its slashes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path


class Lookup:
    """Files below a folder, listed on first use.

    Parameters
    ----------
    root : Path
        Folder that names are relative to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def why_missing(self, name: str) -> str:
        """Describe how the file on disk is named differently from `name`; empty if there is none like it.

        No file name is revealed, since results contain the reason.
        """
        plain = name.replace("\\", "/")
        base = plain.rpartition("/")[2]
        if "\\" in name and plain in self._files:
            return "it exists with / instead of \\"
        if plain.lower() in self._by_path:
            return "it exists in different upper and lower case"
        same_stem = [file for file in self._by_stem.get(plain.lower(), []) if "." in _base(file)]
        if same_stem:
            return f"it exists with the ending .{same_stem[0].rpartition('.')[2]}"
        if base.lower() in self._by_base:
            return "it exists in another folder"
        if base.lower() in self._by_base_stem:
            return "it exists in another folder, with an ending"
        return ""

    @cached_property
    def _files(self) -> frozenset[str]:
        return frozenset(
            Path(folder, name).relative_to(self.root).as_posix()
            for folder, _, names in os.walk(self.root)
            for name in names
            if not name.startswith(".")
        )

    @cached_property
    def _by_path(self) -> dict[str, list[str]]:
        return self._grouped(str.lower)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._grouped(_stem)

    @cached_property
    def _by_base(self) -> dict[str, list[str]]:
        return self._grouped(lambda file: _base(file).lower())

    @cached_property
    def _by_base_stem(self) -> dict[str, list[str]]:
        return self._grouped(lambda file: _base(_stem(file)))

    def _grouped(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        """Files by `key` of their names."""
        found = defaultdict(list)
        for file in sorted(self._files):
            found[key(file)].append(file)
        return found


def _base(file: str) -> str:
    return file.rpartition("/")[2]


def _stem(file: str) -> str:
    """Lower-case path without the ending."""
    folder, slash, base = file.rpartition("/")
    return f"{folder}{slash}{base.rpartition('.')[0] or base}".lower()
