"""Run the commands of a page and put what they print below them: ``python docs/execute.py docs/tutorial.md``.

In a block of the language ``console`` a line that begins with ``$`` is a command; the lines up to the next one are its output.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


def executed(page: str, folder: Path) -> str:
    """Return a page with the output of its commands as they are now; all run in one folder, one after the other.

    Raises
    ------
    RuntimeError
        If a command fails; the message holds its output.
    """

    def run(match: re.Match[str]) -> str:
        commands = [line for line in match.group().splitlines() if line.startswith("$ ")]
        return "".join(f"{command}\n{_output(command[2:], folder)}" for command in commands)

    return _BLOCK.sub(run, page)


def masked(page: str) -> str:
    """Return a page without what differs between machines: numbers, and the blanks and lines that align them.

    >>> masked("F1 0.871  in 12.3 s")
    'F1 # in # s'
    """
    return re.sub(r"[\s─━-]+", " ", re.sub(r"\d[\d.,:]*", "#", page))


def _output(command: str, folder: Path) -> str:
    environment = {**os.environ, "COLUMNS": "100", "XRAYBENCH_CACHE": str(folder / ".cache"), "PYTHONUNBUFFERED": "1"}
    result = subprocess.run(  # noqa: S602 - the pages are part of the checkout
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        raise RuntimeError(f"{command}: exit code {result.returncode}\n{result.stdout}")
    lines = [line.rstrip() for line in result.stdout.replace(str(folder), "").splitlines()]
    lines = [line for line, after in pairwise([*lines, ""]) if not _same_progress(line, after)]
    return "\n".join(lines).strip("\n") + "\n" if any(lines) else ""


def _same_progress(line: str, after: str) -> bool:
    """Whether a line such as ``decoding: 12 of 120`` is followed by the next of its kind."""
    matches = [re.fullmatch(r"(.+): \d+ of \d+", text) for text in (line, after)]
    return all(matches) and len({match[1] for match in matches if match}) == 1


def main() -> None:
    """Write the pages that are named on the command line again."""
    for name in sys.argv[1:]:
        page = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(executed(page.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
