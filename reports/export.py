"""Tables as CSV, Markdown and LaTeX text; whatever a name contains, it stays a name."""

import math
import re

import pandas as pd

FORMULA_START = ("=", "+", "-", "@", "\t", "\r")
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
    "[": "{[}",
} | {character: f"\\{character}" for character in "&%$#_{}"}
MARKDOWN = {character: f"\\{character}" for character in r"\`*_[]|~$#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def csv_text(table: pd.DataFrame) -> str:
    """Write a table as CSV; a text that a spreadsheet would run gets a leading apostrophe."""
    safe = table.rename(columns=_neutral).map(_neutral)
    return safe.to_csv(index=False, lineterminator="\n")


def markdown_text(table: pd.DataFrame, caption: str) -> str:
    """Write a table of text as a GitHub-flavoured Markdown table under its caption."""
    rows = [_cells(table.columns, MARKDOWN), ["---"] * table.shape[1]]
    rows += [_cells(row, MARKDOWN) for row in table.itertuples(index=False)]
    return f"{_escape(caption, MARKDOWN)}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def latex_text(table: pd.DataFrame, caption: str, label: str, *, wide: bool) -> str:
    """Write a table of text with booktabs rules.

    A wide table is scaled to the width of both columns; another one is a longtable, which breaks over pages.
    """
    head = " & ".join(_cells(table.columns, LATEX)) + r" \\"
    body = [" & ".join(_cells(row, LATEX)) + r" \\" for row in table.itertuples(index=False)]
    alignment = "l" * table.shape[1]
    title = rf"\caption{{{_escape(caption, LATEX)}}}\label{{{label}}}"
    if wide:
        lines = [
            "% needs \\usepackage{booktabs,graphicx}",
            r"\begin{table*}",
            title,
            rf"\resizebox{{\textwidth}}{{!}}{{\begin{{tabular}}{{{alignment}}}",
            *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
            r"\end{tabular}}",
            r"\end{table*}",
        ]
    else:
        lines = [
            "% needs \\usepackage{booktabs,longtable}",
            rf"\begin{{longtable}}{{{alignment}}}",
            title + r" \\",
            *(r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot", *body),
            r"\end{longtable}",
        ]
    return "\n".join(lines) + "\n"


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Write any table as text: three decimals, "undefined" for what could not be computed, spaces in column names."""
    return table.rename(columns=lambda name: str(name).replace("_", " ")).map(_plain)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.3f}"
    return "" if value is None or value is pd.NA else str(value)


def _neutral(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_START) else value


def _cells(values, table: dict[str, str]) -> list[str]:
    return [_escape(str(value), table) for value in values]


def _escape(text: str, table: dict[str, str]) -> str:
    return CONTROL.sub(" ", text).translate(str.maketrans(table))
