"""Training curves of the models with epochs."""

import altair as alt
import pandas as pd

from reports.figures.theme import chooser, family_color, inline, layered
from reports.runs.results import Results
from reports.runs.rows import rows_of

MEASURES = {"valid_loss": "Validation loss", "train_loss": "Training loss", "valid_score": "Validation score"}


def learning_curves(results: Results) -> alt.LayerChart | None:
    """Draw losses (and a score, where a head gives one) over the epochs: a thin line per fold, a thick one for the chosen model's folds.

    Returns
    -------
    LayerChart or None
        None where no model has epochs.
    """
    table = _history(results)
    if table.empty:
        return None
    measure = chooser("measure", "Show", [title for title in MEASURES.values() if title in set(table["measure"])])
    model = chooser("model", "Model", _deep_first(table))
    base = (
        alt.Chart(inline(table))
        .transform_filter("datum.measure === measure")
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, tickCount=8, format="d")),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=family_color(),
            detail=["model:N", "cell:N"],
            tooltip=["model:N", "cell:N"],
        )
    )
    others = base.mark_line(strokeWidth=1, opacity=0.35)
    chosen = base.transform_filter("datum.model === model").mark_line(strokeWidth=2.5, point=True)
    return layered(
        others,
        chosen,
        height=320,
        params=(
            measure,
            model,
        ),
    )


def _deep_first(table: pd.DataFrame) -> list[str]:
    """Models with epochs; networks before boosted trees, otherwise in their order."""
    models = table[["model", "family"]].drop_duplicates("model")
    return models.sort_values("family", key=lambda family: family != "deep", kind="stable")["model"].tolist()


def _history(results: Results) -> pd.DataFrame:
    rows = [
        {
            "model": cell["model"],
            "family": cell["family"],
            "cell": f"repeat {cell['repeat']}, fold {cell['fold']}",
            "epoch": epoch["epoch"],
            "measure": title,
            "value": epoch.get(name),
        }
        for cell in rows_of(results.cells)
        if len(cell["history"]) > 1
        for epoch in cell["history"]
        for name, title in MEASURES.items()
    ]
    return pd.DataFrame(rows, columns=["model", "family", "cell", "epoch", "measure", "value"]).dropna(subset="value")
