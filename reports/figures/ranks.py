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
    """Draw each model at its mean rank, 1 on the left; a bar joins models that do not differ by the Nemenyi test.

    Parameters
    ----------
    found : Across

    Returns
    -------
    LayerChart
        The diagram of Demšar (2006), figure 1.
    """
    k, spans, cd = found.scores.shape[1], cliques(found), found.test.critical_difference
    left = (k + 1) // 2  # models with labels on the left
    below = 1.2 + 0.45 * len(spans)  # where the names begin
    reach = (k - 1) * 0.42  # of the arms
    x_scale = alt.Scale(domain=[min(1, 1 - reach), max(k, k + reach, 1 + cd)], nice=False)
    y_scale = alt.Scale(domain=[-(below + left), 1.6], nice=False)
    axis = alt.Axis(orient="top", values=list(range(1, k + 1)), title="Mean rank (1 is best)", grid=False)

    def x(column: str) -> alt.X:
        return alt.X(f"{column}:Q", scale=x_scale, axis=axis)

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", scale=y_scale, axis=None)

    models = alt.Chart(inline(_named_ranks(found, left, below, reach)))
    color = family_color().legend(orient="top", symbolType="stroke", symbolStrokeWidth=3)
    stems = models.mark_rule(strokeWidth=1.5).encode(x=x("rank"), y=y("top"), y2="level:Q", color=color)
    arms = models.mark_rule(strokeWidth=1.5).encode(x=x("rank"), x2="end:Q", y=y("level"), color=color)
    names = [
        models.transform_filter(f"datum.left === {side}")
        .mark_text(align=align, dx=dx, fontSize=TEXT)
        .encode(x=x("end"), y=y("level"), text="text:N")
        for side, align, dx in SIDES
    ]
    places = {"x": x("from"), "x2": "to:Q", "y": y("y")}
    joined = (
        alt.Chart(inline(_bars(found, spans))).mark_rule(strokeWidth=5, color=BAR, strokeCap="round").encode(**places)
    )
    ruler = alt.Chart(inline(pd.DataFrame([{"from": 1.0, "to": 1.0 + cd, "y": 0.9, "text": f"CD = {cd:.2f}"}])))
    span = ruler.mark_rule(strokeWidth=2, color=BAR).encode(**places)
    label = ruler.mark_text(align="left", baseline="bottom", dy=-3, fontSize=TEXT)
    span_text = label.encode(x=places["x"], y=places["y"], text="text:N")
    height = 60 + ROW_HEIGHT * (left + 1) + 12 * len(spans)
    return layered(stems, arms, *names, joined, span, span_text, height=height)


def _named_ranks(found: Across, left: int, below: float, reach: float) -> pd.DataFrame:
    """Place each model: its rank on the axis, the level of its arm, and where the arm ends at its name."""
    models, ranks = columns_of(found.scores), found.test.ranks
    k, rows = len(models), []
    for place, (model, rank) in enumerate(zip(models, ranks, strict=True)):
        on_left = place < left
        rows.append(
            {
                "model": model,
                "family": found.families[model],
                "rank": rank,
                "top": 0.0,
                "level": -(below + (place if on_left else k - 1 - place)),
                "end": 1 - 0.06 * reach if on_left else k + 0.06 * reach,
                "left": on_left,
                "text": f"{model} ({rank:.2f})",
            }
        )
    return pd.DataFrame(rows)


def _bars(found: Across, spans: list[tuple[int, int]]) -> pd.DataFrame:
    """Bars over the models that do not differ, one below the other."""
    ranks = found.test.ranks
    return pd.DataFrame(
        [{"from": ranks[a] - 0.04, "to": ranks[b] + 0.04, "y": -(0.5 + 0.45 * i)} for i, (a, b) in enumerate(spans)],
        columns=["from", "to", "y"],
    )


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
