"""ROC and precision-recall charts: a line per model, and for the selected one the band over its folds."""

import altair as alt
import pandas as pd

from reports.figures.theme import chooser, family_color, inline, layered
from reports.scores.curves import ALL_CLASSES, GRID, CurveFunction, bands, operating_rates, precision_recall, roc
from reports.scores.evaluation import Evaluation
from reports.scores.ranking import ranked


def roc_chart(evaluation: Evaluation) -> alt.LayerChart:
    """Draw true positive rate over false positive rate, one class against the rest."""
    return _chart(evaluation, roc, ("false_positive_rate", "False positive rate"), ("recall", "True positive rate"))


def precision_recall_chart(evaluation: Evaluation) -> alt.LayerChart:
    """Draw precision over recall, one class against the rest."""
    return _chart(evaluation, precision_recall, ("recall", "Recall"), ("precision", "Precision"))


def _chart(
    evaluation: Evaluation, curve: CurveFunction, x_axis: tuple[str, str], y_axis: tuple[str, str]
) -> alt.LayerChart:
    """Draw a curve per model; each axis is a column of the operating rates and its title."""
    results = evaluation.results
    (x_rate, x_title), (y_rate, y_title) = x_axis, y_axis
    table, used = pd.DataFrame(bands(evaluation, curve)), operating_rates(evaluation)
    for frame in (table, used):
        frame["family"] = [results.models[model]["family"] for model in frame["model"]]
    best_first = ranked(evaluation)
    model = chooser("model", "Model", best_first)
    label = chooser("label", "Class", [ALL_CLASSES, *results.classes])
    base = (
        alt.Chart(inline(table))
        .transform_filter("datum.class === label")
        .transform_calculate(x=f"sequence(0, 1.0001, {GRID[1]})")
        .transform_flatten(["x", "mean", "low", "high"])
        .encode(
            x=alt.X("x:Q", title=x_title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5)),
            color=family_color(),
            detail="model:N",
        )
    )
    y = alt.Y("mean:Q", title=y_title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
    tooltip = ["model:N", "class:N", alt.Tooltip("cells:Q", title="folds")]
    others = base.mark_line(strokeWidth=1.5, opacity=0.35).encode(y=y, tooltip=tooltip)
    chosen = base.transform_filter("datum.model === model")
    band = chosen.mark_area(opacity=0.25).encode(y=alt.Y("low:Q", title=y_title), y2="high:Q")
    line = chosen.mark_line(strokeWidth=3).encode(y=y)
    places = [("x", x_title), ("mean", y_title), ("low", "lowest fold"), ("high", "highest fold")]
    read_off = [*tooltip, *(alt.Tooltip(f"{name}:Q", title=text, format=".3f") for name, text in places)]
    hover = chosen.mark_circle(size=90, opacity=0).encode(y=y, tooltip=read_off)
    rates = [("threshold", "threshold"), (x_rate, x_title), (y_rate, y_title)]
    operating = (
        alt.Chart(inline(used))
        .transform_filter("datum.class === label && datum.model === model")
        .mark_point(shape="diamond", size=130, filled=True, opacity=1, stroke="white")
        .encode(
            x=f"{x_rate}:Q",
            y=f"{y_rate}:Q",
            color=family_color(),
            tooltip=[
                *tooltip,
                *(alt.Tooltip(f"{name}:Q", title=text, format=".3f") for name, text in dict(rates).items()),
            ],
        )
    )
    return layered(others, band, line, hover, operating, height=360, params=(model, label))
