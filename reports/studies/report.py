"""Write the report of a study under STUDY/report: tables and one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.comparison.across import Across, ranks_table, summarise_ranks
from reports.comparison.learning import crossing, curve_table, curves, has_shares, summarise_crossing
from reports.comparison.pairwise import TestSettings
from reports.figures.figure import Figure
from reports.figures.files import figure_files
from reports.figures.patients import score_over_patients, with_last
from reports.figures.ranks import critical_differences, scores_by_data_set
from reports.figures.study import effects_chart, external_chart
from reports.pages.offline import render
from reports.pages.write import write_whole
from reports.runs.provenance import caption
from reports.scores.naming import title
from reports.studies.effects import effects_table, families_table, summarise_effects
from reports.studies.external import external_table, summarise_external_validation
from reports.studies.runs import StudyResults, load_study, ranks, scores_table, summarise_unfinished
from reports.studies.seeds import seeds_table, summarise_seeds
from reports.tables.export import plain, table_files

NOTES = {
    "effects": (
        "What each variant changes",
        "Changed minus base on the same folds, with the corrected resampled t-test and its interval; p adjusted over all rows (Holm). "
        "Several seeds are averaged: they share their folds and are not independent.",
    ),
    "families": (
        "Classical and deep",
        "Mean change of the models of each family, and the difference between the families over the folds.",
    ),
    "seeds": (
        "Seeds and folds",
        "Standard deviation between seeds and between folds, by a one-way analysis of variance with random effects; interval for the seeds.",
    ),
    "external_validation": (
        "External validation",
        "Models trained on the other data sets and tested on one that they never saw, with an interval over draws of its groups. Internal: the same "
        "model trained and tested on folds of that data set, on the same images. Gap: the generalisation gap, internal minus external.",
    ),
    "patients": (
        "Learning curves over patients",
        "Each model trained on nested shares of the training patients; bootstrap interval over folds and the patients within them.",
    ),
    "ranks": ("Ranks over the data sets", "Rank 1 is best; each data set counts once, with the mean over its folds."),
    "scores": ("Scores of every run", "Mean and standard deviation over the folds."),
}

_OFTEN_THE_SAME = ["data", "suite", "n_cells", "n_seeds"]
_ONLY_IN_FILES = ["n_test_over_n_train"]
_TITLES = {
    "ci_low": "from",
    "ci_high": "to",
    "p_holm": "p (Holm)",
    "p_worse": "P(worse)",
    "p_equal": "P(equal)",
    "p_better": "P(better)",
    "sd_folds": "SD of folds",
    "sd_seeds": "SD of seeds",
    "sd_seeds_low": "from ",
    "sd_seeds_high": "to ",
    "n_cells": "folds",
    "n_seeds": "seeds",
}


def write_study(
    folder: Path,
    *,
    html: bool = False,
    csv: bool = False,
    md: bool = False,
    latex: bool = False,
    figures: Sequence[str] = (),
    settings: TestSettings | None = None,
) -> tuple[list[str], list[Path]]:
    """Write the requested formats; return the findings in words, and the files.

    Raises
    ------
    reports.runs.results.ResultsError
        If the study or one of its runs cannot be read.
    """
    settings = settings or TestSettings()
    study = load_study(folder)
    found, problems = ranks(study, settings.alpha)
    tables = _tables(study, found, settings)
    words = _words(study, tables, found, settings) + problems + summarise_unfinished(study)
    drawn = _figures(study, tables, found, settings)
    out = folder / "report"
    texts: dict[Path, str | bytes] = {}
    if html:
        texts[out / "report.html"] = _page(study, tables, words, drawn)
    source = f"Study {study.name}: {len(study.runs)} runs, {title(study.metric, study.runs[0].results)}"

    def heading(name: str) -> str:
        return f"{NOTES[name][0]}. {NOTES[name][1]} {source}."

    texts |= table_files(out / "tables", tables, heading, "study", csv=csv, md=md, latex=latex)
    texts |= {out / "figures" / name: content for name, content in figure_files(drawn, figures, source)}
    for path, text in texts.items():
        write_whole(path, text)
    return words, list(texts)


def _tables(study: StudyResults, found: list[Across], settings: TestSettings) -> dict[str, pd.DataFrame]:
    """Every table that has a row."""
    learned = [
        curve_table(curves(run.evaluation), settings.alpha).assign(data=run.data[0])
        for run in study.bases()
        if has_shares(run.results)
    ]
    tables = {
        "effects": effects_table(study, settings),
        "families": families_table(study, settings),
        "seeds": seeds_table(study, settings.alpha),
        "external_validation": external_table(study, settings.alpha),
        "patients": pd.concat(learned, ignore_index=True) if learned else pd.DataFrame(),
        "ranks": pd.concat([ranks_table(each).assign(suite=each.runs[0].run["suite"]["name"]) for each in found])
        if found
        else pd.DataFrame(),
        "scores": scores_table(study),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _words(
    study: StudyResults, tables: dict[str, pd.DataFrame], found: list[Across], settings: TestSettings
) -> list[str]:
    words = []
    if "effects" in tables:
        words += summarise_effects(tables["effects"], tables.get("families", pd.DataFrame()), settings)
    for run in study.bases():
        crossed = crossing(curves(run.evaluation), settings.alpha) if has_shares(run.results) else None
        if crossed:
            of = f" of {run.suite}" if len({each.suite for each in study.runs}) > 1 else ""
            words.append(
                f"{run.data[0]}{of}: {summarise_crossing(crossed, title(study.metric, run.results), settings.alpha)}"
            )
    for each in found:
        words.append(" ".join(summarise_ranks(each)))
    if "external_validation" in tables:
        words += summarise_external_validation(tables["external_validation"])
    if "seeds" in tables:
        words += summarise_seeds(tables["seeds"])
    return words or [f"{len(study.runs)} runs: see the scores"]


def _figures(
    study: StudyResults, tables: dict[str, pd.DataFrame], found: list[Across], settings: TestSettings
) -> list[Figure]:
    metric = title(study.metric, study.runs[0].results)
    drawn = []
    if "effects" in tables:
        drawn.append(Figure("effects", *NOTES["effects"], effects_chart(tables["effects"], metric), 300))
    for run in study.bases():
        if has_shares(run.results):
            table = with_last(curve_table(curves(run.evaluation), settings.alpha))
            chart = score_over_patients(table, metric, run.results.data.get("group_noun", "group"))
            chart = chart.properties(width="container", height=320)
            name = f"patients-{run.name}"
            drawn.append(Figure(name, f"{NOTES['patients'][0]}: {run.data[0]}", NOTES["patients"][1], chart, 400))
    for number, each in enumerate(found):
        suite = str(number) if number else "suite"
        drawn.append(Figure(f"ranks-{suite}", *NOTES["ranks"], critical_differences(each), 560))
        drawn.append(
            Figure(f"by-data-{suite}", "Scores by data set", "Mean over the folds.", scores_by_data_set(each), 300)
        )
    if "external_validation" in tables:
        chart = external_chart(tables["external_validation"], metric)
        drawn.append(Figure("external-validation", *NOTES["external_validation"], chart, 300))
    return drawn


def _page(study: StudyResults, tables: dict[str, pd.DataFrame], words: list[str], drawn: Sequence[Figure]) -> str:
    runs = [(run.name, caption(run.results)) for run in study.runs]
    synthetic = dict.fromkeys(run.results.data["name"] for run in study.runs if run.results.data.get("synthetic"))
    sections = [_section(name, table) for name, table in tables.items()]
    return render(
        "study.html.j2",
        drawn,
        name=study.name,
        words=words,
        metric=title(study.metric, study.runs[0].results),
        sections=sections,
        runs=runs,
        synthetic=list(synthetic),
        data_sets=list(dict.fromkeys(name for run in study.runs for name in run.data)),
    )


def _section(name: str, table: pd.DataFrame) -> tuple[str, str, str, dict[str, Any]]:
    """Fit a table to a page: columns that are the same in all rows move to its note. The files have every column."""
    heading, note = NOTES[name]
    same = [column for column in _OFTEN_THE_SAME if column in table and table[column].nunique(dropna=False) == 1]
    readable = plain(table.drop(columns=[*same, *_ONLY_IN_FILES], errors="ignore").rename(columns=_TITLES))
    if same:
        facts = ", ".join(f"{_TITLES.get(column, column)} {table[column].iloc[0]}" for column in same)
        note = f"{note} In all rows: {facts}."
    titles = [_title(str(name)) for name in readable.columns]
    return name, heading, note, {"titles": titles, "rows": readable.to_numpy().tolist()}


def _title(name: str) -> str:
    """With a capital at its start, but for a p-value."""
    return name if name == "p" or name.startswith("p ") else name[:1].upper() + name[1:]
