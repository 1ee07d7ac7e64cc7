"""Bootstrap over groups (patients) of the metrics of pooled test predictions.

Models are not retrained, and each cell keeps its decision rule. Every model is scored on the same draws, so that
the difference of two models in one draw is a paired one.
"""

from collections.abc import Mapping

import numpy as np

from reports.comparison.significance import resample_groups
from reports.scores.decision import FloatArray
from reports.scores.evaluation import Decided, Evaluation, sort_by_image
from reports.scores.metrics import f1_of_images, losses_of_images

N_RESAMPLES = 1000

Draws = Mapping[str, Mapping[str, FloatArray]]  # model -> metric -> (n_resamples,)


def bootstrap(evaluation: Evaluation, n_resamples: int = N_RESAMPLES) -> Draws:
    """Score every finished model on the same draws of groups; with several repeats the mean over them.

    A model with missing folds is left out: it was not tested on every image.
    """
    results = evaluation.results
    groups, seed, task = results.groups, int(results.run["seed"]), results.data["task"]
    weights = None
    out = {}
    for model in evaluation.complete:
        scores = []
        for part in evaluation.pooled(model):
            rows = sort_by_image(part)
            if weights is None:
                weights = resample_groups(groups.reindex(rows.image_id).to_numpy(str), n_resamples, seed)
            scores.append(weighted_scores(rows, weights, task))
        out[model] = {metric: np.mean([each[metric] for each in scores], axis=0) for metric in scores[0]}
    return out


def weighted_scores(part: Decided, weights: np.ndarray, task: str) -> dict[str, FloatArray]:
    """Score a test part in which image i counts ``weights[b, i]`` times, for every b at once.

    Parameters
    ----------
    weights : ndarray of shape (n_resamples, n)

    Returns
    -------
    dict
        (n_resamples,) of each metric, equal to `reports.scores.metrics.score` on the repeated rows.
    """
    truth, decided = part.truth, part.decided
    weights = np.asarray(weights, dtype=np.float64)
    size = weights.sum(axis=1)
    hits, named, true = (weights @ each.astype(float) for each in (truth & decided, decided, truth))  # (b, n_classes)
    absent, rejected = size[:, None] - true, size[:, None] - named - true + hits
    recall, specificity = _ratio(hits, true), _ratio(rejected, absent)
    balance = recall if task == "multiclass" else (recall + specificity) / 2
    counts = np.ascontiguousarray(weights.T, np.float32)  # (n, b)
    areas = np.array([_areas(truth[:, k], part.probability[:, k], counts) for k in range(truth.shape[1])])
    return {
        "accuracy": weights @ (truth == decided).all(axis=1) / size,
        "f1_samples": weights @ f1_of_images(truth, decided) / size,
        "f1_macro": _mean_of_defined(_ratio(2 * hits, named + true)),
        "f1_micro": _ratio(2 * hits.sum(axis=1), (named + true).sum(axis=1)),
        "balanced_accuracy": _mean_of_defined(balance),
        "roc_auc_macro": _mean_of_defined(areas[:, 0].T),
        "average_precision_macro": _mean_of_defined(areas[:, 1].T),
        "log_loss": weights @ losses_of_images(truth, part.probability, task) / size,
    }


def _areas(truth: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """ROC AUC and average precision of one class, (n_resamples,) each, from counts (n, n_resamples); NaN without a positive or negative.

    Counts above and level with each positive suffice, so only the rows of positives are computed.
    """
    order = np.argsort(-scores, kind="stable")
    positive = np.flatnonzero(truth[order])
    if not len(positive) or len(positive) == len(truth):
        return np.full(counts.shape[1], np.nan), np.full(counts.shape[1], np.nan)
    level = np.cumsum(np.append(0, np.diff(scores[order]) != 0))  # number of the distinct score of each place
    starts, ends = np.searchsorted(level, level[positive]), np.searchsorted(level, level[positive], side="right")
    mass = _up_to(counts[order])
    own = _up_to(counts[order[positive]])
    first, last = np.searchsorted(positive, starts), np.searchsorted(positive, ends)  # positives above, and not below
    negatives_above, negatives_level = mass[starts] - own[first], mass[ends] - own[last]
    n_positive = own[-1].astype(float)
    n_negative = mass[-1] - n_positive
    weight = counts[order[positive]]
    below = np.einsum("ib,ib->b", weight, n_negative - (negatives_above + negatives_level) / 2)
    precise = np.einsum("ib,ib->b", weight, own[last] / np.maximum(mass[ends], 1), dtype=float)
    both = (n_positive > 0) & (n_negative > 0)
    return (
        np.where(both, _ratio(below, n_positive * n_negative), np.nan),
        np.where(both, _ratio(precise, n_positive), np.nan),
    )


def _up_to(counts: np.ndarray) -> np.ndarray:
    """Sum the first 0, 1, ..., n rows, (n + 1, n_resamples) float32: exact, for they are small whole numbers."""
    sums = np.zeros((len(counts) + 1, counts.shape[1]), np.float32)
    np.cumsum(counts, axis=0, out=sums[1:])
    return sums


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _mean_of_defined(values: FloatArray) -> FloatArray:
    """Mean over the classes that are defined, (n_resamples, n_classes) -> (n_resamples,)."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(float))
