"""Score over the number of training patients, one line per model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from reports.figures.theme import family_color, inline
from reports.learning import Crossing, Curve, curve_table


def score_over_patients(found: Sequence[Curve], crossing: Crossing | None, y_title: str, noun: str) -> alt.LayerChart:
    """Draw every curve with its band, and where deep overtakes classical: a rule with the interval as a shade.

    Parameters
    ----------
    noun
        What a group is in this data set, such as "patient".
    """
    table = curve_table(found)
    n = alt.Scale(type="log", domain=[table["n_patients"].min() / 1.08, table["n_patients"].max() * 1.5], nice=False)
    sizes = sorted({float(f"{size:.0f}") for size in table["n_patients"]})
    axis = alt.Axis(values=sizes, format="d", grid=False)
    x = alt.X("n_patients:Q", title=f"Training {noun}s (log scale)", scale=n, axis=axis)
    y = alt.Scale(zero=False, nice=True)
    base = alt.Chart(inline(table)).encode(x=x, color=family_color(), detail="model:N")
    band = base.mark_area(opacity=0.08).encode(
        y=alt.Y("low:Q", title=y_title, scale=y), y2="high:Q", fill=_fill(), stroke=alt.value(None)
    )
    tooltip = ["model:N", *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("score", "low", "high"))]
    line = base.mark_line(strokeWidth=2, point={"size": 45}).encode(
        y=alt.Y("score:Q", title=y_title, scale=y), tooltip=[*tooltip, alt.Tooltip("n_patients:Q", format=".0f")]
    )
    names = (
        alt.Chart(inline(_names(found)))
        .mark_text(align="left", dx=8, fontSize=11)
        .encode(x=x, y=alt.Y("place:Q", title=y_title, scale=y), text="model:N", color=family_color())
    )
    marks = _marks(crossing, table, x) if crossing else []
    return alt.layer(*marks, band, line, names).properties(width="container", height=380)


def _fill() -> alt.Fill:
    color = family_color().to_dict()
    return alt.Fill("family:N", scale=alt.Scale(**color["scale"]), legend=None)


def _names(found: Sequence[Curve]) -> pd.DataFrame:
    """A name at the end of each line, moved apart so that none covers another."""
    ends = sorted(found, key=lambda curve: curve.score[-1])
    spread = max(curve.score.max() for curve in found) - min(curve.score.min() for curve in found)
    places: list[float] = []
    for curve in ends:
        places.append(max(curve.score[-1], places[-1] + 0.042 * spread if places else -math.inf))
    rows = [
        {"model": curve.model, "family": curve.family, "n_patients": curve.patients[-1], "place": place}
        for curve, place in zip(ends, places, strict=True)
    ]
    return pd.DataFrame(rows)


def _marks(crossing: Crossing, table: pd.DataFrame, x: alt.X) -> list[alt.Chart]:
    if not math.isfinite(crossing.patients):
        return []
    low, high = np.clip([crossing.low, crossing.high], table["n_patients"].min(), table["n_patients"].max())
    data = inline(pd.DataFrame([{"n_patients": crossing.patients, "from": low, "to": high}]))
    ends = {"x": alt.X("from:Q", title=x.title, scale=x.scale, axis=x.axis), "x2": "to:Q"}
    return [
        alt.Chart(data).mark_rect(color="#888", opacity=0.13).encode(**ends),
        alt.Chart(data).mark_rule(color="#888", strokeDash=[4, 3]).encode(x=x),
    ]
