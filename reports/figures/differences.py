"""Differences between every pair of models, and their significance."""

import altair as alt
import pandas as pd

from reports.comparison.pairwise import TestSettings, against
from reports.figures.theme import chooser, heat_map, inline
from reports.scores.evaluation import Evaluation
from reports.scores.naming import VISIBLE_METRICS, title
from reports.scores.ranking import primary_metric, ranked

KEPT = ("mean_difference", "p", "p_holm", "ci_low", "ci_high", "p_worse", "p_equal", "p_better")


def differences(evaluation: Evaluation, pairs: pd.DataFrame, settings: TestSettings) -> alt.LayerChart:
    """Draw the matrix of differences of each metric, row minus column."""
    results, order = evaluation.results, ranked(evaluation)
    names = {metric: title(metric, results) for metric in VISIBLE_METRICS}
    frames = [
        against(pairs, model, metric)[list(KEPT)].rename_axis("against").reset_index().assign(model=model, metric=name)
        for metric, name in names.items()
        for model in order
    ]
    table = pd.concat(frames, ignore_index=True)
    table["text"] = [
        "–" if pd.isna(d) else f"{d:+.3f}{'*' if p < settings.alpha else ''}"
        for d, p in zip(table["mean_difference"], table["p_holm"], strict=True)
    ]
    x = alt.X("against:N", sort=order, title=None, axis=alt.Axis(labelAngle=-50, orient="top", ticks=False))
    y = alt.Y("model:N", sort=order, title=None, axis=alt.Axis(ticks=False))
    tooltip = ["model:N", "against:N", *(alt.Tooltip(f"{name}:Q", format=".4f") for name in KEPT)]
    chosen = chooser("difference", "Metric", list(names.values()), names[primary_metric(results)])
    chart = heat_map(inline(table), x, y, "p_better", "text", tooltip, len(order))
    return chart.transform_filter("datum.metric === difference").add_params(chosen)
