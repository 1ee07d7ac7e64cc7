"""ROC and precision-recall charts: a line per model, and for the chosen one the band over its folds."""

import altair as alt
import pandas as pd

from reports.curves import ALL_CLASSES, GRID, Curve, bands, precision_recall, roc
from reports.evaluation import Evaluation
from reports.figures.comparison import ranked
from reports.figures.theme import chooser, family_color, inline


def roc_chart(evaluation: Evaluation) -> alt.LayerChart:
    """Draw true positive rate over false positive rate, one class against the rest."""
    return _chart(evaluation, roc, "False positive rate", "True positive rate")


def precision_recall_chart(evaluation: Evaluation) -> alt.LayerChart:
    """Draw precision over recall, one class against the rest."""
    return _chart(evaluation, precision_recall, "Recall", "Precision")


def _chart(evaluation: Evaluation, curve: Curve, x_title: str, y_title: str) -> alt.LayerChart:
    results = evaluation.results
    table = pd.DataFrame(bands(evaluation, curve))
    table["family"] = [results.models[model]["family"] for model in table["model"]]
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
    line = chosen.mark_line(strokeWidth=3).encode(y=y, tooltip=tooltip)
    return alt.layer(others, band, line).add_params(model, label).properties(width="container", height=360)
