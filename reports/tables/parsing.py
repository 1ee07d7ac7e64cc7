"""Tables of `bench report` read back from CSV, Markdown and LaTeX, possibly edited: every row, and the text around the table."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from reports.runs.results import ResultsError

LABEL = re.compile(r"\\label\{tab:(\w+)\}")
_ESCAPED = r"(?<!\\)((?:\\\\)*)"  # an even number of backslashes, so that the next character is literal
_REMARK = re.compile(_ESCAPED + r"%[^\n]*")
_BAR = re.compile(_ESCAPED + r"\|")
_CAPTION = r"\caption{"
_BRACE = re.compile(r"(?<!\\)[{}]")
_TABLE = re.compile(r"\\begin\{(tabular[*xy]?|longtable)\}(.*?)\\end\{\1\}", re.DOTALL)
_GROUP = r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
_ALIGNMENT = {
    True: re.compile(r"\s*(?:\[[tbc]\])?" + _GROUP),
    False: re.compile(r"\s*\{([^{}]*)\}(?:\[[tbc]\])?" + _GROUP),
}
_BETWEEN = re.compile(r"[@!<>]\{([^{}]*)\}")  # in an alignment: what is set between columns
_RULE = re.compile(
    r"\\(?:(?:top|mid|bottom)rule|hline|addlinespace)(?![A-Za-z])(?:\[[^\]]*\])?"
    r"|\\end(?:first|last)?(?:head|foot)(?![A-Za-z])|\\c(?:mid)?(?:rule|line)(?:\([a-z]*\))?\{[\d-]*\}"
)
_TOKEN = re.compile(
    r"(?P<end>\\tabularnewline(?![A-Za-z])(?:\s*\[[^\]]*\])?|\\cr(?![A-Za-z])|\\\\\*?(?:\s*\[[^\]]*\])?)"
    r"|(?P<next>&)|(?P<text>\\[A-Za-z]+|\\.|[^\\&]+)",
    re.DOTALL,
)
_LAYOUT = re.compile(
    r"\\(?:begin|end)\{[A-Za-z]+\*?\}(?:\[[htbpH!]*\])?|\\[A-Za-z]+\*?|\{-?[\d.]+(?:pt|em|ex|mm|cm|in)\}|[{}!<>]"
)


@dataclass(frozen=True)
class Grid:
    """A table as it is in a file.

    Attributes
    ----------
    columns : list of str
    rows : list of list of str
        In their order, of any length, none left out.
    beside : tuple of str
        Other visible text: the caption, and text around the table.
    """

    columns: list[str]
    rows: list[list[str]]
    beside: tuple[str, ...] = ()


def from_csv(text: str, path: Path) -> Grid:
    """Read a CSV file; blank lines are skipped.

    Raises
    ------
    ResultsError
        If it is not CSV.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error as error:
        raise ResultsError(f"{path}: cannot be read as a table ({error})") from None
    return Grid(rows[0], rows[1:]) if rows else Grid([], [])


def from_markdown(text: str) -> Grid:
    """Read a Markdown table; other text is kept beside it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rows = [[cell.strip() for cell in _cells(line)] for line in lines if line.startswith("|")]
    beside = tuple(_one_line(line) for line in lines if not line.startswith("|"))
    dashes = rows[1] if len(rows) > 1 else []
    if not dashes or not all(re.fullmatch(r":?-+:?", cell) for cell in dashes):
        return Grid([], [], beside)
    return Grid(rows[0], rows[2:], beside)


def from_latex(text: str, path: Path) -> Grid:
    """Read the one tabular or longtable of a file, with any row endings, bold type and daggers.

    Raises
    ------
    ResultsError
        If there is none, or more than one.
    """
    text = _REMARK.sub(r"\1", text)
    text, captions = _without_captions(LABEL.sub("", text))
    tables = list(_TABLE.finditer(text))
    if len(tables) != 1:
        raise ResultsError(f"{path}: holds {len(tables)} tables: give a file with one")
    kind, body = tables[0].groups()
    alignment = _ALIGNMENT[kind in ("tabular", "longtable")].match(body)
    between = _BETWEEN.findall(alignment[0]) if alignment else []
    around = [text[: tables[0].start()], text[tables[0].end() :], *between]
    words = _one_line(" ".join(_LAYOUT.sub(" ", part) for part in around))
    beside = (*captions, *([words] if words else []))
    rows = [row for row in _rows(_RULE.sub(" ", body[alignment.end() if alignment else 0 :])) if any(row)]
    if not rows:
        return Grid([], [], beside)
    return Grid(rows[0], [row for row in rows[1:] if row != rows[0]], beside)  # a longtable may repeat its head


def _cells(line: str) -> list[str]:
    """Cells of a line of a Markdown table."""
    parts = _BAR.sub("\\1\0", line).split("\0")
    return parts[1:-1] if not parts[-1].strip() else parts[1:]


def _rows(body: str) -> Iterator[list[str]]:
    row = [""]
    for token in _TOKEN.finditer(body):
        if token["end"]:
            yield [_one_line(cell) for cell in row]
            row = [""]
        elif token["next"]:
            row.append("")
        else:
            row[-1] += token["text"]
    yield [_one_line(cell) for cell in row]


def _without_captions(text: str) -> tuple[str, list[str]]:
    """Text without its captions, and the captions."""
    found = []
    while (begin := text.find(_CAPTION)) >= 0:
        inside = text[begin + len(_CAPTION) :]
        braces = list(_BRACE.finditer(inside))
        depths = accumulate(1 if brace[0] == "{" else -1 for brace in braces)
        ends = (brace.start() for brace, depth in zip(braces, depths, strict=True) if depth < 0)
        end = next(ends, len(inside))
        found.append(_one_line(inside[:end]))
        text = text[:begin] + inside[end + 1 :]
    return text, found


def _one_line(text: str) -> str:
    return " ".join(text.split())
