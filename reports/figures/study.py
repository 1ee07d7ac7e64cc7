"""Charts of a study: what variants change, and the generalisation gap in external validation."""

import altair as alt
import pandas as pd

from reports.figures.theme import ROW_HEIGHT, family_color, inline, layered


def effects_chart(effects: pd.DataFrame, y_title: str) -> alt.LayerChart:
    """Draw the rows of `reports.studies.effects.effects_table`: change and interval of each model, a block for each variant and data set."""
    table = effects.copy()
    several = [name for name in ("data", "suite") if table[name].nunique() > 1]
    places = table[several].agg(" ".join, axis=1) + ": " if several else ""
    table["row"] = places + table["variant"] + " · " + table["model"]
    base = alt.Chart(inline(table))
    y = alt.Y("row:N", sort=list(table["row"]), title=None, axis=alt.Axis(labelLimit=320))
    title = f"change in {y_title}"
    tooltip = ["model:N", "variant:N", "data:N"]
    tooltip += [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("difference", "ci_low", "ci_high", "p_holm")]
    zero = alt.Chart(inline(pd.DataFrame({"zero": [0.0]}))).mark_rule(strokeDash=[4, 3]).encode(x="zero:Q")
    lines = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("ci_low:Q", title=title), x2="ci_high:Q", y=y, color=family_color()
    )
    dots = base.mark_circle(size=80, opacity=1).encode(
        x=alt.X("difference:Q", title=title), y=y, color=family_color(), tooltip=tooltip
    )
    return layered(zero, lines, dots, height=ROW_HEIGHT * len(table))


def external_chart(external: pd.DataFrame, x_title: str) -> alt.LayerChart:
    """Draw the rows of `reports.studies.external.external_table`: a dot with its interval for external validation, a hollow one for internal."""
    table = external.copy()
    table["row"] = table["trained_on"] + " → " + table["tested_on"] + " · " + table["model"]
    base = alt.Chart(inline(table))
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("row:N", sort=list(table["row"]), title=None, axis=alt.Axis(labelLimit=360))
    tooltip = ["model:N", "trained_on:N", "tested_on:N"]
    tooltip += [
        alt.Tooltip(f"{name}:Q", format=".4f") for name in ("external", "external_low", "external_high", "internal")
    ]
    lines = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("external_low:Q", title=x_title, scale=scale), x2="external_high:Q", y=y, color=family_color()
    )
    dots = base.mark_circle(size=80, opacity=1).encode(
        x=alt.X("external:Q", title=x_title, scale=scale), y=y, color=family_color(), tooltip=tooltip
    )
    hollow = (
        base.transform_filter("isValid(datum.internal)")
        .mark_point(size=80, filled=False, strokeWidth=2)
        .encode(x=alt.X("internal:Q", title=x_title, scale=scale), y=y, color=family_color(), tooltip=tooltip)
    )
    return layered(lines, hollow, dots, height=ROW_HEIGHT * len(table))
