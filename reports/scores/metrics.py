"""Metrics of one set of predictions, in NumPy alone.

Truth and decisions are indicator matrices of shape (n, n_classes) for both tasks; with one label per image each row has
a single one. What cannot be computed is NaN. Every function agrees with scikit-learn to 1e-9.
"""

import numpy as np
from numpy.typing import ArrayLike

from reports.scores.decision import BoolArray, decide

METRICS = (
    "accuracy",
    "f1_samples",
    "f1_macro",
    "f1_micro",
    "balanced_accuracy",
    "roc_auc_macro",
    "average_precision_macro",
    "log_loss",
    "mcc",
    "cohen_kappa",
    "hamming_loss",
    "roc_auc_micro",
    "average_precision_micro",
    "brier",
    "calibration_error",
)
RESTS_ON_CLASSES = ("f1_macro", "balanced_accuracy", "roc_auc_macro", "average_precision_macro", "mcc", "cohen_kappa")
LOWER_IS_BETTER = frozenset({"log_loss", "hamming_loss", "brier", "calibration_error"})
BINS = 15  # of the calibration error, as Guo et al. (2017) have it


def score(truth: ArrayLike, decided: ArrayLike, probability: ArrayLike, task: str) -> dict[str, float]:
    """Compute every metric of `METRICS`.

    Parameters
    ----------
    truth, decided, probability : array-like of shape (n, n_classes)
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
        "mcc": class_mcc(truth, decided),
        "cohen_kappa": class_kappa(truth, decided),
    }
    values = {
        "accuracy": accuracy(truth, decided),
        "f1_samples": f1_samples(truth, decided),
        "f1_micro": f1_micro(truth, decided),
        "log_loss": log_loss(truth, probability, task),
        "hamming_loss": 1 - accuracy(truth, decided) if task == "multiclass" else _mean(truth != decided),
        "roc_auc_micro": mean_of_defined(class_roc_auc(truth.reshape(-1, 1), np.reshape(probability, (-1, 1)))),
        "average_precision_micro": mean_of_defined(
            class_average_precision(truth.reshape(-1, 1), np.reshape(probability, (-1, 1)))
        ),
        "brier": brier(truth, probability, task),
        "calibration_error": calibration_error(truth, probability, task),
    }
    values |= {name: mean_of_defined(each) for name, each in per_class.items()}
    if task == "multiclass":
        values |= {"mcc": multiclass_mcc(truth, decided), "cohen_kappa": multiclass_kappa(truth, decided)}
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
    sets: BoolArray | None = None,
) -> dict[str, float]:
    """Decide (see `decide`) and score one cell, quickly: accuracy, f1_samples and f1_macro. All arrays (n, n_classes)."""
    truth = np.asarray(truth, dtype=bool)
    decided = decide(probability, valid_truth, valid_probability, task, at_least_one, sets)
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
    return _mean(f1_of_images(truth, decided))


def f1_of_images(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """F1 of the labels of each image, shape (n,); 1 for an image without labels that gets none."""
    hits, size = (truth & decided).sum(axis=1), truth.sum(axis=1) + decided.sum(axis=1)
    return np.where(size > 0, 2 * hits / np.maximum(size, 1), 1.0)


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


def class_mcc(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Matthews correlation per class, shape (n_classes,); NaN for a class that all or no images have, 0 where the decision is constant."""
    truth, decided = truth.astype(float), decided.astype(float)
    covariance = (truth * decided).mean(axis=0) - truth.mean(axis=0) * decided.mean(axis=0)
    spread = truth.std(axis=0) * decided.std(axis=0)
    return np.where(
        truth.std(axis=0) > 0, np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0), np.nan
    )


def class_kappa(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Cohen's kappa per class, shape (n_classes,); NaN for a class that all or no images have."""
    p, q = truth.mean(axis=0), decided.mean(axis=0)
    chance = p * q + (1 - p) * (1 - q)
    kappa = _ratio((truth == decided).mean(axis=0) - chance, 1 - chance)
    return np.where((p > 0) & (p < 1), kappa, np.nan)


def multiclass_mcc(truth: np.ndarray, decided: np.ndarray) -> float:
    """Matthews correlation of K classes (Gorodkin 2004); NaN if all images are of one class, 0 if all are decided to be."""
    n, right = len(truth), float((truth & decided).sum())
    true, named = truth.sum(axis=0).astype(float), decided.sum(axis=0).astype(float)
    room_true, room_named = n**2 - true @ true, n**2 - named @ named
    if not room_true:
        return float("nan")
    return float((right * n - true @ named) / np.sqrt(room_true * room_named)) if room_named else 0.0


def multiclass_kappa(truth: np.ndarray, decided: np.ndarray) -> float:
    """Cohen's kappa of K classes; NaN if all images are of one class."""
    n = max(len(truth), 1)
    true, named = truth.sum(axis=0) / n, decided.sum(axis=0) / n
    chance = float(true @ named)
    return (
        float("nan") if true.max(initial=0) == 1 or chance == 1 else (accuracy(truth, decided) - chance) / (1 - chance)
    )


def brier(truth: ArrayLike, probability: ArrayLike, task: str) -> float:
    """Brier score: per image summed over the classes for one label (Brier 1950), mean over all entries for several."""
    squares = (np.asarray(probability, dtype=float) - np.asarray(truth, dtype=float)) ** 2
    return _mean(squares.sum(axis=1)) if task == "multiclass" else _mean(squares)


def calibration_error(truth: ArrayLike, probability: ArrayLike, task: str) -> float:
    """Compute the expected calibration error in `BINS` equal bins (Guo et al. 2017), of the probabilities of `confidences`."""
    predicted, positive = confidences(truth, probability, task)
    if not len(predicted):
        return float("nan")
    number = bin_numbers(predicted)
    gaps = np.bincount(number, positive, BINS) - np.bincount(number, predicted, BINS)
    return float(np.abs(gaps).sum() / len(predicted))


def confidences(truth: ArrayLike, probability: ArrayLike, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted probabilities that calibration rests on, and whether each was a positive (1 or 0), (m,) both.

    With one label per image these are the most probable class of each image, with several every entry.
    """
    truth, probability = np.asarray(truth, dtype=float), np.asarray(probability, dtype=float)
    if task != "multiclass":
        return probability.ravel(), truth.ravel()
    top = probability.argmax(axis=1)
    return probability.max(axis=1), truth[np.arange(len(truth)), top]


def bin_numbers(probability: np.ndarray) -> np.ndarray:
    """Assign each probability to its bin (0 to `BINS` - 1); bins are closed above."""
    return np.clip(np.ceil(probability * BINS).astype(int) - 1, 0, BINS - 1)


def log_loss(truth: ArrayLike, probability: ArrayLike, task: str) -> float:
    """Cross-entropy per image for one label, mean binary one over all entries for several; clipped at 1e-15."""
    return _mean(losses_of_images(truth, probability, task))


def losses_of_images(truth: ArrayLike, probability: ArrayLike, task: str) -> np.ndarray:
    """Log loss of each image, shape (n,): see `log_loss`."""
    truth, probability = np.asarray(truth, dtype=bool), np.clip(np.asarray(probability, dtype=float), 1e-15, 1 - 1e-15)
    if task == "multiclass":
        return -np.log((probability * truth).sum(axis=1))
    return -np.log(np.where(truth, probability, 1 - probability)).mean(axis=1)


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
