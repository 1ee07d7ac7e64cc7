"""Every pair of models on every metric: tests over the folds, and bootstrap intervals over patients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from reports.comparison.bootstrap import Draws
from reports.comparison.significance import bayesian_t_test, corrected_t_test, holm, percentile_interval
from reports.runs.results import ResultsError
from reports.scores.evaluation import Evaluation
from reports.scores.metrics import LOWER_IS_BETTER, METRICS
from reports.scores.ranking import best_model

COLUMNS = (
    *(
        "model_a",
        "model_b",
        "metric",
        "mean_difference",
        "sd",
        "n_cells",
        "n_test_over_n_train",
        "t",
        "df",
        "p",
        "p_holm",
    ),
    *("ci_low", "ci_high", "p_worse", "p_equal", "p_better"),
    *("p_holm_best", "p_holm_reference", "bootstrap_low", "bootstrap_high"),
)


@dataclass(frozen=True)
class TestSettings:
    """Settings of the statistical tests.

    Attributes
    ----------
    alpha : float
        A difference is claimed if the adjusted p is below; intervals cover 1 - alpha.
    rope : float
        Half the width of the region of practical equivalence, in units of the metric.
    reference : str or None
        A model that all others are compared with, besides the comparisons of every pair.
    """

    alpha: float = 0.05
    rope: float = 0.01
    reference: str | None = None
    __test__ = False  # not a test class despite its name

    def __post_init__(self) -> None:
        """Check the values; ResultsError names the options."""
        if not (0 < self.alpha < 1 and self.rope >= 0):
            raise ResultsError(
                f"--alpha {self.alpha:g} --rope {self.rope:g}: give an alpha between 0 and 1, and a rope of 0 or more"
            )


def pairwise(evaluation: Evaluation, draws: Draws, settings: TestSettings) -> pd.DataFrame:
    """Compare every pair of finished models on every metric.

    Returns
    -------
    DataFrame
        One row per pair and metric; differences are a - b. t, df, p and the interval ci_low, ci_high: corrected resampled t-test.
        p_holm: adjusted over all pairs of the metric; p_holm_best and p_holm_reference: over the pairs with the best model or with
        the reference alone, empty for other pairs. p_worse, p_equal, p_better: Bayesian correlated t-test, a against b, where
        better means higher but for losses. bootstrap_low, bootstrap_high: interval over draws of groups, where both models have
        tested every image. NaN if undefined.
    """
    results = evaluation.results
    sizes = results.cells[results.cells["status"] == "done"].set_index(["model", "repeat", "fold"])
    cells = evaluation.scores.set_index(["model", "repeat", "fold"]).join(sizes[["n_train", "n_test"]])
    places = {m: {key[1:] for key in evaluation.test_parts if key[0] == m} for m in evaluation.finished}
    rows = []
    for a, b in combinations(evaluation.finished, 2):
        both = sorted(places[a] & places[b])
        left, right = (cells.loc[[(model, *place) for place in both]] for model in (a, b))
        trained = np.minimum(left["n_train"].to_numpy(), right["n_train"].to_numpy())
        ratio = float((left["n_test"].to_numpy() / trained).mean()) if both else math.nan
        differences = left[list(METRICS)].to_numpy(float) - right[list(METRICS)].to_numpy(float)  # (n_cells, n_metrics)
        for metric, difference in zip(METRICS, differences.T, strict=True):
            rows.append(
                {"model_a": a, "model_b": b}
                | _tests(difference, metric, ratio, _correlation(results.run["splits"]["folds"], ratio), settings)
                | _drawn(a, b, metric, draws, settings)
            )
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if not c.startswith("p_holm")])
    return _adjusted(table, evaluation, settings)[list(COLUMNS)]


def against(table: pd.DataFrame, model: str, metric: str) -> pd.DataFrame:
    """Select the rows of one metric with this model, turned so that it is model_a; indexed by the other model."""
    rows = table[(table["metric"] == metric) & ((table["model_a"] == model) | (table["model_b"] == model))].copy()
    turned = rows["model_b"] == model
    swapped = rows.assign(
        model_a=rows["model_b"],
        model_b=rows["model_a"],
        mean_difference=-rows["mean_difference"],
        t=-rows["t"],
        ci_low=-rows["ci_high"],
        ci_high=-rows["ci_low"],
        p_worse=rows["p_better"],
        p_better=rows["p_worse"],
        bootstrap_low=-rows["bootstrap_high"],
        bootstrap_high=-rows["bootstrap_low"],
    )
    return rows.where(~turned, swapped).set_index("model_b")


def pairs_as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Format comparisons for readers: difference, interval, p, adjusted p, and the three probabilities."""

    def number(value: float) -> str:
        return "undefined" if math.isnan(value) else f"{value:.3f}"

    def p(value: float) -> str:
        return "< 0.001" if value < 0.001 else number(value)

    return pd.DataFrame(
        {
            "Model": rows["model_a"],
            "Against": rows["model_b"],
            "Difference": rows["mean_difference"].map(number),
            "Interval": [
                "undefined" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
                for low, high in zip(rows["ci_low"], rows["ci_high"], strict=True)
            ],
            "p": rows["p"].map(p),
            "p (Holm)": rows["p_holm"].map(p),
            "P(worse)": rows["p_worse"].map(number),
            "P(equal)": rows["p_equal"].map(number),
            "P(better)": rows["p_better"].map(number),
        },
        dtype=str,
    )


def _correlation(folds: int, ratio: float) -> float:
    """Correlation of two cells: the share of the images that is tested."""
    return 1 / folds if folds > 1 else ratio / (1 + ratio)


def _tests(
    difference: np.ndarray, metric: str, ratio: float, correlation: float, settings: TestSettings
) -> dict[str, object]:
    test = corrected_t_test(difference, ratio, settings.alpha)
    worse, equal, better = bayesian_t_test(difference, correlation, settings.rope)
    if metric in LOWER_IS_BETTER:
        worse, better = better, worse
    return {
        "metric": metric,
        "mean_difference": test.mean,
        "sd": test.sd,
        "n_cells": test.n,
        "n_test_over_n_train": test.ratio,
        "t": test.t,
        "df": test.df,
        "p": test.p,
        "ci_low": test.low,
        "ci_high": test.high,
        "p_worse": worse,
        "p_equal": equal,
        "p_better": better,
    }


def _drawn(a: str, b: str, metric: str, draws: Draws, settings: TestSettings) -> dict[str, float]:
    low = high = math.nan
    if a in draws and b in draws and metric in draws[a]:
        low, high = percentile_interval(draws[a][metric] - draws[b][metric], settings.alpha)
    return {"bootstrap_low": low, "bootstrap_high": high}


def _adjusted(table: pd.DataFrame, evaluation: Evaluation, settings: TestSettings) -> pd.DataFrame:
    """Add the p values that are adjusted within each metric: over all pairs, those with the best, those with the reference."""
    table = table.assign(p_holm=math.nan, p_holm_best=math.nan, p_holm_reference=math.nan)
    for name, rows in table.groupby("metric"):
        metric = str(name)
        families = {"p_holm": rows.index}
        for column, model in (
            ("p_holm_best", best_model(evaluation, metric)),
            ("p_holm_reference", settings.reference),
        ):
            families[column] = rows.index[(rows["model_a"] == model) | (rows["model_b"] == model)]
        for column, family in families.items():
            table.loc[family, column] = holm(table.loc[family, "p"])
    return table
