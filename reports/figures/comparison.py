"""Which model is better: every metric over the folds, and F1 of every class."""

import altair as alt
import pandas as pd

from reports.figures.theme import ROW_HEIGHT, chooser, family_color, heat_map, inline, layered
from reports.scores.evaluation import Evaluation
from reports.scores.metrics import METRICS
from reports.scores.naming import title
from reports.scores.ranking import primary_metric, ranked
from reports.tables.per_class import per_class


def comparison(evaluation: Evaluation) -> alt.LayerChart:
    """Draw each metric per model: a small dot per cell, a large one for their mean, a line from worst to best."""
    results = evaluation.results
    order = ranked(evaluation)
    names = {metric: title(metric, results) for metric in METRICS}
    table = evaluation.scores.melt(["model", "repeat", "fold"], list(METRICS), "metric").dropna(subset="value")
    table["family"] = [results.models[model]["family"] for model in table["model"]]
    table["metric"] = table["metric"].map(names)
    chosen = chooser("metric", "Metric", list(names.values()), names[primary_metric(results)])
    base = (
        alt.Chart(inline(table))
        .transform_filter("datum.metric === metric")
        .encode(y=alt.Y("model:N", sort=order, title=None), color=family_color())
    )
    x = alt.X("value:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6))
    span = base.mark_rule(opacity=0.5, strokeWidth=2).encode(
        x=alt.X("min(value):Q", title=None, axis=alt.Axis(tickCount=6)), x2="max(value):Q"
    )
    folds = base.mark_circle(size=26, opacity=0.55).encode(
        x=x, tooltip=["model:N", "repeat:Q", "fold:Q", alt.Tooltip("value:Q", format=".4f")]
    )
    mean = base.mark_circle(size=120, opacity=1).encode(
        x="mean(value):Q", tooltip=["model:N", alt.Tooltip("mean(value):Q", title="mean over cells", format=".4f")]
    )
    return layered(span, folds, mean, height=ROW_HEIGHT * len(order), params=(chosen,))


def class_f1(evaluation: Evaluation) -> alt.LayerChart:
    """Draw F1 of every class and model; classes from the most to the least frequent, with their number of groups."""
    table = per_class(evaluation)[["model", "class", "n_images", "n_groups", "f1"]]
    table["text"] = ["–" if pd.isna(value) else f"{value:.2f}".removeprefix("0") for value in table["f1"]]
    table["column"] = [f"{label} ({n})" for label, n in zip(table["class"], table["n_groups"], strict=True)]
    columns = table.sort_values("n_images", ascending=False)["column"].drop_duplicates().tolist()
    order = ranked(evaluation)
    x = alt.X("column:N", sort=columns, title=None, axis=alt.Axis(labelAngle=-50, orient="top", ticks=False))
    y = alt.Y("model:N", sort=order, title=None, axis=alt.Axis(ticks=False))
    tooltip = ["model:N", "class:N", alt.Tooltip("f1:Q", format=".4f"), "n_images:Q", "n_groups:Q"]
    return heat_map(inline(table), x, y, "f1", "text", tooltip, len(order))
