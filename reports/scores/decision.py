"""The decision rule, from probabilities to labels, the same for every model; and the thresholds that it may use.

With one label per image the most probable class is decided. With several labels there are two kinds of rule. By a threshold every class is
decided whose probability reaches it; of these rules the one used for results has a single threshold for all classes, the one with the highest
mean F1 per image on the validation part. By label sets one of the sets that occur outside of the test part is decided, the one with the highest
expected F1 per image; nothing is learned for it but which sets there are.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_CLIP = 1e-6  # probabilities are kept this far from 0 and 1: no class alone can rule a label set out
_ROWS = 4096  # images that are decided at a time
_DIGITS = 9  # to which expected scores are compared: sums in another order decide the same


def decide(
    probability: ArrayLike,
    valid_truth: ArrayLike,
    valid_probability: ArrayLike,
    task: str,
    at_least_one: bool,
    sets: BoolArray | None = None,
) -> BoolArray:
    """Decide the labels of a test part by label sets, or else with a threshold learned from the validation part of the same cell.

    Parameters
    ----------
    probability : array-like of shape (n, n_classes)
        Probabilities of the test part.
    valid_truth, valid_probability : array-like of shape (n_valid, n_classes)
        Truth (0 or 1) and probabilities of the validation part; used only where `task` is "multilabel".
    task : {"multiclass", "multilabel"}
    at_least_one : bool
        Whether every image is known to have a label.
    sets : ndarray of shape (n_sets, n_classes), bool, optional
        Label sets to decide among, where this is the rule.

    Returns
    -------
    ndarray of shape (n, n_classes), bool
    """
    threshold = None if sets is not None else learn_threshold(valid_truth, valid_probability, task, at_least_one)
    return apply_rule(probability, threshold, at_least_one, sets)


def apply_rule(
    probability: ArrayLike, threshold: float | None, at_least_one: bool, sets: BoolArray | None = None
) -> BoolArray:
    """Decide labels among label sets where there are any, else with a threshold that was learned before.

    Parameters
    ----------
    probability : array-like of shape (n, n_classes)
    threshold : float or None
        As `learn_threshold` returns it.
    at_least_one : bool
        Whether every image is known to have a label.
    sets : ndarray of shape (n_sets, n_classes), bool, optional
        As `seen_label_sets` returns them.

    Returns
    -------
    ndarray of shape (n, n_classes), bool
    """
    return apply_threshold(probability, threshold, at_least_one) if sets is None else best_label_set(probability, sets)


def learn_threshold(truth: ArrayLike, probability: ArrayLike, task: str, at_least_one: bool) -> float | None:
    """Learn from a validation part what `apply_threshold` needs.

    Parameters
    ----------
    truth, probability : array-like of shape (n, n_classes)
    task : {"multiclass", "multilabel"}
    at_least_one : bool
        Whether every image is known to have a label.

    Returns
    -------
    float or None
        `best_threshold`; None with one label per image, where no threshold is used.
    """
    return None if task == "multiclass" else best_threshold(truth, probability, at_least_one)


def apply_threshold(probability: ArrayLike, threshold: float | FloatArray | None, at_least_one: bool) -> BoolArray:
    """Decide labels with a threshold that was learned before.

    Parameters
    ----------
    probability : array-like of shape (n, n_classes)
    threshold : float, ndarray of shape (n_classes,) or None
        As `learn_threshold` returns it; None decides the most probable class.
    at_least_one : bool
        Whether every image is known to have a label.

    Returns
    -------
    ndarray of shape (n, n_classes), bool
    """
    return most_probable(probability) if threshold is None else at_threshold(probability, threshold, at_least_one)


def most_probable(probability: ArrayLike) -> BoolArray:
    """Mark the most probable class of each image; the first of equal ones. Shape (n, n_classes)."""
    probability = np.asarray(probability)
    return np.arange(probability.shape[1]) == probability.argmax(axis=1)[:, None]


def at_threshold(probability: ArrayLike, threshold: float | FloatArray, at_least_one: bool) -> BoolArray:
    """Mark every class at or above the threshold (one, or one per class); where one is due and none is, the most probable."""
    probability = np.asarray(probability)
    decided = probability >= threshold
    if at_least_one:
        decided |= most_probable(probability) & ~decided.any(axis=1, keepdims=True)
    return decided


def best_threshold(truth: ArrayLike, probability: ArrayLike, at_least_one: bool) -> float:
    """Find the threshold, common to all classes, with the highest mean F1 per image.

    Every midpoint between two neighbouring distinct probabilities is tried. Lowering the threshold past one entry
    changes the F1 of one image, so that one sort and one cumulative sum give the score of them all, exactly.

    Parameters
    ----------
    truth, probability : array-like of shape (n, n_classes)

    Returns
    -------
    float
        Among equally good thresholds the one nearest 0.5; 0.5 where there is nothing to choose from.
    """
    truth, probability = np.asarray(truth, dtype=bool), np.asarray(probability, dtype=float)
    order = np.argsort(-probability, axis=1, kind="stable")
    steps = _f1_by_number_of_labels(np.take_along_axis(truth, order, axis=1), at_least_one)  # (n, n_classes + 1)
    values = np.take_along_axis(probability, order, axis=1).ravel()
    descending = np.argsort(-values, kind="stable")
    values = values[descending]
    gains = np.diff(steps, axis=1).ravel()[descending]
    last_of_equals = np.flatnonzero(np.diff(values))
    if len(last_of_equals) == 0:
        return 0.5
    score = steps[:, 0].sum() + np.cumsum(gains)[last_of_equals]
    midpoints = (values[last_of_equals] + values[last_of_equals + 1]) / 2
    return _nearest_half(midpoints[score >= score.max() - 1e-9])


def seen_label_sets(truth: ArrayLike, at_least_one: bool) -> BoolArray:
    """List the label sets that occur, each once.

    Parameters
    ----------
    truth : array-like of shape (n, n_classes)
        Labels of the images outside of the test part, training and validation part together.
    at_least_one : bool
        Whether every image is known to have a label; the empty set is left out then.

    Returns
    -------
    ndarray of shape (n_sets, n_classes), bool
        In lexicographic order.
    """
    sets = np.unique(np.asarray(truth, dtype=bool), axis=0)
    return sets[sets.any(axis=1)] if at_least_one else sets


def best_label_set(probability: ArrayLike, sets: BoolArray) -> BoolArray:
    """Decide for each image the label set with the highest expected F1.

    The probability of a set is that of independent labels, renormalised over the given sets: P(S) is proportional to the product of
    p over its classes and of 1 - p over the others. The expectation of F1 is over these sets (decision by maximum expected F-measure, as
    in Dembczyński et al. 2011, "An exact algorithm for F-measure maximization", with the label sets that occur as the distribution's support).

    Parameters
    ----------
    probability : array-like of shape (n, n_classes)
    sets : ndarray of shape (n_sets, n_classes), bool
        As `seen_label_sets` returns them.

    Returns
    -------
    ndarray of shape (n, n_classes), bool
        Of equally good sets the first.

    Raises
    ------
    ValueError
        If there is no set.
    """
    if not len(sets):
        raise ValueError("no label set to decide for")
    probability = np.asarray(probability, dtype=float)
    f1 = _f1_between(sets)  # (n_sets, n_sets), symmetric
    best = [
        (_set_probability(probability[start : start + _ROWS], sets) @ f1).round(_DIGITS).argmax(axis=1)
        for start in range(0, len(probability), _ROWS)
    ]
    return sets[np.concatenate([np.zeros(0, dtype=int), *best])]


def label_set_numbers(sets: BoolArray) -> tuple[tuple[int, ...], ...]:
    """Numbers of the classes (from 0) in each label set, as they are written to JSON."""
    return tuple(tuple(int(k) for k in np.flatnonzero(each)) for each in sets)


def label_set_matrix(numbers: Sequence[Sequence[int]] | None, n_classes: int) -> BoolArray | None:
    """Return what `label_set_numbers` was made of, (n_sets, n_classes); None for None."""
    return None if numbers is None else np.array([np.isin(np.arange(n_classes), each) for each in numbers])


def _set_probability(probability: FloatArray, sets: BoolArray) -> FloatArray:
    """Probability of each label set for each image, (n, n_sets); rows sum to 1."""
    kept = np.clip(probability, _CLIP, 1 - _CLIP)
    logs = np.log(kept / (1 - kept)) @ sets.T.astype(
        float
    )  # up to a constant of the image, which renormalising removes
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _f1_between(sets: BoolArray) -> FloatArray:
    """F1 of each set where each is the truth, (n_sets, n_sets); 1 between two empty ones."""
    number = sets.astype(float)
    total = number.sum(axis=1)[:, None] + number.sum(axis=1)
    return np.where(total > 0, 2 * (number @ number.T) / np.maximum(total, 1), 1.0)


def class_thresholds(truth: ArrayLike, probability: ArrayLike) -> FloatArray:
    """Find for each class the threshold with the highest F1 on a validation part.

    Parameters
    ----------
    truth, probability : array-like of shape (n, n_classes)

    Returns
    -------
    ndarray of shape (n_classes,)
        Midpoints between neighbouring probabilities, of equally good ones the nearest to 0.5; NaN for a class without a positive.
    """
    truth, probability = np.asarray(truth, dtype=bool), np.asarray(probability, dtype=float)
    return np.array([_class_threshold(truth[:, k], probability[:, k]) for k in range(truth.shape[1])])


def _f1_by_number_of_labels(ranked_truth: BoolArray, at_least_one: bool) -> FloatArray:
    """F1 of each image when its 0, 1, ..., n_classes most probable classes are predicted. Shape (n, n_classes + 1)."""
    n, n_classes = ranked_truth.shape
    hits = np.hstack([np.zeros((n, 1), dtype=int), ranked_truth.cumsum(axis=1)])
    size = np.arange(n_classes + 1) + hits[:, -1:]  # labels predicted + labels true
    f1 = np.where(size > 0, 2 * hits / np.maximum(size, 1), 1.0)
    if at_least_one:
        f1[:, 0] = f1[:, 1]
    return f1


def _class_threshold(truth: BoolArray, probability: FloatArray) -> float:
    if not truth.any():
        return float("nan")
    order = np.argsort(-probability, kind="stable")
    values, hits = probability[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + truth.sum())
    last_of_equals = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    below = np.append(values[last_of_equals[:-1] + 1], 0.0)  # the next lower probability
    midpoints, f1 = (values[last_of_equals] + below) / 2, f1[last_of_equals]
    return _nearest_half(midpoints[f1 >= f1.max() - 1e-12])


def _nearest_half(thresholds: FloatArray) -> float:
    return float(thresholds[np.abs(thresholds - 0.5).argmin()])
