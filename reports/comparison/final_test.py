"""The last test: models fitted to everything else, on images that no fold saw."""

from typing import Any

import numpy as np
import pandas as pd

from reports.comparison.bootstrap import weighted_scores
from reports.comparison.significance import percentile_interval, resample_groups
from reports.runs.results import Results
from reports.scores.decision import at_threshold, most_probable
from reports.scores.evaluation import Decided
from reports.scores.metrics import METRICS, score
from reports.scores.naming import SHOWN, title

RESAMPLES = 1000


def decided_part(table: pd.DataFrame, threshold: float | None, results: Results) -> Decided:
    """Predictions of a model on the held-out images after its own decision rule."""
    truth = table[[f"truth/{name}" for name in results.classes]].to_numpy(bool)
    probability = table[[f"probability/{name}" for name in results.classes]].to_numpy(float)
    if threshold is None:
        decided = most_probable(probability)
    else:
        decided = at_threshold(probability, threshold, results.data["at_least_one"])
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
        for metric in SHOWN
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


def looks_in_words(results: Results) -> str:
    """Say what the held-out images are, and how often they were looked at."""
    facts, noun = results.run["holdout"], results.data.get("group_noun", "group")
    what = (
        f"a folder of its own ({facts['name']})"
        if facts["kind"] == "folder"
        else f"{facts['share']:.0%} of the {noun}s"
    )
    n = len(results.test_accesses)
    often = (
        "looked at once"
        if n == 1
        else f"looked at {n} times ({', '.join(look['when'][:10] for look in results.test_accesses)}): what was changed after the first look may fit these images by choice"
    )
    return f"{facts['n_images']} images of {facts['n_groups']} {noun}s, {what}, that no fold saw; {often}"


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _numbers(table: pd.DataFrame, threshold: float | None, results: Results, alpha: float) -> dict[str, Any]:
    part, task = decided_part(table, threshold, results), results.data["task"]
    values = score(part.truth, part.decided, part.probability, task)
    weights = resample_groups(table["group"].to_numpy(str), RESAMPLES, int(results.run["seed"]))
    drawn = weighted_scores(part, weights, task)
    numbers: dict[str, Any] = {}
    for metric in METRICS:
        low, high = percentile_interval(drawn.get(metric, ()), alpha)
        numbers |= {metric: values[metric], f"{metric}_low": low, f"{metric}_high": high}
    return numbers


def _plain(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 6)
