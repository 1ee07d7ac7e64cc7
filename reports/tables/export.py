"""Tables as CSV, Markdown and LaTeX text; nothing in a name is interpreted as markup."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

BEST, TIED = r"\textbf{{}}", r"{}$^{\dagger}$"
STYLES = (BEST, TIED)
FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "†": r"$^{\dagger}$",
    "→": r"$\rightarrow$",
    "χ": r"$\chi$",
    "²": "$^2$",
    "—": "---",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "[": "{[}",
} | {character: f"\\{character}" for character in "&%$#_{}"}
LATEX_LETTERS = "ßæøœłıÆØŒŁ"  # beside accented ones; pdflatex sets them in its default encoding
LONGEST_CELL = 60
OGONEK = "\u0328"
MARKDOWN = {character: f"\\{character}" for character in r"\`*_[]|~$#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def table_files(
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    caption: Callable[[str], str],
    label: str,
    *,
    csv: bool,
    md: bool,
    latex: bool,
) -> dict[Path, str]:
    """Write tables in the requested formats: path -> text. LaTeX labels are ``tab:LABEL-NAME``."""
    texts = {}
    for name, table in tables.items():
        path, readable = folder / name, plain(table)
        if csv:
            texts[path.with_suffix(".csv")] = csv_text(table)
        if md:
            texts[path.with_suffix(".md")] = markdown_text(readable, caption(name))
        if latex:
            texts[path.with_suffix(".tex")] = latex_text(readable, caption(name), f"tab:{label}-{name}", wide=True)
    return texts


def csv_text(table: pd.DataFrame) -> str:
    """Write a table as CSV; a text that a spreadsheet would interpret as a formula gets a leading apostrophe."""
    safe = table.rename(columns=_neutral).map(_neutral)
    return safe.to_csv(index=False, lineterminator="\n")


def markdown_text(table: pd.DataFrame, caption: str) -> str:
    """Write a table of text as a GitHub-flavoured Markdown table under its caption."""
    rows = [_markdown_cells(table.columns), ["---"] * table.shape[1]]
    rows += [_markdown_cells(row) for row in table.itertuples(index=False)]
    return f"{markdown_escaped(caption)}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def latex_text(
    table: pd.DataFrame, caption: str, label: str, *, wide: bool, styles: Mapping[tuple[int, int], str] | None = None
) -> str:
    """Write a table of text with booktabs rules.

    A wide table is a float over both columns, no wider than the page; another one is a longtable, which breaks over pages. `styles`
    has a template of `STYLES` for cells by row and column.
    """
    head = " & ".join(_latex_cells(table.columns)) + r" \\"
    body = []
    for i, row in enumerate(table.itertuples(index=False)):
        cells = [(styles or {}).get((i, j), "{}").replace("{}", text, 1) for j, text in enumerate(_latex_cells(row))]
        body.append(" & ".join(cells) + r" \\")
    alignment = "l" * table.shape[1]
    title = rf"\caption{{{latex_escaped(caption)}}}\label{{{label}}}"
    if wide:
        lines = [
            "% needs \\usepackage{booktabs,graphicx}",
            r"\begin{table*}",
            title,
            r"\centering",
            rf"\resizebox{{\ifdim\width>\textwidth\textwidth\else\width\fi}}{{!}}{{\begin{{tabular}}{{{alignment}}}",
            *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
            r"\end{tabular}}",
            r"\end{table*}",
        ]
    else:
        lines = [
            "% needs \\usepackage{booktabs,longtable}",
            rf"{{\footnotesize\setlength{{\tabcolsep}}{{4pt}}\begin{{longtable}}{{{alignment}}}",
            title + r" \\",
            *(r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot", *body),
            r"\end{longtable}}",
        ]
    return "\n".join(lines) + "\n"


def latex_escaped(text: str) -> str:
    """Escape text for LaTeX; a character that pdflatex cannot set becomes [U+624B]."""
    return "".join(_latex_character(character) for character in CONTROL.sub(" ", text))


def markdown_escaped(text: str) -> str:
    """Escape text for Markdown."""
    return CONTROL.sub(" ", text).translate(str.maketrans(MARKDOWN))


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Write any table as text: three decimals, "undefined" for what could not be computed, spaces in column names."""
    return table.rename(columns=lambda name: str(name).replace("_", " ")).map(_plain)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.3f}"
    return "" if value is None or value is pd.NA else str(value)


def _neutral(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(FORMULA_START) else value


def _latex_character(character: str) -> str:
    if character in LATEX:
        return LATEX[character]
    if character.isascii() or character in LATEX_LETTERS:
        return character
    base, *marks = unicodedata.normalize("NFD", character)
    accented = base.isascii() and base.isalpha() and len(marks) == 1 and OGONEK not in marks
    return character if accented and ord(character) < 0x180 else f"{{[}}U+{ord(character):04X}{{]}}"


def _latex_cells(values: Iterable[object]) -> list[str]:
    """Cells of a row, truncated to a line, since TeX refuses anything wider than five metres."""
    texts = (str(value) for value in values)
    return [latex_escaped(text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 3]}...") for text in texts]


def _markdown_cells(values: Iterable[object]) -> list[str]:
    return [markdown_escaped(str(value)) for value in values]
