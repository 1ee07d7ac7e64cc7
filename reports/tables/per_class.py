"""Scores of every model on each class, one class against the rest."""

import numpy as np
import pandas as pd

from reports.scores.evaluation import Decided, Evaluation
from reports.scores.metrics import (
    class_average_precision,
    class_f1,
    class_precision,
    class_recall,
    class_roc_auc,
    mean_of_defined,
)
from reports.tables.balance import class_sizes


def per_class(evaluation: Evaluation) -> pd.DataFrame:
    """Score every class for every model with finished cells.

    Returns
    -------
    DataFrame
        model, class, n_images, n_groups (in the data set), n_folds_with_test (cells of the plan whose test part has the
        class); precision, recall, f1 on the pooled test predictions of a repeat, mean over repeats; roc_auc and
        average_precision, means over the cells where defined, with that number as _cells; true_positives,
        false_positives, false_negatives, true_negatives over all finished cells.
    """
    results = evaluation.results
    sizes = class_sizes(results)
    frames = []
    for model in evaluation.finished:
        parts, pooled = evaluation.parts(model), evaluation.pooled(model)
        roc_auc = np.array([class_roc_auc(part.truth, part.probability) for part in parts])  # (n_cells, n_classes)
        precision = np.array([class_average_precision(part.truth, part.probability) for part in parts])
        frame = sizes.assign(
            precision=_mean_over([class_precision(part.truth, part.decided) for part in pooled]),
            recall=_mean_over([class_recall(part.truth, part.decided) for part in pooled]),
            f1=_mean_over([class_f1(part.truth, part.decided) for part in pooled]),
            roc_auc=_mean_over(roc_auc),
            roc_auc_cells=np.isfinite(roc_auc).sum(axis=0),
            average_precision=_mean_over(precision),
            average_precision_cells=np.isfinite(precision).sum(axis=0),
            **_counts(parts),
        )
        frame.insert(0, "model", model)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else sizes.iloc[:0].assign(model=[])


def _mean_over(values) -> np.ndarray:
    """Mean over the first axis of the values that are defined, shape (n_classes,)."""
    return np.array([mean_of_defined(column) for column in np.transpose(values)])


def _counts(parts: list[Decided]) -> dict[str, np.ndarray]:
    truth, decided = (np.concatenate([getattr(part, name) for part in parts]) for name in ("truth", "decided"))
    return {
        "true_positives": (truth & decided).sum(axis=0),
        "false_positives": (~truth & decided).sum(axis=0),
        "false_negatives": (truth & ~decided).sum(axis=0),
        "true_negatives": (~truth & ~decided).sum(axis=0),
    }
