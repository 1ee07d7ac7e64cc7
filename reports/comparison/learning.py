"""Learning curves over the number of training patients, and where deep learning overtakes.

A model and the same model on shares of the training patients are one curve: their recipes differ in ``train_share`` alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.comparison.bootstrap import N_RESAMPLES
from reports.comparison.significance import FloatArray, percentile_interval, resample_groups
from reports.runs.results import Results
from reports.scores.evaluation import Evaluation, sort_by_image
from reports.scores.metrics import f1_of_images
from reports.scores.ranking import ordered, primary_metric


@dataclass(frozen=True)
class LearningCurve:
    """One model over the number of training patients.

    Attributes
    ----------
    model, family : str
    members : tuple of str
        Names of the model in the run, from the smallest share on.
    shares, patients : ndarray of shape (n_sizes,)
        Share of the training patients, and their number, mean over the folds.
    score : ndarray of shape (n_sizes,)
        Mean over the cells.
    draws : ndarray of shape (n_resamples, n_sizes)
        The same with cells, and patients within each, resampled. Draw b is the same for every curve of a run.
    """

    model: str
    family: str
    members: tuple[str, ...]
    shares: FloatArray
    patients: FloatArray
    score: FloatArray
    draws: FloatArray


def curves(evaluation: Evaluation, n_resamples: int = N_RESAMPLES) -> list[LearningCurve]:
    """Find the curves of a run: models with all cells done on two or more shares of the training patients."""
    results = evaluation.results
    scores = _drawn_scores(evaluation, n_resamples)
    found = []
    for members in _families(results.models).values():
        done = [name for name in members if name in scores]
        if len(done) < 2:
            continue
        shares = np.array([results.models[name]["train_share"] for name in done])
        mean, draws = (np.stack([scores[name][k] for name in done], axis=-1) for k in (0, 1))
        family = results.models[done[0]]["family"]
        found.append(
            LearningCurve(
                _base(done[-1], shares[-1]), family, tuple(done), shares, _patients(results, shares), mean, draws
            )
        )
    return found


def has_shares(results: Results) -> bool:
    """Whether any model of a run was trained on a share of the training patients."""
    return any(recipe.get("train_share", 1) < 1 for recipe in results.models.values())


def summarise_crossing(found: Crossing, metric: str, alpha: float = 0.05) -> str:
    """State at how many training patients deep overtakes classical, or that it does not."""
    n = found.classical.patients[-1]
    pair = f"{found.deep.model} overtakes {found.classical.model} ({metric})"
    spread = f"in {found.ahead:.0%} of the bootstrap draws it is ahead from the smallest size on, in {found.never:.0%} not even at the largest"
    if found.patients == math.inf:
        return f"Up to {n:.0f} training patients {found.deep.model} does not overtake {found.classical.model} ({metric}); {spread}."
    if found.patients == -math.inf:
        return f"{found.deep.model} is ahead of {found.classical.model} ({metric}) from {found.classical.patients[0]:.0f} training patients on; {spread}."
    ends = [_end(found.low, "the smallest size"), _end(found.high, "more than there are")]
    return f"{pair} at about {found.patients:.0f} training patients ({1 - alpha:.0%} interval {ends[0]} to {ends[1]}); {spread}."


def _end(value: float, word: str) -> str:
    return f"{value:.0f}" if math.isfinite(value) else word


def curve_table(found: Sequence[LearningCurve], alpha: float = 0.05) -> pd.DataFrame:
    """One row per model and size: model, family, train_share, n_patients, score, low, high (interval over the draws)."""
    rows = []
    for curve in found:
        for k, score in enumerate(curve.score):
            low, high = percentile_interval(curve.draws[:, k], alpha)
            rows.append(
                {
                    "model": curve.model,
                    "family": curve.family,
                    "train_share": curve.shares[k],
                    "n_patients": curve.patients[k],
                    "score": score,
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Crossing:
    """Where the second curve passes the first for good.

    Attributes
    ----------
    classical, deep : LearningCurve
    patients, low, high : float
        Number of training patients and its interval; -inf is "ahead from the smallest size on", inf "never within the data".
    ahead, never : float
        Share of the draws in which deep is ahead from the smallest size on, and in which it is not ahead at the largest.
    """

    classical: LearningCurve
    deep: LearningCurve
    patients: float
    low: float
    high: float
    ahead: float
    never: float


def crossing(found: Sequence[LearningCurve], alpha: float = 0.05) -> Crossing | None:
    """Where the best deep model overtakes the best classical one, both those that are best at the largest size; None without both."""
    best_first = ordered({k: float(curve.score[-1]) for k, curve in enumerate(found)})
    best = {found[k].family: found[k] for k in reversed(best_first)}
    classical, deep = best.get("classical"), best.get("deep")
    if classical is None or deep is None or not np.array_equal(classical.shares, deep.shares):
        return None
    drawn = np.array([overtakes(classical.patients, row) for row in deep.draws - classical.draws])
    low, high = np.quantile(
        drawn, [alpha / 2, 1 - alpha / 2], method="inverted_cdf"
    )  # the mean of inf and a number is undefined
    at = overtakes(classical.patients, deep.score - classical.score)
    return Crossing(
        classical,
        deep,
        at,
        float(low),
        float(high),
        float(np.mean(drawn == -math.inf)),
        float(np.mean(drawn == math.inf)),
    )


def overtakes(patients: FloatArray, lead: FloatArray) -> float:
    """Find the number of patients from which the lead stays above 0, by linear interpolation over log n.

    >>> overtakes(np.array([10., 100., 1000.]), np.array([-1., 1., 2.])).__round__(1)
    31.6
    >>> overtakes(np.array([10., 100.]), np.array([1., 2.])), overtakes(np.array([10., 100.]), np.array([1., 0.]))
    (-inf, inf)
    """
    behind = np.flatnonzero(lead <= 0)
    if not len(behind):
        return -math.inf
    k = int(behind[-1])
    if k == len(lead) - 1:
        return math.inf
    part = -lead[k] / (lead[k + 1] - lead[k])
    return float(np.exp(np.log(patients[k]) + part * np.log(patients[k + 1] / patients[k])))


def _families(models: Mapping[str, dict]) -> dict[str, list[str]]:
    """Models by their recipe without the share, each list from the smallest share on."""
    found: dict[str, list[str]] = {}
    for name, recipe in models.items():
        rest = {key: value for key, value in recipe.items() if key not in ("train_share", "description")}
        if "train_share" in recipe:
            found.setdefault(json.dumps(rest, sort_keys=True), []).append(name)
    return {key: sorted(names, key=lambda name: models[name]["train_share"]) for key, names in found.items()}


def _base(name: str, share: float) -> str:
    """Return a model's name without its share."""
    return re.sub(rf"-p?{100 * share:g}$", "", name)


