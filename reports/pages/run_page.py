"""The page of a run: what its template displays, gathered from the tables."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from reports.citation.bibliography import bibtex
from reports.comparison.learning import crossing, curves, has_shares, summarise_crossing
from reports.comparison.pairwise import TestSettings
from reports.figures.figure import Figure
from reports.pages.explanations import explanations_section
from reports.pages.final_test import held_out_section
from reports.pages.headline import headline, remarks
from reports.pages.offline import render
from reports.pages.pictures import gallery, png_uri
from reports.runs.provenance import DIGEST_LENGTH, caption, count_groups, describe_weights, pretrained
from reports.runs.results import Results, Sample
from reports.runs.rows import rows_of
from reports.scores.calibration import calibration_as_text
from reports.scores.evaluation import Evaluation
from reports.scores.naming import title
from reports.scores.ranking import best_model, primary_metric
from reports.scores.thresholds import rules_as_text
from reports.tables.datacard import data_card
from reports.tables.export import plain
from reports.tables.summary import as_text, columns

MAX_SAMPLES, MAX_SUSPECTS, MAX_HARD = 12, 40, 24


def html(
    evaluation: Evaluation, tables: dict[str, pd.DataFrame], figures: Sequence[Figure], settings: TestSettings
) -> str:
    """Write the report.

    Parameters
    ----------
    evaluation : Evaluation
    tables : dict
        Every table of `reports.tables.run_tables.all_tables`.
    figures : sequence of Figure
        Those of `reports.figures.run_figures.all_figures`.
    settings : TestSettings
        With which they were made.

    Returns
    -------
    str
        One HTML file: see `reports.pages.offline.render`.
    """
    results = evaluation.results
    suspected, hard = tables["suspects"], tables["hardest"]
    shown_suspects, shown_hard = suspected.head(MAX_SUSPECTS), hard[~hard["suspect"].astype(bool)].head(MAX_HARD)
    pictures = gallery(evaluation, [*shown_suspects["image_id"], *shown_hard["image_id"]])
    return render(
        "report.html.j2",
        figures,
        pictures,
        results=results,
        run=results.run,
        data=results.data,
        caption=caption(results),
        groups=count_groups(results),
        headline=headline(evaluation, tables, settings),
        remarks=_crossing_remark(evaluation, settings) + remarks(tables["summary"], results),
        held_out=held_out_section(results, settings.alpha) if results.held_out else None,
        explained=explanations_section(results),
        columns=columns(results),
        summary=_rows(tables["summary"], results),
        open_models=_records(tables["summary"].query("status != 'done'")),
        excluded=_records(tables["excluded"]),
        warned=_records(results.cells[results.cells["warnings"].map(len) > 0]),
        suspects=_texts(shown_suspects),
        n_suspects=len(suspected),
        hardest=_texts(shown_hard),
        pictures=bool(pictures["images"]),
        calibration=_grid(calibration_as_text(tables["calibration"])) if len(tables["calibration"]) else None,
        rules=_grid(rules_as_text(tables["decision_rules"])) if len(tables["decision_rules"]) else None,
        card=data_card(results),
        weights=[describe_weights(each) for each in pretrained(results)],
        bibtex=bibtex(results),
        failures=_records(results.cells[results.cells["traceback"].notna()]),
        best=best_model(evaluation) or "",
        per_class=_texts(tables["per_class"]),
        samples=[_sample(sample) for sample in results.samples[:MAX_SAMPLES]],
        digest_length=DIGEST_LENGTH,
    )


def _crossing_remark(evaluation: Evaluation, settings: TestSettings) -> list[str]:
    """State at how many training patients deep overtakes classical, where the run has models on shares of them."""
    results = evaluation.results
    found = crossing(curves(evaluation), settings.alpha) if has_shares(results) else None
    return [summarise_crossing(found, title(primary_metric(results), results), settings.alpha)] if found else []


def _rows(table: pd.DataFrame, results: Results) -> list[dict[str, Any]]:
    shown = columns(results)
    texts = as_text(table, shown).itertuples(index=False, name=None)
    return [
        {
            "family": row["family"],
            "cells": [(text, _sort_value(row[column.key])) for text, column in zip(each, shown, strict=True)],
        }
        for each, (_, row) in zip(texts, table.iterrows(), strict=True)
    ]


def _sort_value(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return rows_of(table)


def _texts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of any table as text, by the names of its columns."""
    return _records(plain(table).set_axis(table.columns, axis=1))


def _grid(table: pd.DataFrame) -> dict[str, Any]:
    return {"titles": list(table.columns), "rows": table.to_numpy().tolist()}


def _sample(sample: Sample) -> dict[str, Any]:
    pictures = {"before": sample.before, "after": sample.after}
    pictures |= {f"augmented {i}": path for i, path in enumerate(sample.augmented, start=1)}
    return {
        "image_id": sample.image_id,
        "labels": sample.labels,
        "pictures": [(name, source) for name, path in pictures.items() if (source := png_uri(path))],
    }
