"""What is taken for what: the confusion matrix, and for several labels what was said instead of a missed one."""

import altair as alt
import numpy as np
import pandas as pd

from reports.evaluation import Decided, Evaluation, join
from reports.figures.comparison import ranked
from reports.figures.theme import chooser, heat_map, inline

NOTHING = "(nothing)"


def confusion(evaluation: Evaluation) -> alt.LayerChart:
    """Draw counts of true against predicted class over all test parts; for several labels, over the errors alone."""
    results = evaluation.results
    several = results.data["task"] == "multilabel"
    names = [*results.classes, NOTHING] if several else results.classes
    frames = []
    for model in ranked(evaluation):
        part = join(evaluation.parts(model))
        counts = error_counts(part) if several else confusion_counts(part)
        frames.append(_long(counts, names).assign(model=model))
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


def confusion_counts(part: Decided) -> np.ndarray:
    """Count images by true (row) and predicted (column) class, shape (n_classes, n_classes)."""
    return part.truth.T.astype(int) @ part.decided.astype(int)


def error_counts(part: Decided) -> np.ndarray:
    """Count pairs of a missed label (row) and a wrongly predicted one (column) of the same image.

    Returns
    -------
    array of int, shape (n_classes + 1, n_classes + 1)
        The last column counts missed labels of images with nothing wrongly predicted, the last row the reverse.
    """
    missed, wrong = part.truth & ~part.decided, part.decided & ~part.truth
    missed = np.column_stack([missed, ~missed.any(axis=1)])  # (n, n_classes + 1)
    wrong = np.column_stack([wrong, ~wrong.any(axis=1)])
    counts = missed.T.astype(int) @ wrong.astype(int)
    counts[-1, -1] = 0  # images without any error
    return counts


def _long(counts: np.ndarray, names: list[str]) -> pd.DataFrame:
    rows, columns = np.nonzero(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return pd.DataFrame(
        {
            "true": np.array(names, dtype=object)[rows],
            "predicted": np.array(names, dtype=object)[columns],
            "n": counts[rows, columns],
            "share": shares[rows, columns],
        }
    )
