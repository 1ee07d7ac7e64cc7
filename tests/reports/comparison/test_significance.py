"""Every test against what others publish or compute."""

import math
import warnings

import baycomp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from reports.comparison.significance import (
    bayesian_t_test,
    corrected_t_test,
    friedman_nemenyi,
    holm,
    mcnemar,
    percentile_interval,
    resample_groups,
)


@pytest.fixture(scope="module")
def sklearn_differences() -> np.ndarray:
    """Differences in ROC AUC of scikit-learn's example "Statistical comparison of models using grid search"."""
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (cross_val_score(SVC(kernel=k), X, y, cv=folds, scoring="roc_auc") for k in ("rbf", "linear"))
    return rbf - linear


def test_the_corrected_test_is_that_of_scikit_learns_example(sklearn_differences: np.ndarray) -> None:
    corrected = corrected_t_test(sklearn_differences, 10 / 90)
    naive = corrected_t_test(sklearn_differences, 0)
    assert (round(corrected.t, 3), round(corrected.p / 2, 3)) == (0.750, 0.227)
    assert (round(naive.t, 3), round(naive.p / 2, 3)) == (2.611, 0.005)
    assert (corrected.n, corrected.df) == (100, 99)
    assert naive.p == pytest.approx(stats.ttest_1samp(sklearn_differences, 0).pvalue)


def test_the_interval_holds_what_the_test_does_not_reject(sklearn_differences: np.ndarray) -> None:
    found = corrected_t_test(sklearn_differences, 10 / 90, alpha=0.1)
    for edge in (found.low, found.high):
        assert corrected_t_test(sklearn_differences - edge, 10 / 90).p == pytest.approx(0.1)


def test_the_bayesian_test_is_that_of_scikit_learns_example_and_of_baycomp(sklearn_differences: np.ndarray) -> None:
    worse, _, better = bayesian_t_test(sklearn_differences, 0.1, rope=0)
    assert round(better, 3) == 0.773
    assert worse + better == pytest.approx(1)
    assert round(bayesian_t_test(sklearn_differences, 0.1, rope=0.01)[1], 3) == 0.432
    for rope in (0.01, 0.03):
        zeros = np.zeros_like(sklearn_differences)
        theirs = baycomp.two_on_single(
            sklearn_differences, zeros, rope=rope, runs=10
        )  # left is better when left > right
        ours = bayesian_t_test(sklearn_differences, 0.1, rope=rope)
        assert ours == pytest.approx((theirs[2], theirs[1], theirs[0]), abs=1e-9)


def test_undefined_differences_are_left_out_and_too_few_give_nothing() -> None:
    full = corrected_t_test([0.1, 0.2, 0.4, math.nan], 0.25)
    assert full == corrected_t_test([0.1, 0.2, 0.4], 0.25)
    assert full.n == 3
    one = corrected_t_test([math.nan, 0.1], 0.25)
    assert (one.mean, one.n) == (0.1, 1)
    assert math.isnan(one.p)
    assert math.isnan(bayesian_t_test([0.1], 0.2)[0])


def test_models_that_are_equal_in_every_fold_do_not_differ() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = corrected_t_test([0.0] * 5, 0.25)
        assert (same.t, same.p, same.low, same.high) == (0, 1, 0, 0)
        assert corrected_t_test([0.125] * 5, 0.25).p == 0
        assert bayesian_t_test([0.125] * 5, 0.2) == (0, 0, 1)
        assert bayesian_t_test([0.0] * 5, 0.2) == (0, 1, 0)


def test_holm_multiplies_step_by_step() -> None:
    adjusted = holm([0.01, 0.04, 0.03, math.nan, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, math.nan, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 6), (3, 12), (7, 7), (40, 21), (1, 0)])
def test_mcnemar_is_the_binomial_test_of_the_discordant(only_a: int, only_b: int) -> None:
    a = np.array([1] * only_a + [0] * only_b + [1, 0] * 20, bool)
    b = np.array([0] * only_a + [1] * only_b + [1, 0] * 20, bool)
    n_a, n_b, p = mcnemar(a, b)
    assert (n_a, n_b) == (only_a, only_b)
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1
    assert p == pytest.approx(expected, abs=1e-12)


def test_groups_are_drawn_whole_and_the_bootstrap_error_is_that_of_their_means() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 4)
    values = rng.normal(size=60)[groups] + 0.1 * rng.normal(size=240)
    weights = resample_groups(groups, 4000, seed=1)
    assert weights.shape == (4000, 240)
    assert (weights.reshape(4000, 60, 4) == weights.reshape(4000, 60, 4)[:, :, :1]).all()
    assert (weights.sum(axis=1) == 240).all()
    means = weights @ values / weights.sum(axis=1)
    of_groups = values.reshape(60, 4).mean(axis=1)
    assert means.std() == pytest.approx(of_groups.std(ddof=1) / math.sqrt(60), rel=0.05)
    assert means.std() > 1.7 * values.std() / math.sqrt(240)  # what drawing single images would claim
    low, high = percentile_interval(means)
    assert low < values.mean() < high
    assert (resample_groups(groups, 5, 1) == weights[:5]).all()


# Demšar 2006, table 6: AUC of C4.5 with m and cf parameters tuned or not, on 14 data sets.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_ranks_are_those_of_demsars_example() -> None:
    found = friedman_nemenyi(DEMSAR)
    np.testing.assert_allclose(found.ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found.chi2 == pytest.approx(9.28, abs=0.01)
    assert found.f == pytest.approx(3.69, abs=0.01)
    strong = friedman_nemenyi(DEMSAR, alpha=0.10)
    assert found.critical_difference == pytest.approx(1.25, abs=0.01)
    assert strong.critical_difference == pytest.approx(1.12, abs=0.01)
    assert found.f_p == pytest.approx(stats.f.sf(found.f, 3, 39))


def test_the_permutation_p_is_exact_where_it_can_be_counted() -> None:
    same_order = friedman_nemenyi([[4, 3, 2, 1], [40, 30, 20, 10]])
    assert same_order.permutation_p == pytest.approx(1 / 24, abs=0.005)  # one order in 4! agrees
    opposed = friedman_nemenyi([[3, 2, 1], [1, 2, 3]])
    assert opposed.permutation_p == 1
    assert friedman_nemenyi([[1, 1, 1], [2, 2, 2]]).permutation_p == 1
    many = friedman_nemenyi(np.random.default_rng(3).normal([0, 0, 0.3, 0.5], size=(30, 4)))
    assert many.permutation_p == pytest.approx(many.f_p, abs=0.01)


def test_friedman_is_scipys_where_no_ranks_are_equal_and_needs_two_of_both() -> None:
    scores = np.random.default_rng(0).normal(size=(9, 4))
    found = friedman_nemenyi(scores)
    theirs = stats.friedmanchisquare(*scores.T)
    assert (found.chi2, found.chi2_p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert math.isinf(friedman_nemenyi([[3, 2, 1], [30, 20, 10]]).f)
    with pytest.raises(ValueError, match="1 data sets and 4 models"):
        friedman_nemenyi(scores[:1])
