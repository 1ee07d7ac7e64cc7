"""Time of each stage per image."""

import altair as alt

from reports.figures.theme import ROW_HEIGHT, family_color, inline, layered
from reports.runs.costs import STAGES, stage_times
from reports.scores.evaluation import Evaluation
from reports.scores.ranking import ranked


def timing(evaluation: Evaluation) -> alt.LayerChart:
    """Draw the time per image of each stage on a log scale: median of the raw samples, and a line from minimum to maximum."""
    results = evaluation.results
    by_stage = stage_times(results).groupby(["model", "stage"])["ms_per_image"]
    table = by_stage.agg(["median", "min", "max", "count"]).reset_index()
    table["family"] = [results.models[model]["family"] for model in table["model"]]
    order = ranked(evaluation)
    shape = alt.Shape(
        "stage:N",
        title=None,
        scale=alt.Scale(domain=list(STAGES), range=["circle", "square", "triangle-up", "diamond"]),
        legend=alt.Legend(orient="top"),
    )
    base = alt.Chart(inline(table)).encode(y=alt.Y("model:N", sort=order, title=None), color=family_color())
    log = alt.Scale(type="log", nice=False)
    axis = alt.Axis(tickCount=6)
    span = base.mark_rule(opacity=0.5).encode(
        x=alt.X("min:Q", scale=log, title="milliseconds per image", axis=axis), x2="max:Q"
    )
    points = base.mark_point(filled=True, size=80, opacity=0.9).encode(
        x=alt.X("median:Q", scale=log, title="milliseconds per image", axis=axis),
        shape=shape,
        tooltip=["model:N", "stage:N", alt.Tooltip("median:Q", title="median, ms per image"), "count:Q"],
    )
    return layered(span, points, height=ROW_HEIGHT * len(order))
