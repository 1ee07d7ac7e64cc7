"""Metrics of one set of predictions, in NumPy alone.

Truth and decisions are indicator matrices of shape (n, n_classes) for both tasks; with one label per image each row has
a single one. What cannot be computed is NaN. Every function agrees with scikit-learn to 1e-9.
"""

import numpy as np
from numpy.typing import ArrayLike

from reports.decision import decide

METRICS = (
    "accuracy",
    "f1_samples",
    "f1_macro",
    "f1_micro",
    "balanced_accuracy",
    "roc_auc_macro",
    "average_precision_macro",
    "log_loss",
)
RESTS_ON_CLASSES = ("f1_macro", "balanced_accuracy", "roc_auc_macro", "average_precision_macro")


def score(truth: ArrayLike, decided: ArrayLike, probability: ArrayLike, task: str) -> dict[str, float]:
    """Compute every metric of `METRICS`.

    Parameters
    ----------
    truth, decided, probability : array, shape (n, n_classes)
    task : {"multiclass", "multilabel"}

    Returns
    -------
    dict
        A value per metric, and for each of `RESTS_ON_CLASSES` the number of classes it is a mean of, as METRIC_classes.
    """
    truth, decided = np.asarray(truth, dtype=bool), np.asarray(decided, dtype=bool)
    per_class = {
        "f1_macro": class_f1(truth, decided),
        "balanced_accuracy": class_recall(truth, decided) if task == "multiclass" else _class_balance(truth, decided),
        "roc_auc_macro": class_roc_auc(truth, probability),
        "average_precision_macro": class_average_precision(truth, probability),
    }
    values = {
        "accuracy": accuracy(truth, decided),
        "f1_samples": f1_samples(truth, decided),
        "f1_micro": f1_micro(truth, decided),
        "log_loss": log_loss(truth, probability, task),
    }
    values |= {name: mean_of_defined(each) for name, each in per_class.items()}
    return {name: values[name] for name in METRICS} | {
        f"{name}_classes": int(np.isfinite(each).sum()) for name, each in per_class.items()
    }


def fold_score(
    truth: ArrayLike,
    probability: ArrayLike,
    valid_truth: ArrayLike,
    valid_probability: ArrayLike,
    task: str,
    at_least_one: bool,
) -> dict[str, float]:
    """Decide and score one cell, quickly: accuracy, f1_samples and f1_macro. All arrays (n, n_classes)."""
    truth = np.asarray(truth, dtype=bool)
    decided = decide(probability, valid_truth, valid_probability, task, at_least_one)
    return {
        "accuracy": accuracy(truth, decided),
        "f1_samples": f1_samples(truth, decided),
        "f1_macro": mean_of_defined(class_f1(truth, decided)),
    }


def mean_of_defined(values: ArrayLike) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    values = np.asarray(values, dtype=float)
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def accuracy(truth: np.ndarray, decided: np.ndarray) -> float:
    """Share of images whose labels are all right (exact match)."""
    return _mean((truth == decided).all(axis=1))


def f1_samples(truth: np.ndarray, decided: np.ndarray) -> float:
    """Mean over images of each image's F1; an image without labels that gets none counts 1."""
    hits, size = (truth & decided).sum(axis=1), truth.sum(axis=1) + decided.sum(axis=1)
    return _mean(np.where(size > 0, 2 * hits / np.maximum(size, 1), 1.0))


def f1_micro(truth: np.ndarray, decided: np.ndarray) -> float:
    """F1 of all entries taken together; NaN if no label is true or decided."""
    return float(_ratio(2 * (truth & decided).sum(), truth.sum() + decided.sum()))


def class_f1(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """F1 per class, shape (n_classes,); NaN for a class in neither truth nor decision."""
    return _ratio(2 * (truth & decided).sum(axis=0), truth.sum(axis=0) + decided.sum(axis=0))


def class_precision(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Precision per class, shape (n_classes,); NaN for a class that is never decided."""
    return _ratio((truth & decided).sum(axis=0), decided.sum(axis=0))


def class_recall(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Recall (sensitivity) per class, shape (n_classes,); NaN for a class that does not occur."""
    return _ratio((truth & decided).sum(axis=0), truth.sum(axis=0))


def class_roc_auc(truth: ArrayLike, probability: ArrayLike) -> np.ndarray:
    """Area under the ROC curve, one class against the rest, shape (n_classes,); NaN without positive or negative."""
    return _per_class(truth, probability, _roc_auc)


def class_average_precision(truth: ArrayLike, probability: ArrayLike) -> np.ndarray:
    """Average precision, one class against the rest, shape (n_classes,); NaN without positive or negative."""
    return _per_class(truth, probability, _average_precision)


def log_loss(truth: ArrayLike, probability: ArrayLike, task: str) -> float:
    """Cross-entropy per image for one label, mean binary one over all entries for several; clipped at 1e-15."""
    truth, probability = np.asarray(truth, dtype=bool), np.clip(np.asarray(probability, dtype=float), 1e-15, 1 - 1e-15)
    if task == "multiclass":
        return _mean(-np.log(probability[truth]))
    return _mean(-np.log(np.where(truth, probability, 1 - probability)))


def operating_points(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count false and true positives at each distinct score, from the highest down. Both of shape (n_distinct,)."""
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true_positives = np.cumsum(truth[order])[last_of_equals]
    return last_of_equals + 1 - true_positives, true_positives


def _per_class(truth: ArrayLike, probability: ArrayLike, area) -> np.ndarray:
    truth, probability = np.asarray(truth, dtype=bool), np.asarray(probability, dtype=float)
    areas = np.full(truth.shape[1], np.nan)
    for k in np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)):
        areas[k] = area(*operating_points(truth[:, k], probability[:, k]))
    return areas


def _roc_auc(false_positives: np.ndarray, true_positives: np.ndarray) -> float:
    x, y = np.append(0, false_positives) / false_positives[-1], np.append(0, true_positives) / true_positives[-1]
    return float(np.trapezoid(y, x))


def _average_precision(false_positives: np.ndarray, true_positives: np.ndarray) -> float:
    precision = true_positives / (true_positives + false_positives)
    return float((np.diff(true_positives, prepend=0) * precision).sum() / true_positives[-1])


def _class_balance(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """(Sensitivity + specificity) / 2 per class; NaN for a class without a positive or without a negative."""
    return (class_recall(truth, decided) + class_recall(~truth, ~decided)) / 2


def _ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
