"""Shared parts of all charts: colours, inline data, drop-down lists, heat maps."""

import json
import math
from collections.abc import Sequence
from typing import Any, cast

import altair as alt
import pandas as pd

from reports.runs.rows import rows_of

# Okabe and Ito's palette (2008), safe for colour-blind readers; of middle lightness, for light and dark paper.
FAMILY_COLORS = {"classical": "#d55e00", "deep": "#3a86c8", "fusion": "#009e73", "dummy": "#8a8a8a"}
HEAT_COLOR = "#14568f"
ROW_HEIGHT = 24


def inline(table: pd.DataFrame) -> alt.InlineData:
    """Put a table into the chart itself; undefined values become null, numbers keep five significant digits.

    The rows are one JSON text, which Vega parses: Altair would walk through every number of a list several times.
    """
    rows = [{name: _json_value(value) for name, value in row.items()} for row in rows_of(table)]
    text = json.dumps(rows, allow_nan=False, separators=(",", ":"))
    return alt.InlineData(values=text, format=alt.JsonDataFormat(type="json"))


def family_color() -> alt.Color:
    """One colour per family."""
    scale = alt.Scale(domain=list(FAMILY_COLORS), range=list(FAMILY_COLORS.values()))
    legend = alt.Legend(orient="top", symbolType="circle", symbolOpacity=1)
    return alt.Color("family:N", title=None, scale=scale, legend=legend)


def chooser(name: str, title: str, options: Sequence[str], first: str | None = None) -> alt.Parameter:
    """Create a drop-down list that sets the parameter `name` of a chart."""
    bind = alt.binding_select(options=list(options), name=f"{title} ")
    return alt.param(name=name, value=first or options[0], bind=bind)


def heat_map(
    data: alt.InlineData, x: alt.X, y: alt.Y, share: str, text: str, tooltip: list[Any], n_rows: int
) -> alt.LayerChart:
    """Rectangles whose opacity is `share` (0 to 1) under a text; reads on light and on dark paper."""
    base = alt.Chart(data).encode(x=x, y=y, tooltip=tooltip)
    opacity = alt.FillOpacity(f"{share}:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None)
    cells = base.mark_rect(fill=HEAT_COLOR, cornerRadius=2).encode(fillOpacity=opacity)
    words = base.mark_text(fontSize=11).encode(text=f"{text}:N")
    on_light = words.transform_filter(f"!(datum.{share} > 0.65)")
    on_dark = words.mark_text(fontSize=11, fill="white").transform_filter(f"datum.{share} > 0.65")
    return layered(cells, on_light, on_dark, height=ROW_HEIGHT * n_rows)


def layered(*charts: alt.Chart, height: int | None = None, params: Sequence[alt.Parameter] = ()) -> alt.LayerChart:
    """Draw charts over each other; with a height in pixels, as wide as the page."""
    chart = cast("alt.LayerChart", alt.layer(*charts))  # typed as any kind of chart, because a layer may be a facet
    if params:
        chart = chart.add_params(*params)
    return chart if height is None else chart.properties(width="container", height=height)


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(each) for each in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.5g}")
    return value
