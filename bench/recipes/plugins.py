"""A user's own encoders and heads: modules beside the suite that names them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from radiographs.disk import write_whole

from bench.errors import UserError
from bench.recipes.source import module_file
from bench.recipes.suite import ModelSpec, Suite

ROOMS = ("bench", "baselines", "deep")


def add_suite_folder(file: Path, suite: Suite) -> None:
    """Make the classes that a suite names importable from the folder of its file.

    Raises
    ------
    UserError
        If a module of the same name takes precedence over the one in that folder, so that other classes would be used unnoticed.
    """
    folder = file.resolve().parent
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for name, spec in suite.models.items():
        for part in (*spec.encoders, spec.head):
            module = part.class_.split(":")[0].split(".")[0]
            mine = [path for path in (folder / f"{module}.py", folder / module / "__init__.py") if path.exists()]
            found = module_file(module)
            if mine and module not in ROOMS and found and found.read_bytes() != mine[0].read_bytes():
                raise UserError(
                    f"{file}: model {name!r} names {part.class_}, which is found in {found} before {mine[0]}: rename one of the two"
                )


def own_modules(models: Mapping[str, ModelSpec]) -> dict[str, str]:
    """Single files with a user's own encoders and heads: name and text. Packages must be installed on the workers."""
    found = {}
    for spec in models.values():
        for part in (*spec.encoders, spec.head):
            module = part.class_.partition(":")[0]
            file = None if "." in module or module in sys.stdlib_module_names else module_file(module)
            if file and file.name == f"{module}.py":
                found[file.name] = file.read_text(encoding="utf-8")
    return found


def write_beside(file: Path, models: Mapping[str, ModelSpec]) -> None:
    """Write the modules that a suite names beside its file, so that it can be run from there."""
    for name, text in own_modules(models).items():
        if (file.parent / name).resolve() != module_file(Path(name).stem):
            write_whole(file.parent / name, text)
