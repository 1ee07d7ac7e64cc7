"""Variance of the scores between folds and between seeds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import scipy

from reports.comparison.significance import FloatArray
from reports.studies.runs import BASE, StudyResults

SEED_COLUMNS = [
    *("data", "suite", "variant", "model", "family", "mean", "sd_folds", "sd_seeds", "sd_seeds_low", "sd_seeds_high"),
    *("n_seeds", "n_cells", "share_of_seeds"),
]


def seeds_table(study: StudyResults, alpha: float = 0.05) -> pd.DataFrame:
    """Split the variance into that of the folds and that of the seeds: a one-way analysis of variance with random effects.

    Cells of one fold differ by their seed alone. With S seeds on J folds, the mean square within folds estimates the seeds' variance;
    that between folds estimates S times the folds' variance plus the seeds' (Searle, Casella and McCulloch 1992, "Variance Components", chapter
    3). The seeds' interval is that of a variance with J (S - 1) degrees of freedom; a negative estimate for the folds is 0.

    Returns
    -------
    DataFrame
        `SEED_COLUMNS`, one row per data set, suite, variant and model that has two seeds or more.
    """
    rows = []
    for data, suite, runs in study.groups():
        for variant in dict.fromkeys(run.variant for run in runs):
            seeds = [run for run in runs if run.variant == variant]
            if len(seeds) < 2:
                continue
            for model in seeds[0].models:
                if not all(model in run.models for run in seeds):
                    continue
                values = np.stack([run.folds(model, study.metric).to_numpy() for run in seeds])  # (seeds, cells)
                family = seeds[0].results.models[model]["family"]
                where = {"data": data, "suite": suite, "variant": variant, "model": model, "family": family}
                rows.append(where | variance_parts(values, alpha))
    return pd.DataFrame(rows, columns=SEED_COLUMNS)


def variance_parts(values: FloatArray, alpha: float = 0.05) -> dict[str, float]:
    """Estimate the standard deviations over folds and over seeds of scores, shape (n_seeds, n_cells).

    >>> parts = variance_parts(np.array([[0.8, 0.6], [0.8, 0.6]]))
    >>> parts["sd_seeds"], round(parts["sd_folds"], 4)
    (0.0, 0.1414)
    """
    seeds, cells = values.shape
    within = float((values - values[0]).var(axis=0, ddof=1).mean())  # exactly 0 where no seed changes anything
    between = float(seeds * values.mean(axis=0).var(ddof=1)) if cells > 1 else math.nan
    folds = max(0.0, (between - within) / seeds) if cells > 1 else math.nan
    df = cells * (seeds - 1)
    low, high = (df * within / scipy.special.chdtri(df, tail) for tail in (alpha / 2, 1 - alpha / 2))
    total = folds + within
    return {
        "mean": float(values.mean()),
        "sd_folds": math.sqrt(folds) if cells > 1 else math.nan,
        "sd_seeds": math.sqrt(within),
        "sd_seeds_low": math.sqrt(low),
        "sd_seeds_high": math.sqrt(high),
        "n_seeds": seeds,
        "n_cells": cells,
        "share_of_seeds": within / total if total > 0 else math.nan,
    }


def summarise_seeds(seeds: pd.DataFrame) -> list[str]:
    """Compare the spread over seeds with that over folds, for each family; models without randomness are named and left out of the median."""
    lines = []
    table = seeds[(seeds["family"] != "dummy") & (seeds["variant"] == BASE)]
    suites = table["suite"].nunique()
    for (data, suite, family), rows in table.groupby(["data", "suite", "family"], sort=False):
        drawn, same = rows[rows["sd_seeds"] > 0], rows.loc[rows["sd_seeds"] == 0, "model"]
        where = f"{data} of {suite}" if suites > 1 else data
        parts = []
        if len(drawn):
            of = drawn["model"].iloc[0] if len(drawn) == 1 else f"{len(drawn)} models, by the median,"
            parts.append(
                f"changing the seed moves the score of {of} on a fold by {drawn['sd_seeds'].median():.4f} (standard deviation), "
                f"changing the fold by {drawn['sd_folds'].median():.4f}"
            )
        if len(same):
            parts.append(f"identical scores with every seed: {', '.join(same)}")
        lines.append(f"{where}, {family}: {'; '.join(parts)}.")
    return lines
