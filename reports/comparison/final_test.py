"""The final test: models refitted to all other images, scored on images that no fold used."""

from typing import Any

import numpy as np
import pandas as pd

from reports.comparison.bootstrap import N_RESAMPLES, weighted_scores
from reports.comparison.significance import percentile_interval, resample_groups
from reports.runs.results import Results
from reports.scores.decision import apply_threshold
from reports.scores.evaluation import Decided, class_columns
from reports.scores.metrics import METRICS, score
from reports.scores.naming import VISIBLE_METRICS, title


def decided_part(table: pd.DataFrame, threshold: float | None, results: Results) -> Decided:
    """Predictions of a model on the held-out images after its own decision rule."""
    truth, probability = class_columns(table, results.classes)
    decided = apply_threshold(probability, threshold, results.data["at_least_one"])
    return Decided(table["image_id"].to_numpy(str), truth, decided, probability)


def score_table(
    table: pd.DataFrame, threshold: float | None, results: Results, alpha: float = 0.05
) -> dict[str, dict[str, float | None]]:
    """Score predictions on the held-out images.

    Returns
    -------
    dict
        Title of each metric that people read -> value, low and high, the interval over draws of whole groups; None where undefined.
    """
    numbers = _numbers(table, threshold, results, alpha)
    return {
        title(metric, results): {kind: _plain(numbers[f"{metric}{end}"]) for kind, end in _ENDS.items()}
        for metric in VISIBLE_METRICS
        if not pd.isna(numbers[metric])
    }


def held_out_table(results: Results, alpha: float = 0.05) -> pd.DataFrame:
    """Score every model that was tested on the held-out images.

    Returns
    -------
    DataFrame
        model, family, n_images, n_groups, n_train (images it was fitted to), every metric with its interval over draws of groups as _low and
        _high (NaN for metrics without one), status, reason.
    """
    rows = []
    for model, (record, table) in results.held_out.items():
        row = {"model": model, "family": results.models[model]["family"]}
        if table is not None:
            n_train = record["trained_on"]["n_images"]
            row |= {"n_images": len(table), "n_groups": table["group"].nunique(), "n_train": n_train}
            row |= _numbers(table, record["decision"]["threshold"], results, alpha)
        rows.append(row | {"status": record["status"], "reason": record["reason"] or ""})
    return pd.DataFrame(rows)


def with_interval(row: dict[str, Any], metric: str) -> str:
    """Write a metric of a row of `held_out_table`, such as "0.812 (0.780 to 0.841)"."""
    if pd.isna(row[metric]):
        return "undefined"
    interval = "" if pd.isna(row[f"{metric}_low"]) else f" ({row[f'{metric}_low']:.3f} to {row[f'{metric}_high']:.3f})"
    return f"{row[metric]:.3f}{interval}"


def summarise_held_out(results: Results) -> str:
    """Describe the held-out images, and how often models were tested on them."""
    facts, noun = results.run["holdout"], results.data.get("group_noun", "group")
    what = (
        f"a folder of its own ({facts['name']})"
        if facts["kind"] == "folder"
        else f"{facts['share']:.0%} of the {noun}s"
    )
    n = len(results.test_accesses)
    often = (
        "tested once"
        if n == 1
        else f"tested {n} times ({', '.join(access['when'][:10] for access in results.test_accesses)}): changes made after the first test may be tuned to these images"
    )
    return f"{facts['n_images']} images of {facts['n_groups']} {noun}s, {what}, used by no fold; {often}"


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _numbers(table: pd.DataFrame, threshold: float | None, results: Results, alpha: float) -> dict[str, Any]:
    part, task = decided_part(table, threshold, results), results.data["task"]
    values = score(part.truth, part.decided, part.probability, task)
    weights = resample_groups(table["group"].to_numpy(str), N_RESAMPLES, int(results.run["seed"]))
    drawn = weighted_scores(part, weights, task)
    numbers: dict[str, Any] = {}
    for metric in METRICS:
        low, high = percentile_interval(drawn.get(metric, ()), alpha)
        numbers |= {metric: values[metric], f"{metric}_low": low, f"{metric}_high": high}
    return numbers


def _plain(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 6)
