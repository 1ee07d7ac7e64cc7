"""Distribution of the classes over the folds."""

import altair as alt

from reports.figures.theme import chooser, heat_map, inline
from reports.runs.results import Results
from reports.tables.balance import class_sizes, fold_balance


def balance(results: Results) -> alt.LayerChart:
    """Draw images and groups of every class in the chosen part of every fold."""
    table = fold_balance(results)
    table["place"] = [
        f"repeat {repeat}, fold {fold}" for repeat, fold in zip(table["repeat"], table["fold"], strict=True)
    ]
    if results.run["splits"]["repeats"] == 1:
        table["place"] = [f"fold {fold}" for fold in table["fold"]]
    table["share"] = table["n_images"] / table.groupby(["part", "class"])["n_images"].transform("max").clip(lower=1)
    table["text"] = [f"{n} · {groups}" for n, groups in zip(table["n_images"], table["n_groups"], strict=True)]
    order = class_sizes(results).sort_values("n_images", ascending=False)["class"].tolist()
    x = alt.X("place:N", title=None, axis=alt.Axis(labelAngle=0, orient="top", ticks=False))
    y = alt.Y("class:N", sort=order, title=None, axis=alt.Axis(ticks=False))
    tooltip = ["class:N", "place:N", "part:N", "n_images:Q", "n_groups:Q"]
    chart = heat_map(inline(table.drop(columns=["repeat", "fold"])), x, y, "share", "text", tooltip, len(order))
    part = chooser("part", "Part", ["test", "valid", "train"])
    return chart.transform_filter("datum.part === part").add_params(part)
