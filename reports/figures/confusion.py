"""The confusion matrix; with several labels per image, of the errors alone."""

import altair as alt
import numpy as np
import pandas as pd

from reports.figures.theme import chooser, heat_map, inline
from reports.scores.confusion import axis_names, counts, has_several_labels
from reports.scores.evaluation import Evaluation, join
from reports.scores.ranking import ranked


def confusion(evaluation: Evaluation) -> alt.LayerChart:
    """Draw counts of true against predicted class over all test parts; for several labels, over the errors alone."""
    results = evaluation.results
    several, names = has_several_labels(results), axis_names(results)
    frames = [
        _long(counts(join(evaluation.parts(model)), results), names).assign(model=model) for model in ranked(evaluation)
    ]
    table = pd.concat(frames, ignore_index=True)
    x = alt.X(
        "predicted:N",
        scale=alt.Scale(domain=names),
        title="wrongly predicted" if several else "predicted",
        axis=alt.Axis(labelAngle=-50, orient="top", ticks=False),
    )
    y = alt.Y(
        "true:N", scale=alt.Scale(domain=names), title="missed" if several else "true", axis=alt.Axis(ticks=False)
    )
    tooltip = ["true:N", "predicted:N", "n:Q", alt.Tooltip("share:Q", title="share of row", format=".1%")]
    chart = heat_map(inline(table), x, y, "share", "n", tooltip, len(names))
    return chart.transform_filter("datum.model === model").add_params(chooser("model", "Model", ranked(evaluation)))


def _long(matrix: np.ndarray, names: list[str]) -> pd.DataFrame:
    rows, columns = np.nonzero(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return pd.DataFrame(
        {
            "true": np.array(names, dtype=object)[rows],
            "predicted": np.array(names, dtype=object)[columns],
            "n": matrix[rows, columns],
            "share": shares[rows, columns],
        }
    )
