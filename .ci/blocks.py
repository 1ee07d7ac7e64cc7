"""The code blocks of a page that continuous integration runs as they stand.

A block is marked by the line ``<!-- ci: run NAME -->`` before it. ``python .ci/blocks.py README.md NAME`` prints its commands.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

_MARK = re.compile(r"^<!-- ci: run (?P<name>[\w-]+) -->$")


def blocks(page: str) -> dict[str, str]:
    """Commands of every marked block, by name.

    Raises
    ------
    ValueError
        If a marked block is empty or fenced (blocks are indented by four spaces), or two have one name.
    """
    found: dict[str, str] = {}
    lines = page.splitlines()
    for number, line in enumerate(lines):
        mark = _MARK.match(line)
        if not mark:
            continue
        name, block = mark["name"], _indented(lines[number + 1 :])
        if not block or name in found:
            raise ValueError(f"line {number + 1}: the block {name!r} is empty or there twice")
        found[name] = block
    return found


def _indented(lines: list[str]) -> str:
    """Return the indented lines at the top, after blank ones, without their indentation."""
    block: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith("    "):
            break
        block.append(line)
    return textwrap.dedent("\n".join(block)).strip("\n")


if __name__ == "__main__":
    print(blocks(Path(sys.argv[1]).read_text(encoding="utf-8"))[sys.argv[2]])
