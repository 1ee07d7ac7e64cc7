"""Score over the number of training patients, a line for each model."""

import altair as alt
import pandas as pd

from reports.figures.theme import family_color, inline, layered


def score_over_patients(table: pd.DataFrame, y_title: str, noun: str) -> alt.LayerChart:
    """Draw the rows of `reports.comparison.learning.curve_table`: mean, and the interval over draws of folds and of groups within them."""
    base = alt.Chart(inline(table))
    x = alt.X("n_patients:Q", title=f"training {noun}s", scale=alt.Scale(type="log", nice=False, padding=20))
    scale = alt.Scale(zero=False, nice=True)
    tooltip = ["model:N", alt.Tooltip("n_patients:Q", format=".0f"), alt.Tooltip("score:Q", format=".4f")]
    tooltip += [alt.Tooltip("low:Q", format=".4f"), alt.Tooltip("high:Q", format=".4f")]
    detail = alt.Detail("model:N")
    band = base.mark_area(opacity=0.1).encode(
        x=x, y=alt.Y("low:Q", title=y_title, scale=scale), y2="high:Q", color=family_color(), detail=detail
    )
    y = alt.Y("score:Q", title=y_title, scale=scale)
    lines = base.mark_line().encode(x=x, y=y, color=family_color(), detail=detail)
    dots = base.mark_circle(opacity=1, size=50).encode(x=x, y=y, color=family_color(), tooltip=tooltip)
    last = base.transform_filter("datum.last").mark_text(align="left", dx=8, fontSize=11)
    names = last.encode(x=x, y=y, text="model:N")
    return layered(band, lines, dots, names)


def with_last(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the largest size of each model, where its label is."""
    return table.assign(last=table["n_patients"] == table.groupby("model")["n_patients"].transform("max"))
