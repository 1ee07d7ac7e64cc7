"""Mean ranks over several data sets: the critical-difference diagram of Demšar (2006), and the scores behind it."""

from typing import Literal

import altair as alt
import pandas as pd

from reports.comparison.across import Across, cliques
from reports.figures.theme import FAMILY_COLORS, ROW_HEIGHT, family_color, inline, layered
from reports.runs.rows import columns_of

BAR, TEXT = "#888", 12
SIDES: tuple[tuple[str, Literal["left", "right"], int], ...] = (("true", "right", -4), ("false", "left", 4))


def critical_differences(found: Across) -> alt.LayerChart:
    """Draw each model at its mean rank, 1 on the left; a bar joins models that do not differ by the Nemenyi test."""
    models, ranks = columns_of(found.scores), found.test.ranks
    k, spans = len(models), cliques(found)
    left = (k + 1) // 2
    below = 1.2 + 0.45 * len(spans)  # where the names begin
    reach = (k - 1) * 0.42
    rows = []
    for place, (model, rank) in enumerate(zip(models, ranks, strict=True)):
        on_left = place < left
        level = -(below + (place if on_left else k - 1 - place))
        end = 1 - 0.06 * reach if on_left else k + 0.06 * reach
        rows.append(
            {
                "model": model,
                "family": found.families[model],
                "rank": rank,
                "top": 0.0,
                "level": level,
                "end": end,
                "left": on_left,
            }
        )
    table = pd.DataFrame(rows)
    table["text"] = [f"{m} ({r:.2f})" for m, r in zip(models, ranks, strict=True)]
    bars = pd.DataFrame(
        [{"from": ranks[a] - 0.04, "to": ranks[b] + 0.04, "y": -(0.5 + 0.45 * i)} for i, (a, b) in enumerate(spans)],
        columns=["from", "to", "y"],
    )
    ruler = pd.DataFrame(
        [
            {
                "from": 1.0,
                "to": 1.0 + found.test.critical_difference,
                "y": 0.9,
                "text": f"CD = {found.test.critical_difference:.2f}",
            }
        ]
    )
    x_scale = alt.Scale(domain=[min(1, 1 - reach), max(k, k + reach, 1 + found.test.critical_difference)], nice=False)
    y_scale = alt.Scale(domain=[-(below + left), 1.6], nice=False)
    axis = alt.Axis(orient="top", values=list(range(1, k + 1)), title="Mean rank (1 is best)", grid=False)
    x, y = alt.X("rank:Q", scale=x_scale, axis=axis), alt.Y("top:Q", scale=y_scale, axis=None)
    color = family_color().legend(orient="top", symbolType="stroke", symbolStrokeWidth=3)
    base = alt.Chart(inline(table)).encode(color=color)
    stems = base.mark_rule(strokeWidth=1.5).encode(x=x, y=y, y2="level:Q")
    arms = base.mark_rule(strokeWidth=1.5).encode(x=x, x2="end:Q", y=alt.Y("level:Q", scale=y_scale, axis=None))
    words = [
        alt.Chart(inline(table))
        .transform_filter(f"datum.left === {side}")
        .mark_text(align=align, dx=dx, fontSize=TEXT)
        .encode(x=alt.X("end:Q", scale=x_scale, axis=axis), y=alt.Y("level:Q", scale=y_scale, axis=None), text="text:N")
        for side, align, dx in SIDES
    ]
    places = {"x": alt.X("from:Q", scale=x_scale, axis=axis), "x2": "to:Q", "y": alt.Y("y:Q", scale=y_scale, axis=None)}
    joined = alt.Chart(inline(bars)).mark_rule(strokeWidth=5, color=BAR, strokeCap="round").encode(**places)
    span = alt.Chart(inline(ruler)).mark_rule(strokeWidth=2, color=BAR).encode(**places)
    span_text = (
        alt.Chart(inline(ruler))
        .mark_text(align="left", baseline="bottom", dy=-3, fontSize=TEXT)
        .encode(x=places["x"], y=places["y"], text="text:N")
    )
    height = 60 + ROW_HEIGHT * (left + 1) + 12 * len(spans)
    return layered(stems, arms, *words, joined, span, span_text, height=height)


def scores_by_data_set(found: Across) -> alt.LayerChart:
    """Draw the mean score of each model on each data set: a dot each, in the row of the model."""
    table = found.scores.rename_axis("data_set").reset_index().melt("data_set", var_name="model", value_name="score")
    table["family"] = table["model"].map(found.families)
    order = columns_of(found.scores)
    base = alt.Chart(inline(table)).encode(
        y=alt.Y("model:N", sort=order, title=None),
        x=alt.X("score:Q", title=None, scale=alt.Scale(zero=False, nice=True)),
        color=alt.Color(
            "family:N", scale=alt.Scale(domain=list(FAMILY_COLORS), range=list(FAMILY_COLORS.values())), legend=None
        ),
    )
    shape = alt.Shape("data_set:N", title=None, legend=alt.Legend(orient="top"))
    points = base.mark_point(filled=True, size=80, opacity=0.9).encode(
        shape=shape, tooltip=["model:N", "data_set:N", alt.Tooltip("score:Q", format=".4f")]
    )
    return layered(points, height=ROW_HEIGHT * len(order))
