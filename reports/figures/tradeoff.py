"""Score over cost of every model, with the Pareto front."""

from typing import Literal

import altair as alt
import numpy as np
import pandas as pd

from reports.figures.theme import chooser, family_color, inline, layered
from reports.runs.costs import model_costs, pareto_front
from reports.scores.evaluation import Evaluation
from reports.scores.naming import title
from reports.scores.ranking import primary_metric, ranked

COSTS = {
    "latency_ms": "Encode + predict (ms per image)",
    "fit_seconds_mean": "Fit (s per fold)",
    "model_mb": "Size (MB)",
    "peak_memory_mb": "Peak memory (MB)",
}
Box = tuple[float, float, float, float]  # left, top, right, bottom
ANCHORS: dict[str, tuple[Literal["left", "right"], int, int]] = {
    "ne": ("left", 8, -8),
    "se": ("left", 8, 9),
    "nw": ("right", -8, -8),
    "sw": ("right", -8, 9),
}  # align, dx, dy
WIDTH, HEIGHT, LETTER, LINE = 900, 380, 6.3, 13  # pixels that labels are placed for


def tradeoff(evaluation: Evaluation) -> alt.LayerChart:
    """Draw the mean score over each cost, on a log scale; a line over the folds, and steps through the Pareto front."""
    table = points(evaluation)
    cost = chooser("cost", "Cost", list(dict.fromkeys(table["cost"])))
    chart = score_over_cost(table, title(primary_metric(evaluation.results), evaluation.results), None)
    return chart.transform_filter("datum.cost === cost").add_params(cost)


def score_over_cost(table: pd.DataFrame, y_title: str, x_title: str | None) -> alt.LayerChart:
    """Draw rows of `points`."""
    base = alt.Chart(inline(table))
    axis = alt.Axis(tickCount=5, format="~g")
    x = alt.X("value:Q", title=x_title, scale=alt.Scale(type="log", nice=True, padding=20), axis=axis)
    scale = alt.Scale(zero=False, nice=True)
    tooltip = [
        *("model:N", alt.Tooltip("score:Q", format=".4f"), alt.Tooltip("low:Q", format=".4f", title="lowest fold")),
        alt.Tooltip("high:Q", format=".4f", title="highest fold"),
        alt.Tooltip("value:Q", format=".3~g", title="cost"),
    ]
    steps = base.transform_filter("datum.front").mark_line(interpolate="step-after", color="#888", strokeDash=[4, 3])
    spread = base.mark_rule(opacity=0.35).encode(
        x=x, y=alt.Y("low:Q", title=y_title, scale=scale), y2="high:Q", color=family_color()
    )
    y = alt.Y("score:Q", title=y_title, scale=scale)
    size = alt.condition("datum.front", alt.value(130), alt.value(55))
    dots = base.mark_circle(opacity=1).encode(x=x, y=y, color=family_color(), tooltip=tooltip, size=size)
    names = [
        base.transform_calculate(name=f"datum.anchor === '{anchor}' ? datum.model : ''")
        .mark_text(align=align, dx=dx, dy=dy, fontSize=11)
        .encode(x=x, y=y, text="name:N")
        for anchor, (align, dx, dy) in ANCHORS.items()
    ]
    return layered(steps.encode(x=x, y=y), spread, dots, *names, height=HEIGHT)


def points(evaluation: Evaluation) -> pd.DataFrame:
    """Score and cost of each model but dummies, for every cost that is known and not 0.

    Returns
    -------
    DataFrame
        model, family, score, low, high (over the folds), cost (its title), value, front (whether no other is both as good and as
        cheap), anchor (position of its label beside the dot; empty if there is no room).
    """
    results, metric = evaluation.results, primary_metric(evaluation.results)
    candidates = [model for model in ranked(evaluation) if results.models[model]["family"] != "dummy"]
    scores = (
        evaluation.scores.groupby("model")[metric].agg(["mean", "min", "max"]).loc[candidates or ranked(evaluation)]
    )
    scores.columns = ["score", "low", "high"]
    costs = model_costs(results)
    costs["latency_ms"] = costs["encode_ms_per_image"].fillna(0) + costs["predict_ms_per_image"]
    frames = []
    for name, label in COSTS.items():
        table = scores.assign(cost=label, value=costs[name].reindex(scores.index))
        table = table[table["value"] > 0].dropna(subset="score")
        table["front"] = pareto_front(table["value"].to_numpy(), table["score"].to_numpy())
        table["anchor"] = _anchors(table)
        frames.append(table.rename_axis("model").reset_index())
    table = pd.concat(frames, ignore_index=True)
    table["family"] = [results.models[model]["family"] for model in table["model"]]
    return table


def _anchors(table: pd.DataFrame) -> list[str]:
    """Place each label where it covers no dot and no earlier label; models on the front come first."""
    if table.empty:
        return []
    x = _scaled(np.log(table["value"].to_numpy(float)), WIDTH).tolist()
    y = (HEIGHT - _scaled(table["score"].to_numpy(float), HEIGHT)).tolist()
    taken: list[Box] = [(a - 6, b - 6, a + 6, b + 6) for a, b in zip(x, y, strict=True)]
    anchors = [""] * len(table)
    for i in np.argsort(~table["front"].to_numpy(), kind="stable"):
        width = LETTER * len(str(table.index[i]))
        for anchor, (align, dx, dy) in ANCHORS.items():
            left = x[i] + dx - (width if align == "right" else 0)
            box = (left, y[i] + dy - LINE / 2, left + width, y[i] + dy + LINE / 2)
            if box[0] >= 0 and box[2] <= WIDTH and not any(_overlap(box, other) for other in taken):
                anchors[i] = anchor
                taken.append(box)
                break
    return anchors


def _scaled(values: np.ndarray, length: int) -> np.ndarray:
    """Pixels along an axis, with room at both ends."""
    low, high = values.min(), values.max()
    return length * (0.08 + 0.84 * (values - low) / ((high - low) or 1))


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
