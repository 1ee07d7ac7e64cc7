"""A suite as a TOML file: what `tomllib` reads, written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bench.recipes.suite import Suite

_BARE = re.compile(r"^[\w-]+$", re.ASCII)


def suite_as_toml(suite: Suite) -> str:
    """Write a suite so that `bench.recipes.suite.load_suite` gives the same one."""
    tables: dict[str, Any] = {"name": suite.name, "description": suite.description}
    tables |= {"decision": suite.decision} if suite.decision else {}
    tables |= {"preprocessing": suite.preprocessing.model_dump(), "cv": suite.cv.model_dump()}
    models = {}
    for name, spec in suite.models.items():
        search = {key: dimension.as_table() for key, dimension in spec.search.items()}
        table = spec.as_dict() | ({"search": search} if search else {})
        if spec.tuned:
            table["tuned"] = spec.tuned.model_dump(exclude_none=True)
        models[name] = table
    return "\n".join(_lines({**tables, "models": models}, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Values first, then tables: in TOML everything after a table's name belongs to it."""
    rows = {key: value for key, value in table.items() if not _is_table(key, value, path)}
    if path and (rows or not table):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in rows.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if key not in rows:
            yield from _lines(value, (*path, key))


def _is_table(key: str, value: Any, path: tuple[str, ...]) -> bool:
    """Parts and dimensions are written on one line, as people write them."""
    return isinstance(value, Mapping) and key != "head" and path[2:] != ("search",)


def _key(key: str) -> str:
    return key if _BARE.match(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