def _patients(results: Results, shares: FloatArray) -> FloatArray:
    """Mean number of training patients over the folds, for each share."""
    train = results.splits[results.splits["part"] == "train"]
    sizes = train.assign(group=results.groups.reindex(train["image_id"]).to_numpy())
    n = sizes.groupby(["repeat", "fold"])["group"].nunique().to_numpy()
    return np.array([np.maximum(1, np.round(share * n)).mean() for share in shares])


def _drawn_scores(evaluation: Evaluation, n_resamples: int) -> dict[str, tuple[float, FloatArray]]:
    """Mean score of each whole model, and the same with cells and their patients resampled, (n_resamples,)."""
    results = evaluation.results
    value = f1_of_images if primary_metric(results) == "f1_samples" else all_right
    keys = sorted({key[1:] for key in evaluation.test_parts})
    seed = int(results.run["seed"])
    cells = np.random.default_rng(seed).multinomial(len(keys), np.full(len(keys), 1 / len(keys)), size=n_resamples)
    weights: dict[tuple[int, int], NDArray[np.float32]] = {}
    found = {}
    for model in evaluation.complete:
        means, drawn = [], []
        for k, key in enumerate(keys):
            part = sort_by_image(evaluation.test_parts[(model, *key)])
            if key not in weights:
                groups = results.groups.reindex(part.image_id).to_numpy(str)
                weights[key] = resample_groups(groups, n_resamples, seed + k + 1)
            scores = value(part.truth, part.decided).astype(float)
            means.append(scores.mean())
            drawn.append(weights[key] @ scores / np.maximum(weights[key].sum(axis=1), 1))
        found[model] = (float(np.mean(means)), (cells * np.stack(drawn, axis=1)).sum(axis=1) / len(keys))
    return found


def all_right(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Whether all labels of an image are right, (n,)."""
    return (truth == decided).all(axis=1)
