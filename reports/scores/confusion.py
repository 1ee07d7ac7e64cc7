"""Confusions: counts of true against predicted class; with several labels per image, of missed against wrongly predicted ones."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.runs.results import Results
from reports.scores.decision import BoolArray
from reports.scores.evaluation import Decided, Evaluation, join

NOTHING = "(nothing)"


def has_several_labels(results: Results) -> bool:
    """Whether the errors alone are counted."""
    return results.data["task"] == "multilabel"


def axis_names(results: Results) -> list[str]:
    """Names of the rows and columns of `counts`."""
    return [*results.classes, NOTHING] if has_several_labels(results) else results.classes


def counts(part: Decided, results: Results) -> NDArray[np.int64]:
    """Count confusions of a test part: `error_counts` with several labels per image, else `confusion_counts`."""
    return error_counts(part) if has_several_labels(results) else confusion_counts(part)


def confusion_counts(part: Decided) -> NDArray[np.int64]:
    """Count images by true (row) and predicted (column) class, shape (n_classes, n_classes)."""
    return part.truth.T.astype(int) @ part.decided.astype(int)


def error_counts(part: Decided) -> NDArray[np.int64]:
    """Count pairs of a missed label (row) and a wrongly predicted one (column) of the same image.

    Returns
    -------
    ndarray of shape (n_classes + 1, n_classes + 1), int
        The last column counts missed labels of images with nothing wrongly predicted, the last row the reverse.
    """
    missed, wrong = _missed_and_wrong(part)
    counts = missed.T.astype(int) @ wrong.astype(int)
    counts[-1, -1] = 0  # images without any error
    return counts


def images_behind(evaluation: Evaluation, model: str) -> list[tuple[str, str, list[str]]]:
    """List the images behind every filled cell of a model's matrix, errors first, then the cells with most images.

    Returns
    -------
    list of (true class, predicted class, image_ids)
        For several labels the classes are the missed one and the wrongly predicted one, as in `error_counts`.
    """
    several, names = has_several_labels(evaluation.results), axis_names(evaluation.results)
    part = join(evaluation.parts(model))
    rows, columns = _missed_and_wrong(part) if several else (part.truth, part.decided)
    true, predicted = (pd.DataFrame(np.argwhere(side), columns=["image", "class"]) for side in (rows, columns))
    pairs = true.merge(predicted, on="image", suffixes=("_true", "_predicted"))
    found: dict[tuple[int, int], dict[str, None]] = {}  # the images as an ordered set
    for image, i, j in pairs.sort_values(["class_true", "class_predicted"], kind="stable").to_numpy().tolist():
        found.setdefault((i, j), {})[str(part.image_id[image])] = None
    if several:
        found.pop((len(names) - 1, len(names) - 1), None)  # images without any error
    cells = [(names[i], names[j], list(images)) for (i, j), images in found.items()]
    return sorted(cells, key=lambda cell: (cell[0] == cell[1], -len(cell[2])))


def _missed_and_wrong(part: Decided) -> tuple[BoolArray, BoolArray]:
    """Missed and wrongly predicted labels with a last column for none, (n, n_classes + 1) each."""
    missed, wrong = part.truth & ~part.decided, part.decided & ~part.truth
    return np.column_stack([missed, ~missed.any(axis=1)]), np.column_stack([wrong, ~wrong.any(axis=1)])
