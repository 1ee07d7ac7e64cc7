"""The summary table: one row per model of the suite, as numbers and as the text that people read."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.comparison.bootstrap import Draws
from reports.comparison.significance import percentile_interval
from reports.runs.costs import model_costs
from reports.runs.results import Results
from reports.runs.rows import rows_of
from reports.runs.status import state
from reports.scores.decision import FloatArray
from reports.scores.evaluation import Evaluation
from reports.scores.metrics import METRICS, RESTS_ON_CLASSES, mean_of_defined, score
from reports.scores.naming import VISIBLE_METRICS, quantity, title

Row = dict[str, Any]  # one row of the summary


@dataclass(frozen=True)
class Column:
    """One column of the summary as people read it.

    Attributes
    ----------
    title : str
    note : str
        What the column says, or how it was measured.
    key : str
        The column of the summary whose value orders the rows.
    text : callable
        Row of the summary -> text.
    """

    title: str
    note: str
    key: str
    text: Callable[[Row], str]


def summary(evaluation: Evaluation, draws: Draws | None = None, alpha: float = 0.05) -> pd.DataFrame:
    """Summarise each model of the suite, finished or not.

    Returns
    -------
    DataFrame
        One row per model in the order of the suite: model, family, suite, cells ("done/planned"); for each metric _mean
        and _sd over the cells where it is defined, _pooled (on the joined test predictions of a repeat, mean over the
        repeats), _low and _high (its interval over `draws` of groups, at 1 - alpha), _cells (how many cells it rests on) and, for means over classes, _classes (the fewest classes it rests
        on in a cell); the costs of `reports.runs.costs.model_costs`; status and reason.
    """
    results = evaluation.results
    costs = model_costs(results)
    rows = []
    for model, description in results.models.items():
        done = evaluation.scores[evaluation.scores["model"] == model]
        status, reason = state(results, model)
        rows.append(
            {
                "model": model,
                "family": description["family"],
                "suite": results.run["suite"]["name"],
                "cells": f"{len(done)}/{results.n_planned}",
                **_metrics(done, _pooled(evaluation, model), (draws or {}).get(model, {}), alpha),
                **{name: costs[name].get(model, math.nan) for name in costs.columns},
                "status": status,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows)


def columns(results: Results) -> list[Column]:
    """Columns of the summary as people read it, with the exact match named as such for several labels."""
    cost_columns = [
        Column("Fit (s per fold)", "mean ± sd over the folds", "fit_seconds_mean", _text_of("fit_seconds")),
        Column(
            "Encode (ms per image)",
            "all encoders of the model, median over the folds; computed once and shared by the folds",
            "encode_ms_per_image",
            lambda row: quantity(row["encode_ms_per_image"], absent="–"),
        ),
        Column(
            "Predict (ms per image)",
            "head alone, median of the raw samples over the test part",
            "predict_ms_per_image",
            lambda row: quantity(row["predict_ms_per_image"], absent="–"),
        ),
    ]
    return [
        Column("Model", "", "model", lambda row: row["model"]),
        Column("Family", "", "family", lambda row: row["family"]),
        Column("Folds", "finished of planned, over all repeats", "cells", lambda row: as_fraction(row["cells"])),
        *(Column(title(metric, results), "", f"{metric}_mean", _text_of(metric)) for metric in VISIBLE_METRICS),
        *cost_columns,
        Column("Status", "", "status", lambda row: row["status"]),
    ]


def as_text(table: pd.DataFrame, shown: list[Column]) -> pd.DataFrame:
    """Write the summary as people read it: "0.812 ± 0.013", "undefined" where nothing could be computed."""
    rows = rows_of(table)
    return pd.DataFrame({column.title: [column.text(row) for row in rows] for column in shown}, dtype=str)


def mean_sd(row: Row, name: str) -> str:
    """Write "mean ± sd" of a metric or cost, and how many folds it rests on where those are not all the finished ones."""
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    finished = int(row["cells"].split("/")[0])
    rests_on = int(row.get(f"{name}_cells", finished))
    partial = f" ({rests_on} of {finished} folds)" if rests_on < finished else ""
    if finished == 0:
        return "–"
    if math.isnan(mean):
        return f"undefined{partial}"
    write = (lambda value: f"{value:.3f}") if name in METRICS else quantity
    return write(mean) + ("" if math.isnan(sd) else f" ± {write(sd)}") + partial


def as_fraction(cells: str) -> str:
    """Write the column `cells` for people.

    >>> as_fraction("4/5")
    '4 of 5'
    """
    return cells.replace("/", " of ")


def _text_of(name: str) -> Callable[[Row], str]:
    return lambda row: mean_sd(row, name)


def _metrics(
    done: pd.DataFrame, pooled: dict[str, float], drawn: Mapping[str, FloatArray], alpha: float
) -> dict[str, float]:
    values = {}
    for metric in METRICS:
        cells = done[metric].dropna() if len(done) else pd.Series(dtype=float)
        values |= {
            f"{metric}_mean": cells.mean(),
            f"{metric}_sd": cells.std(),
            f"{metric}_pooled": pooled.get(metric, math.nan),
            **dict(
                zip((f"{metric}_low", f"{metric}_high"), percentile_interval(drawn.get(metric, ()), alpha), strict=True)
            ),
            f"{metric}_cells": len(cells),
        }
        if metric in RESTS_ON_CLASSES:
            values[f"{metric}_classes"] = int(done[f"{metric}_classes"].min()) if len(done) else 0
    return values


def _pooled(evaluation: Evaluation, model: str) -> dict[str, float]:
    task = evaluation.results.data["task"]
    scores = [score(part.truth, part.decided, part.probability, task) for part in evaluation.pooled(model)]
    return {metric: mean_of_defined([each[metric] for each in scores]) for metric in METRICS} if scores else {}
