"""Ranks of models over several independent data sets, with the tests of Demšar (2006).

Folds of one data set share images and must not be used for this; independent data sets may (Demšar 2006). Each data
set counts once, with the mean over its folds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from reports.comparison.significance import RankTest, friedman_nemenyi
from reports.runs.provenance import counted
from reports.runs.results import Results, ResultsError
from reports.runs.rows import columns_of
from reports.runs.status import state
from reports.scores.evaluation import Evaluation
from reports.scores.ranking import COMPARED, primary_metric

MOST_NAMED = 5  # models that a headline lists individually
FEW = 10  # number of data sets below which rank tests have little power (Demšar 2006)


@dataclass(frozen=True)
class Across:
    """Models that several data sets have in common.

    Attributes
    ----------
    metric : str
    scores : DataFrame
        One row per data set, one column per model, the best mean rank first: mean over the folds.
    families : dict
        Model -> family.
    test : RankTest
        Its ranks in the order of the columns.
    alpha : float
    left_out : tuple of str
        Models that are not finished on every data set.
    runs : tuple of Results
    """

    metric: str
    scores: pd.DataFrame
    families: dict[str, str]
    test: RankTest
    alpha: float
    left_out: tuple[str, ...]
    runs: tuple[Results, ...]


def across(
    evaluations: Sequence[Evaluation],
    alpha: float = 0.05,
    only: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Across:
    """Rank the models that all runs have finished, or those of `only`, and test their ranks; `names` are those of the data sets.

    Raises
    ------
    ResultsError
        If two runs are of one data set or share images, a model has other parameters in another run, labels are decided by other rules, or
        fewer than two models are finished in all.
    """
    runs = tuple(evaluation.results for evaluation in evaluations)
    names = names or [run.data["name"] for run in runs]
    for (one, a), (other, b) in combinations(zip(runs, names, strict=True), 2):
        _check_independent(one, other, same=a == b)
    complete = [each.complete for each in evaluations]
    shared = [m for m in complete[0] if all(m in each for each in complete) and (only is None or m in only)]
    _check_same_models(shared, runs)
    check_same_decision(runs)
    if len(shared) < 2:
        raise ResultsError(
            f"{', '.join(str(run.path) for run in runs)}: {counted(len(shared), 'model')} with all folds in every run; ranks need two: "
            "run the same suite on each data set"
        )
    metrics = {primary_metric(run) for run in runs}
    metric = (
        metrics.pop() if len(metrics) == 1 else "f1_samples"
    )  # which is the accuracy where there is one label per image
    rows = {
        name: each.scores.groupby("model")[metric].mean().loc[shared]
        for name, each in zip(names, evaluations, strict=True)
    }
    scores = pd.DataFrame(rows).T
    if scores.isna().any(axis=None):
        raise ResultsError(f"{metric} is undefined for a model on a data set: ranks cannot be given")
    test = friedman_nemenyi(scores.to_numpy(), alpha)
    order = np.argsort(test.ranks, kind="stable")
    scores = scores.iloc[:, order].rename_axis("data set")
    requested = [m for run in runs for m in run.models if only is None or m in only]
    left_out = tuple(dict.fromkeys(m for m in requested if m not in shared))
    families = {model: runs[0].models[model]["family"] for model in columns_of(scores)}
    return Across(metric, scores, families, replace(test, ranks=test.ranks[order]), alpha, left_out, runs)


def ranks_table(found: Across) -> pd.DataFrame:
    """One row per model: model, family, mean_rank, mean_score (over the data sets), wins (data sets where no other is better)."""
    best = found.scores.eq(found.scores.max(axis=1), axis=0)
    return pd.DataFrame(
        {
            "model": columns_of(found.scores),
            "family": list(found.families.values()),
            "mean_rank": found.test.ranks,
            "mean_score": found.scores.mean().to_numpy(),
            "wins": best.sum().to_numpy(),
        }
    )


def cliques(found: Across) -> list[tuple[int, int]]:
    """First and last place, in the order of the ranks, of each largest set of models that do not differ by the Nemenyi test."""
    ranks, spans = found.test.ranks, []
    for first in range(len(ranks)):
        last = max(k for k in range(len(ranks)) if ranks[k] - ranks[first] <= found.test.critical_difference)
        if last > first and (not spans or last > spans[-1][1]):
            spans.append((first, last))
    return spans


def summarise_ranks(found: Across) -> list[str]:
    """State the best mean rank, the result of the tests, and which models were left out and why."""
    test, models, n = found.test, columns_of(found.scores), len(found.scores)
    lines = [
        f"{_unanswered(found)}{models[0]} has the best mean rank over {counted(n, 'data set')}: {test.ranks[0]:.2f} of {len(models)}"
        f"{_left_out(found)}",
        f"Friedman test over {counted(len(models), 'model')}: χ² = {test.chi2:.2f} (Iman and Davenport's F = {_f(test.f)}), p "
        f"{_p(test.permutation_p)} by permutation.",
    ]
    if not test.permutation_p < found.alpha:
        lines.append("No two of these models differ significantly.")
    else:
        worse = [
            m for m, rank in zip(models, test.ranks, strict=True) if rank - test.ranks[0] > test.critical_difference
        ]
        found_worse = (
            f"{models[0]} is better than {', '.join(worse)}" if worse else f"no model differs from {models[0]}"
        )
        lines.append(
            f"Mean ranks differ significantly where they are more than {test.critical_difference:.2f} apart (Nemenyi, alpha {found.alpha:g}): "
            f"{found_worse}."
        )
    if n < FEW:
        lines.append(f"With fewer than {FEW} data sets these tests detect only large differences (Demšar 2006).")
    return lines + [f"Left out: {model}: {_why_left_out(model, found.runs)}." for model in found.left_out]


def _unanswered(found: Across) -> str:
    """Name the families to be compared that have no finished model although one was planned."""
    planned = {description["family"] for run in found.runs for description in run.models.values()}
    absent = [family for family in COMPARED if family in planned - set(found.families.values())]
    return f"Not answered, no {' or '.join(absent)} model finished on every data set: " if absent else ""


def _left_out(found: Across) -> str:
    if not found.left_out:
        return ""
    named, more = ", ".join(found.left_out[:MOST_NAMED]), len(found.left_out) - MOST_NAMED
    return f"; left out: {named}{f' and {more} more' if more > 0 else ''}"


def _why_left_out(model: str, runs: Sequence[Results]) -> str:
    """Give the reason of each run that did not finish a model."""
    reasons = []
    for run in runs:
        name = run.data["name"]
        if model not in run.models:
            reasons.append(f"not in the suite on {name}")
            continue
        status, reason = state(run, model)
        if status != "done":
            reasons.append(f"{status} on {name} ({reason})")
    return "; ".join(reasons)


def _f(f: float) -> str:
    return f"{f:.2f}" if math.isfinite(f) else "infinite: every data set has the same order"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _check_independent(one: Results, other: Results, *, same: bool) -> None:
    names = f"{one.path} and {other.path}"
    why = "their folds and repeats are not independent samples, so ranks over them prove nothing"
    if same or one.data.get("digest") == other.data.get("digest"):
        raise ResultsError(
            f"{names} are both of data set {one.data['name']}: {why}; give one run per data set, or use: bench compare {one.path} {other.path}"
        )
    files = [set(run.manifest.get("sha256", pd.Series(dtype=str))) - {""} for run in (one, other)]
    common = len(files[0] & files[1])
    if common:
        raise ResultsError(f"{names} share {counted(common, 'image')}: {why}; give runs of data sets that share none")


def check_same_decision(runs: Sequence[Results]) -> None:
    """Refuse to put runs together whose labels were decided by different rules; those with one label per image fit with all.

    Raises
    ------
    ResultsError
        Naming two runs that differ.
    """
    several = [run for run in runs if run.data["task"] == "multilabel"]
    for run in several[1:]:
        if run.decision != several[0].decision:
            raise ResultsError(
                f"{several[0].path} decides labels by {several[0].decision} and {run.path} by {run.decision}: scores by two rules are not "
                f"compared: run one of them anew in another folder with --set decision={several[0].decision}"
            )


def _check_same_models(shared: Sequence[str], runs: Sequence[Results]) -> None:
    for model in shared:
        recipes = [{k: v for k, v in run.models[model].items() if k != "description"} for run in runs]
        for run, recipe in zip(runs[1:], recipes[1:], strict=True):
            key = next((k for k in recipe if k in recipes[0] and recipe[k] != recipes[0][k]), None)
            if key is not None:
                raise ResultsError(
                    f"{model} is not the same model in {runs[0].path} and {run.path} ({key} differs): run the same suite on each data set"
                )
