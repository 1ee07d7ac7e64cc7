"""Two runs side by side: the differences between them, and between their scores."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.comparison.pairwise import TestSettings
from reports.comparison.significance import corrected_t_test
from reports.runs.results import Results
from reports.scores.evaluation import Decided, Evaluation, sort_by_image
from reports.scores.ranking import primary_metric

_IDENTITY = ("run_id", "created", "command", "schema", "notes", "pixels")  # always differ, or follow from the rest
_DERIVED = ("suite.digest", "suite.name", "suite.description")


@dataclass(frozen=True)
class Difference:
    """A setting that differs between two runs: its key in run.json, and its value in each ("–": absent)."""

    key: str
    first: str
    second: str


def differences(first: Results, second: Results) -> list[Difference]:
    """List what differs in data, splits, parameters, versions and hardware; one line for each model that only one run has."""
    lone = set(first.models) ^ set(second.models)
    one, other = (dict(_flat(_described(results, lone))) for results in (first, second))
    keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key, "–") != other.get(key, "–")]
    return [Difference(key, one.get(key, "–"), other.get(key, "–")) for key in keys]


def why_untested(first: Results, second: Results) -> str:
    """Why cells of the two runs cannot be paired; empty if they can."""
    if first.data["classes"] != second.data["classes"] or first.data["task"] != second.data["task"]:
        return "the classes differ"
    if first.run["splits"]["digest"] != second.run["splits"]["digest"]:
        return "the splits differ: scores on other test parts are not paired"
    return ""


def changes(first: Evaluation, second: Evaluation, settings: TestSettings) -> pd.DataFrame:
    """Compare the models that both runs have, second minus first.

    Returns
    -------
    DataFrame
        model; first and second, means of the metric that decides over the cells; difference; where the splits are the same p, low
        and high of the corrected resampled t-test over the cells of both, and same, the share of these cells whose
        predictions are identical. NaN elsewhere.
    """
    metric = primary_metric(first.results)
    paired = not why_untested(first.results, second.results)
    rows = []
    for model in (m for m in first.finished if m in second.finished):
        one, other = (
            each.scores[each.scores["model"] == model].set_index(["repeat", "fold"])[metric] for each in (first, second)
        )
        row: dict[str, Any] = {"model": model, "first": one.mean(), "second": other.mean()}
        row["difference"] = row["second"] - row["first"]
        row |= _paired(first, second, model, (other - one).dropna(), settings) if paired else _NOTHING
        rows.append(row)
    return pd.DataFrame(rows, columns=["model", "first", "second", "difference", *_NOTHING])


_NOTHING = {"p": math.nan, "low": math.nan, "high": math.nan, "same": math.nan}


def _paired(
    first: Evaluation, second: Evaluation, model: str, gains: pd.Series, settings: TestSettings
) -> dict[str, float]:
    keys = [(model, *place) for place in gains.index]
    if not keys:
        return _NOTHING
    cells = first.results.cells.set_index(["model", "repeat", "fold"]).loc[keys]
    test = corrected_t_test(gains, float((cells["n_test"] / cells["n_train"]).mean()), settings.alpha)
    same = [_identical(first.test_parts[key], second.test_parts[key]) for key in keys]
    return {"p": test.p, "low": test.low, "high": test.high, "same": sum(same) / len(same)}


def _identical(one: Decided, other: Decided) -> bool:
    one, other = sort_by_image(one), sort_by_image(other)
    return np.array_equal(one.image_id, other.image_id) and np.array_equal(one.probability, other.probability)


def _described(results: Results, lone: set[str]) -> dict[str, Any]:
    """Return the settings of `run.json`, with one word for each of the models that only one run has."""
    run = {key: value for key, value in results.run.items() if key not in _IDENTITY}
    models = {name: "run" if name in lone else model for name, model in results.models.items()}
    return {**run, "suite": {key: value for key, value in run["suite"].items() if key != "models"}, "models": models}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and not (key.startswith("models.") and key.count(".") > 1):
        for name, each in value.items():
            where = f"{key}.{name}" if key else str(name)
            if where not in _DERIVED and not where.endswith(".description"):
                yield from _flat(each, where)
    else:
        yield key, str(value)
