"""Reliability diagram: fraction of positives over mean predicted probability."""

import altair as alt
import pandas as pd

from reports.figures.theme import chooser, family_color, inline, layered
from reports.scores.calibration import VERSIONS, reliability
from reports.scores.evaluation import Evaluation
from reports.scores.ranking import ranked


def reliability_diagram(evaluation: Evaluation) -> alt.LayerChart:
    """Draw the reliability curve of the chosen model before and after temperature scaling."""
    results = evaluation.results
    table = reliability(evaluation)
    table["family"] = [results.models[model]["family"] for model in table["model"]]
    model = chooser("model", "Model", ranked(evaluation))
    scale, axis = alt.Scale(domain=[0, 1]), alt.Axis(tickCount=5)
    base = (
        alt.Chart(inline(table))
        .transform_filter("datum.model === model")
        .encode(
            x=alt.X("mean_predicted_probability:Q", title="Mean predicted probability", scale=scale, axis=axis),
            y=alt.Y("fraction_of_positives:Q", title="Fraction of positives", scale=scale, axis=axis),
            color=family_color().legend(None),
            tooltip=[
                *("model:N", "version:N"),
                alt.Tooltip("mean_predicted_probability:Q", title="mean predicted probability", format=".3f"),
                alt.Tooltip("fraction_of_positives:Q", title="fraction of positives", format=".3f"),
                alt.Tooltip("n:Q", title="predictions"),
            ],
        )
    )
    dash = alt.StrokeDash(
        "version:N",
        title=None,
        scale=alt.Scale(domain=list(VERSIONS), range=[[1, 0], [5, 4]]),
        legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeColor="#888"),
    )
    lines = base.mark_line(strokeWidth=2).encode(strokeDash=dash)
    points = base.mark_circle(opacity=0.8).encode(
        size=alt.Size("n:Q", scale=alt.Scale(type="sqrt", range=[15, 300]), legend=None)
    )
    perfect = (
        alt.Chart(inline(pd.DataFrame({"at": [0.0, 1.0]})))
        .mark_line(color="#888", strokeWidth=1, opacity=0.8)
        .encode(x="at:Q", y="at:Q")
    )
    return layered(perfect, lines, points, height=360, params=(model,))
