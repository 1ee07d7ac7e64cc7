"""External validation: models on a data set that they never saw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.comparison.final_test import held_out_table
from reports.comparison.learning import all_right
from reports.runs.rows import rows_of
from reports.scores.metrics import f1_of_images
from reports.scores.ranking import ordered
from reports.studies.runs import StudyResults, StudyRun

EXTERNAL_COLUMNS = [
    *("tested_on", "trained_on", "suite", "model", "family", "external", "external_low", "external_high"),
    *("internal", "gap", "n_images", "n_groups", "n_train"),
]


def external_table(study: StudyResults, alpha: float = 0.05) -> pd.DataFrame:
    """Score models on a data set that they never saw, beside the same models trained and tested on folds of that data set.

    Parameters
    ----------
    study : StudyResults
    alpha : float
        One minus the coverage of the interval.

    Returns
    -------
    DataFrame
        `EXTERNAL_COLUMNS`: external, the score in external validation, with its interval over draws of groups; internal, that of
        internal validation on the same images, the mean over the folds; gap, the generalisation gap: internal minus external.
    """
    inside = {(run.data[0], run.suite): run for run in study.bases()}
    rows = []
    for run in study.runs:
        if run.test is None or not run.results.held_out:
            continue
        same_data = inside.get((run.test, run.suite))
        tested = held_out_table(run.results, alpha)
        tested = tested[tested["status"] == "done"]
        rows += [_row(row, run, same_data, study.metric) for row in rows_of(tested)]
    return pd.DataFrame(rows, columns=EXTERNAL_COLUMNS)


def summarise_external_validation(external: pd.DataFrame) -> list[str]:
    """Name the best model on each data set that was left out, and its score where it was trained there."""
    lines = []
    for (tested, trained), rows in external.groupby(["tested_on", "trained_on"], sort=False):
        best = rows.iloc[ordered(dict(enumerate(rows["external"])))[0]]
        inside = (
            "" if math.isnan(best["gap"]) else f"; internal validation on the same images gives {best['internal']:.3f}"
        )
        lines.append(
            f"Trained on {trained}, tested on {tested}: {best['model']} is best with {best['external']:.3f} "
            f"({best['external_low']:.3f} to {best['external_high']:.3f}){inside}."
        )
    return lines


def _row(row: Mapping[str, Any], run: StudyRun, same_data: StudyRun | None, metric: str) -> dict[str, Any]:
    """One row of the table from one of `held_out_table`."""
    internal = math.nan
    if same_data is not None and row["model"] in same_data.models:
        internal = _internal_score(same_data, row["model"], run, metric)
    return {
        "tested_on": run.test,
        "trained_on": " + ".join(run.data),
        "suite": run.suite,
        "model": row["model"],
        "family": row["family"],
        "external": row[metric],
        "external_low": row[f"{metric}_low"],
        "external_high": row[f"{metric}_high"],
        "internal": internal,
        "gap": internal - row[metric],
        **{key: row[key] for key in ("n_images", "n_groups", "n_train")},
    }


def _internal_score(inside: StudyRun, model: str, outside: StudyRun, metric: str) -> float:
    """Mean over the test parts of a run of a model's score on the images that another run tested it on; NaN without any."""
    table = outside.results.held_out[model][1]
    if table is None:
        return math.nan
    value = f1_of_images if metric == "f1_samples" else all_right
    scores = []
    for part in inside.evaluation.parts(model):
        same = np.isin(part.image_id, table["image_id"])
        if same.any():
            scores.append(value(part.truth[same], part.decided[same]).mean())
    return float(np.mean(scores)) if scores else math.nan
