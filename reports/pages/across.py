"""Write the report of several runs, one for each data set: ranks, scores, and the critical-difference diagram."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from reports.comparison.across import Across, across, ranks_table, summarise_ranks
from reports.comparison.pairwise import TestSettings
from reports.figures.figure import Figure
from reports.figures.files import figure_files
from reports.figures.ranks import critical_differences, scores_by_data_set
from reports.pages.offline import render
from reports.pages.write import write_whole
from reports.runs.provenance import caption
from reports.runs.results import Results
from reports.scores.evaluation import evaluate
from reports.scores.naming import title
from reports.tables.export import plain, table_files


def write_across(
    runs: Sequence[Results],
    folder: Path,
    *,
    html: bool,
    csv: bool,
    md: bool,
    latex: bool,
    figures: Sequence[str],
    settings: TestSettings,
) -> tuple[list[str], list[Path]]:
    """Write the requested formats under `folder`; return the finding in words, and the files.

    Raises
    ------
    reports.runs.results.ResultsError
        If the runs are not of independent data sets or do not have two finished models in common.
    """
    found = across([evaluate(run) for run in runs], settings.alpha)
    words = summarise_ranks(found)
    tables = {"ranks": ranks_table(found), "scores": found.scores.reset_index()}
    metric = "F1 per image, which equals accuracy where there is one label per image"
    if len({run.data["task"] for run in runs}) == 1:
        metric = title(found.metric, runs[0])
    drawn = _figures(found, metric)
    texts: dict[Path, str | bytes] = {}
    if html:
        texts[folder / "report.html"] = _page(found, words, tables, metric, drawn)
    provenance = f"{words[0]}. {' '.join(words[1:])} {' '.join(f'{caption(run)}.' for run in runs)}"
    texts |= table_files(folder / "tables", tables, lambda _: provenance, "across", csv=csv, md=md, latex=latex)
    texts |= {folder / "figures" / name: content for name, content in figure_files(drawn, figures, provenance)}
    for path, text in texts.items():
        write_whole(path, text)
    return words, list(texts)


def _page(
    found: Across, words: list[str], tables: dict[str, pd.DataFrame], metric: str, figures: Sequence[Figure]
) -> str:
    runs = found.runs
    grids = {}
    for name, table in tables.items():
        first, *others = plain(table).columns
        titles = [first.capitalize(), *(others if name == "scores" else (title.capitalize() for title in others))]
        grids[name] = {"titles": titles, "rows": plain(table).to_numpy().tolist()}
    return render(
        "across.html.j2",
        figures,
        runs=runs,
        words=words,
        metric=metric,
        captions=[caption(run) for run in runs],
        synthetic=[run.data["name"] for run in runs if run.data.get("synthetic")],
        **grids,
    )


def _figures(found: Across, metric: str) -> list[Figure]:
    return [
        Figure(
            "ranks",
            "Critical-difference diagram",
            f"Mean rank of each model over the data sets. A bar joins models that do not differ significantly by the Nemenyi test at alpha {found.alpha:g}.",
            critical_differences(found),
            560,
        ),
        Figure("by-data-set", "Scores by data set", f"{metric}, mean over the folds.", scores_by_data_set(found), 300),
    ]
