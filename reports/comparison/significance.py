"""Is one model better than another? Tests and intervals that account for dependent samples.

Folds share training images and a patient's images resemble each other, so neither folds nor images are independent. Over folds the
variance is corrected for the shared training images; over images whole groups (patients) are drawn, never single images. What
each test assumes, and how often it errs, is in docs/statistics.md.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load lazily, since they are slow to load
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
PERMUTATIONS = 20_000


@dataclass(frozen=True)
class Comparison:
    """A mean difference over folds with its test and interval.

    Attributes
    ----------
    mean, sd : float
        Of the differences; sd with J - 1.
    n : int
        Cells J in which both are defined.
    ratio : float
        Test size over training size.
    t, df, p : float
        Statistic, degrees of freedom, two-sided p.
    low, high : float
        Interval at 1 - alpha.
    """

    mean: float
    sd: float
    n: int
    ratio: float
    t: float
    df: int
    p: float
    low: float
    high: float


def corrected_t_test(differences: ArrayLike, ratio: float, alpha: float = 0.05) -> Comparison:
    """Corrected resampled t-test: t = d / sqrt((1/J + n_test/n_train) s²), J - 1 degrees of freedom.

    Nadeau and Bengio (2003), "Inference for the Generalization Error", Machine Learning 52: 239-281, equation 9 with section 5.1; for
    repeated cross-validation Bouckaert and Frank (2004). The variance of the mean is enlarged because the training parts overlap.

    Parameters
    ----------
    differences : array-like of shape (J,)
        Of a metric between two models, one for each fold of each repeat; NaN where either is undefined is left out.
    ratio : float
        Images in a test part over images in a training part.
    alpha : float
        One minus the coverage of the interval.

    Returns
    -------
    Comparison
        With fewer than two differences everything but the mean is NaN. Equal models in every fold have p = 1.
    """
    values = _defined(differences)
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    if n < 2:
        return Comparison(mean, math.nan, n, ratio, math.nan, max(n - 1, 0), math.nan, math.nan, math.nan)
    sd, df = float(values.std(ddof=1)), n - 1
    error = math.sqrt((1 / n + ratio) * sd**2)
    t = (mean and math.copysign(math.inf, mean)) if error == 0 else mean / error
    reach = float(scipy.special.stdtrit(df, 1 - alpha / 2)) * error
    return Comparison(
        mean, sd, n, ratio, t, df, float(2 * scipy.special.stdtr(df, -abs(t))), mean - reach, mean + reach
    )


def holm(p: ArrayLike) -> FloatArray:
    """Adjust p values for their number, step-down (Holm 1979); NaN stays NaN and does not count. Shape (m,)."""
    p = np.asarray(p, dtype=float)
    out = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return out


def bayesian_t_test(differences: ArrayLike, rho: float, rope: float = 0.01) -> tuple[float, float, float]:
    """Bayesian correlated t-test: P(mean < -rope), P(within), P(mean > rope).

    Corani and Benavoli (2015), "A Bayesian approach for comparing cross-validated algorithms on multiple data sets", Machine
    Learning 100: 285-304: the posterior of the mean difference is a t distribution with J - 1 degrees of freedom around d and
    scale sqrt((1/J + rho / (1 - rho)) s²).

    Parameters
    ----------
    differences : array-like of shape (J,)
        NaN is left out; with fewer than two values all three are NaN.
    rho : float
        Correlation of two folds, by the usual heuristic 1 / folds: the share of the data that is tested.
    rope : float
        Half the width of the region of practical equivalence, in units of the metric.
    """
    values = _defined(differences)
    n = len(values)
    if n < 2:
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    scale = math.sqrt((1 / n + rho / (1 - rho)) * values.var(ddof=1))
    if scale == 0:
        return float(mean < -rope), float(-rope <= mean <= rope), float(mean > rope)
    below, not_above = (float(scipy.special.stdtr(n - 1, (edge - mean) / scale)) for edge in (-rope, rope))
    return below, not_above - below, 1 - not_above


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> tuple[int, int, float]:
    """Exact McNemar test on one fixed test set: images that only a gets right, that only b does, and the two-sided p.

    The discordant images are a binomial sample with probability 1/2 (Dietterich 1998, "Approximate Statistical Tests for Comparing
    Supervised Classification Learning Algorithms", Neural Computation 10: 1895-1923). It says nothing about other training sets.

    Parameters
    ----------
    right_a, right_b : array-like of shape (n,), bool
    """
    right_a, right_b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    n, few = only_a + only_b, min(only_a, only_b)
    if only_a == only_b:
        return only_a, only_b, 1.0
    return (
        only_a,
        only_b,
        min(1.0, 2 * float(scipy.special.betainc(n - few, few + 1, 0.5))),
    )  # binomial distribution function


def resample_groups(groups: ArrayLike, n_resamples: int, seed: int) -> NDArray[np.float32]:
    """Resample the groups with replacement: how often each image counts.

    Returns
    -------
    ndarray of shape (n_resamples, n_images), float32
        Images of one group have the same number in a row.
    """
    names, member = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    return drawn.astype(np.float32)[:, member]


def percentile_interval(values: ArrayLike, alpha: float = 0.05) -> tuple[float, float]:
    """Percentile interval of bootstrap values (Efron and Tibshirani 1993, chapter 13); NaN is left out, both NaN without values."""
    values = _defined(values)
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class RankTest:
    """Several models on several data sets.

    Attributes
    ----------
    ranks : ndarray of shape (n_models,)
        Mean rank of each model; 1 is best.
    chi2, chi2_p : float
        Friedman's statistic with k - 1 degrees of freedom.
    f, f_p : float
        Iman and Davenport's correction with k - 1 and (k - 1)(N - 1) degrees of freedom.
    permutation_p : float
        Of Friedman's statistic, without an approximation: the share of random orders within the data sets that give as much.
    critical_difference : float
        Mean ranks further apart than this differ by the Nemenyi test.
    """

    ranks: FloatArray
    chi2: float
    chi2_p: float
    f: float
    f_p: float
    permutation_p: float
    critical_difference: float


def friedman_nemenyi(scores: ArrayLike, alpha: float = 0.05) -> RankTest:
    """Compare k models on N independent data sets by their ranks (Demšar 2006, JMLR 7: 1-30, section 3.2).

    Parameters
    ----------
    scores : array-like of shape (n_datasets, n_models)
        Higher is better; equal scores share their mean rank.

    Raises
    ------
    ValueError
        With fewer than two models or data sets. Folds of one data set are not data sets: they share images.
    """
    scores = np.asarray(scores, dtype=float)
    n, k = scores.shape
    if n < 2 or k < 2:
        raise ValueError(f"{n} data sets and {k} models: ranks need at least two of both")
    rows = np.array([_mean_ranks(-row) for row in scores])  # (n_datasets, n_models)
    ranks = rows.mean(axis=0)
    chi2 = 12 * n / (k * (k + 1)) * (float((ranks**2).sum()) - k * (k + 1) ** 2 / 4)
    room = n * (k - 1) - chi2
    f = (n - 1) * chi2 / room if room > 1e-12 else math.inf
    f_p = float(scipy.special.fdtrc(k - 1, (k - 1) * (n - 1), f)) if math.isfinite(f) else 0.0

    q = float(scipy.stats.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
    difference = q * math.sqrt(k * (k + 1) / (6 * n))
    return RankTest(ranks, chi2, float(scipy.special.chdtrc(k - 1, chi2)), f, f_p, _permutation_p(rows), difference)


def _permutation_p(ranks: FloatArray) -> float:
    """Share of `PERMUTATIONS` random orders within each row, and of the order found, whose spread of mean ranks is as wide."""
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.broadcast_to(ranks, (PERMUTATIONS, *ranks.shape)), axis=2).sum(axis=1)
    as_wide = (drawn**2).sum(axis=1) >= (ranks.sum(axis=0) ** 2).sum() - 1e-9
    return float((1 + as_wide.sum()) / (1 + PERMUTATIONS))


def _mean_ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1 for the smallest; equal values share the mean of theirs."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return below + (equal + 1) / 2


def _defined(values: ArrayLike) -> FloatArray:
    values = np.asarray(values, dtype=float)
    return values[~np.isnan(values)]
