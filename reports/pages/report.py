"""Write the report of a run: tables in three formats and one HTML page, under RUN/report/."""

from collections.abc import Sequence
from pathlib import Path

from reports.citation import methods
from reports.citation.bibliography import bibtex
from reports.citation.checklist import checklist
from reports.comparison.pairwise import TestSettings
from reports.figures.files import figure_files
from reports.figures.run_figures import all_figures
from reports.pages.run_page import html as html_text
from reports.pages.write import write_whole
from reports.runs.provenance import caption
from reports.runs.results import Results
from reports.scores.evaluation import evaluate
from reports.tables.export import csv_text, latex_text
from reports.tables.paper import paper_tables
from reports.tables.readable import table_as_markdown
from reports.tables.run_tables import all_tables


def write(
    results: Results,
    *,
    html: bool = False,
    csv: bool = False,
    md: bool = False,
    latex: bool = False,
    figures: Sequence[str] = (),
    settings: TestSettings | None = None,
) -> list[Path]:
    """Write the requested formats, with tests read at `settings`; `figures` are file formats of `reports.figures.files`.

    Returns
    -------
    list of Path
        The files written: report.html first, then the tables, then the figures.
    """
    evaluation = evaluate(results)
    settings = settings or TestSettings()
    tables = all_tables(evaluation, settings)
    folder = results.path / "report"
    drawn = list(all_figures(evaluation, tables["pairwise"], settings)) if html or figures else []
    texts: dict[Path, str | bytes] = {}
    if html:
        texts[folder / "report.html"] = html_text(evaluation, tables, drawn, settings)
    for name, table in tables.items():
        path = folder / "tables" / name
        if csv:
            texts[path.with_suffix(".csv")] = csv_text(table)
        if md:
            texts[path.with_suffix(".md")] = table_as_markdown(name, table, results)
    if latex:
        for each in paper_tables(evaluation, tables, settings):
            path = folder / "tables" / f"{each.name}.tex"
            texts[path] = latex_text(each.text, each.caption, f"tab:{each.name}", wide=each.wide, styles=each.styles)
    texts |= {folder / "figures" / name: content for name, content in figure_files(drawn, figures, caption(results))}
    for path, text in texts.items():
        write_whole(path, text)
    return list(texts)


def write_citations(results: Results, settings: TestSettings) -> list[Path]:
    """Write citations.bib, methods.md, methods.tex and checklist.md; return their paths."""
    folder = results.path / "report"
    texts = {
        "citations.bib": bibtex(results),
        "methods.md": methods.markdown(results, settings),
        "methods.tex": methods.latex(results, settings),
        "checklist.md": checklist(results, settings),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]
