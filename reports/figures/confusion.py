"""What is taken for what: the confusion matrix, and for several labels what was said instead of a missed one."""

import altair as alt
import numpy as np
import pandas as pd

from reports.figures.comparison import ranked
from reports.figures.theme import chooser, heat_map, inline
from reports.scores.evaluation import Decided, Evaluation, join

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
    missed, wrong = _sides(part)
    counts = missed.T.astype(int) @ wrong.astype(int)
    counts[-1, -1] = 0  # images without any error
    return counts


def confused(evaluation: Evaluation, model: str) -> list[tuple[str, str, list[str]]]:
    """List the images behind every filled cell of a model's matrix, errors first, then the cells with most images.

    Returns
    -------
    list of (true class, predicted class, image_ids)
        For several labels the classes are the missed one and the one wrongly given, as in `error_counts`.
    """
    results = evaluation.results
    several = results.data["task"] == "multilabel"
    names = [*results.classes, NOTHING] if several else results.classes
    part = join(evaluation.parts(model))
    true, said = _sides(part) if several else (part.truth, part.decided)
    pairs = pd.merge(
        *(pd.DataFrame(np.argwhere(side), columns=["row", k]) for k, side in enumerate((true, said))), on="row"
    )
    pairs["image_id"] = part.image_id[pairs["row"]]
    found = {pair: list(dict.fromkeys(ids)) for pair, ids in pairs.groupby([0, 1])["image_id"]}
    if several:
        found.pop((len(names) - 1, len(names) - 1), None)  # images without any error
    cells = [(names[i], names[j], ids) for (i, j), ids in found.items()]
    return sorted(cells, key=lambda cell: (cell[0] == cell[1], -len(cell[2])))


def _sides(part: Decided) -> tuple[np.ndarray, np.ndarray]:
    """Missed and wrongly predicted labels with a last column for none, (n, n_classes + 1) each."""
    missed, wrong = part.truth & ~part.decided, part.decided & ~part.truth
    return np.column_stack([missed, ~missed.any(axis=1)]), np.column_stack([wrong, ~wrong.any(axis=1)])


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
