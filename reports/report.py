"""Write the report of a run: tables in three formats and one HTML page, under RUN/report/."""

from pathlib import Path

import pandas as pd

from reports.citation import methods
from reports.citation.bibliography import bibtex
from reports.citation.checklist import checklist
from reports.evaluation import evaluate
from reports.export import csv_text, latex_text, markdown_text, plain
from reports.page import html as html_text
from reports.pairwise import Level, pairs_as_text
from reports.paper import paper_tables
from reports.provenance import caption
from reports.results import Results
from reports.summary import as_text, columns, primary_metric
from reports.tables import all_tables


def write(results: Results, *, html: bool, csv: bool, md: bool, latex: bool, level: Level | None = None) -> list[Path]:
    """Write the formats asked for, with tests read at `level`.

    Returns
    -------
    list of Path
        The files written: report.html first, then the tables.
    """
    evaluation = evaluate(results)
    level = level or Level()
    tables = all_tables(evaluation, level)
    folder = results.path / "report"
    texts = {folder / "report.html": html_text(evaluation, tables, level)} if html else {}
    for name, table in tables.items():
        path = folder / "tables" / name
        readable = _readable(name, table, results)
        if csv:
            texts[path.with_suffix(".csv")] = csv_text(table)
        if md:
            texts[path.with_suffix(".md")] = markdown_text(readable, _caption(name, results))
    if latex:
        for each in paper_tables(evaluation, tables, level):
            path = folder / "tables" / f"{each.name}.tex"
            texts[path] = latex_text(each.text, each.caption, f"tab:{each.name}", wide=each.wide, styles=each.styles)
    for path, text in texts.items():
        _write_whole(path, text)
    return list(texts)


def write_citations(results: Results, level: Level) -> list[Path]:
    """Write citations.bib, methods.md, methods.tex and checklist.md; return their paths."""
    folder = results.path / "report"
    texts = {
        "citations.bib": bibtex(results),
        "methods.md": methods.markdown(results, level),
        "methods.tex": methods.latex(results, level),
        "checklist.md": checklist(results, level),
    }
    for name, text in texts.items():
        _write_whole(folder / name, text)
    return [folder / name for name in texts]


def _readable(name: str, table: pd.DataFrame, results: Results) -> pd.DataFrame:
    """A table as text for people; of the pairwise comparisons those of the metric that decides."""
    if name == "summary":
        return as_text(table, columns(results))
    if name == "pairwise":
        return pairs_as_text(table[table["metric"] == primary_metric(results)])
    return plain(table)


def _caption(name: str, results: Results) -> str:
    return f"{name.replace('_', ' ').capitalize()}. {caption(results)}."


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
