"""How often the tests err, by simulation: ``pytest -m slow -s tests/benchmarks/test_error_rates.py``.

Two learners of equal worth get features of their own; patients have one to four images of one class and a look of their own. Every
claimed difference is an error. The rates are printed, and stand in docs/statistics.md.
"""

import numpy as np
import pytest

from reports.comparison.significance import corrected_t_test, percentile_interval, resample_groups

pytestmark = pytest.mark.slow

N_DATA_SETS, N_PATIENTS, N_FEATURES, SIGNAL = 1000, 100, 8, 0.35
ALPHA = 0.05


def draw(rng: np.random.Generator, n_patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients (n,), classes (n,) of -1 and 1, and two sets of features (2, n, N_FEATURES)."""
    patient = np.repeat(np.arange(n_patients), rng.integers(1, 5, n_patients))
    y = rng.choice([-1, 1], n_patients)[patient]
    looks = rng.normal(size=(2, n_patients, N_FEATURES))[:, patient]
    return patient, y, SIGNAL * y[:, None] + looks + 0.5 * rng.normal(size=looks.shape)


def right(train: np.ndarray, test: np.ndarray, y: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Which test images a classifier by the nearest class mean gets right, (2, n_test)."""
    means = [X[:, train][:, y[train] == c].mean(axis=1) for c in (-1, 1)]
    direction, middle = means[1] - means[0], (means[1] + means[0]) / 2
    side = np.einsum("mnf,mf->mn", X[:, test] - middle[:, None], direction)
    return np.sign(side) == y[test]


def cross_validated(rng: np.random.Generator, folds: int, repeats: int) -> dict[str, np.ndarray]:
    patient, y, X = draw(rng, N_PATIENTS)
    differences, ratios, pooled = [], [], np.zeros((2, len(y)))
    for _ in range(repeats):
        fold = rng.permutation(np.arange(N_PATIENTS) % folds)[patient]
        for k in range(folds):
            test = fold == k
            hits = right(~test, test, y, X)
            pooled[:, test] += hits / repeats
            differences.append(hits[0].mean() - hits[1].mean())
            ratios.append(test.sum() / (~test).sum())
    return {"differences": np.array(differences), "ratio": np.mean(ratios), "pooled": pooled, "patient": patient}


@pytest.mark.parametrize(("folds", "repeats"), [(5, 1), (5, 10), (10, 10), (2, 5)])
def test_equal_learners_are_seldom_called_different(folds: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    sets = [cross_validated(rng, folds, repeats) for _ in range(N_DATA_SETS)]
    naive = np.mean([corrected_t_test(s["differences"], 0).p < ALPHA for s in sets])
    corrected = np.mean([corrected_t_test(s["differences"], s["ratio"]).p < ALPHA for s in sets])
    print(f"\n{folds} folds x {repeats}: t-test {naive:.1%}, corrected {corrected:.1%} of {N_DATA_SETS} at {ALPHA:.0%}")
    assert corrected < 0.15
    assert corrected < naive
    if repeats > 1:
        assert naive > 0.25


def test_intervals_over_patients_cover_and_intervals_over_images_do_not() -> None:
    rng = np.random.default_rng(1)
    fresh_patient, fresh_y, fresh_X = draw(rng, 20_000)
    worth, found = [], []
    for _ in range(400):
        _, y, X = draw(rng, N_PATIENTS)
        both = np.concatenate([X, fresh_X], axis=1)
        everything = np.arange(len(y) + len(fresh_y))
        train = everything < len(y)
        worth.append(right(train, ~train, np.concatenate([y, fresh_y]), both)[0].mean())
        found.append(cross_validated(rng, 5, 1))
    truth = np.mean(worth)  # accuracy that the learner has on average; five folds learn from a fifth less
    covered = {"patients": 0, "images": 0}
    for each in found:
        n = each["pooled"].shape[1]
        for name, groups in (("patients", each["patient"]), ("images", np.arange(n))):
            weights = resample_groups(groups, 500, 0)
            low, high = percentile_interval(weights @ each["pooled"][0] / weights.sum(axis=1))
            covered[name] += low <= truth <= high
    shares = {name: count / len(found) for name, count in covered.items()}
    print(f"\n95 % intervals that hold the true accuracy: {shares}")
    assert shares["patients"] > 0.88
    assert shares["images"] < shares["patients"] - 0.05
    assert len(set(fresh_patient)) == 20_000
