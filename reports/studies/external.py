"""What becomes of models on a data set that they never saw."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from reports.comparison.final_test import held_out_table
from reports.comparison.learning import all_right
from reports.scores.metrics import f1_of_images
from reports.scores.ranking import ordered
from reports.studies.runs import StudyResults, StudyRun

AWAY_COLUMNS = [
    *("tested_on", "trained_on", "suite", "model", "family", "away", "away_low", "away_high", "at_home", "drop"),
    *("n_images", "n_groups", "n_train"),
]


def away_table(study: StudyResults, alpha: float = 0.05) -> pd.DataFrame:
    """Models on a data set that they never saw any part of, beside the same models trained and tested on folds of that data set.

    Returns
    -------
    DataFrame
        `AWAY_COLUMNS`: away with its interval over draws of groups; at_home, on the same images, the mean over the folds; drop, at_home minus away.
    """
    home = {(run.data[0], run.suite): run for run in study.bases()}
    rows = []
    for run in study.runs:
        if run.test is None or not run.results.held_out:
            continue
        there = home.get((run.test, run.suite))
        for row in held_out_table(run.results, alpha).to_dict("records"):
            if row["status"] != "done":
                continue
            known = there is not None and row["model"] in there.models
            at_home = _at_home(there, row["model"], run, study.metric) if there and known else math.nan
            away = {"away": row[study.metric], "away_low": row[f"{study.metric}_low"]}
            rows.append(
                {
                    "tested_on": run.test,
                    "trained_on": " + ".join(run.data),
                    "suite": run.suite,
                    "model": row["model"],
                    "family": row["family"],
                    **away,
                    "away_high": row[f"{study.metric}_high"],
                    "at_home": at_home,
                    "drop": at_home - row[study.metric],
                    **{key: row[key] for key in ("n_images", "n_groups", "n_train")},
                }
            )
    return pd.DataFrame(rows, columns=AWAY_COLUMNS)


def _at_home(home: StudyRun, model: str, away: StudyRun, metric: str) -> float:
    """Score of a model at home, on the images that it was tested on away: mean over its test parts."""
    table = away.results.held_out[model][1]
    if table is None:
        return math.nan
    value = f1_of_images if metric == "f1_samples" else all_right
    scores = []
    for part in home.evaluation.parts(model):
        same = np.isin(part.image_id, table["image_id"])
        if same.any():
            scores.append(value(part.truth[same], part.decided[same]).mean())
    return float(np.mean(scores)) if scores else math.nan


def summarise_external_validation(away: pd.DataFrame) -> list[str]:
    """The best model on each data set that was left out, and what it lost."""
    lines = []
    for (tested, trained), rows in away.groupby(["tested_on", "trained_on"], sort=False):
        best = rows.iloc[ordered(dict(enumerate(rows["away"])))[0]]
        lost = "" if math.isnan(best["drop"]) else f"; trained there it has {best['at_home']:.3f}"
        lines.append(
            f"Trained on {trained}, tested on {tested}: {best['model']} does best, {best['away']:.3f} "
            f"({best['away_low']:.3f} to {best['away_high']:.3f}){lost}."
        )
    return lines
