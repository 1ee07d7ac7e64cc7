"""SVM, XGBoost, calibration and the floor."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.svm import SVC

from baselines.boosting import XGBoost
from baselines.calibration import fit_calibration
from baselines.distances import squared_distances
from baselines.prior import Prior
from baselines.selection import best_f1_samples
from baselines.svm import SVM


def problem(n: int = 240, seed: int = 0, *, several: bool) -> tuple[np.ndarray, np.ndarray]:
    """Four classes that lie around four points; with `several`, neighbours overlap."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    score = X[:, :4] + 0.2 * rng.normal(size=(n, 4))
    y = np.zeros((n, 4), np.int8)
    y[np.arange(n), score.argmax(axis=1)] = 1
    return X, (y | (score > 0.9)).astype(np.int8) if several else y


def test_distances_are_squared_euclidean_and_symmetric() -> None:
    X = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32) + 100
    expected = ((X[:, None].astype(float) - X[None].astype(float)) ** 2).sum(axis=2)
    found = squared_distances(X)
    assert found == pytest.approx(expected, abs=2e-3)
    assert (found == found.T).all()


def test_with_mirror_images_the_smaller_distance_counts() -> None:
    X = np.array([[0, 1], [1, 0], [3, 3]], np.float32)
    found = squared_distances(X, X[:, ::-1])
    assert found[0, 1] == pytest.approx(0, abs=1e-5)
    assert found[0, 2] == pytest.approx(13, abs=1e-4)


def test_one_machine_per_class_is_libsvms_machine() -> None:
    X, y = problem(several=True)
    D = squared_distances(X)
    svm = SVM(C=[3], gamma=[1]).fit(D[None, :160, :160], y[:160], D[None, 160:, :160], y[160:], 0)
    kernel = np.exp(-D.astype(np.float64) / D[:160, :160].mean(dtype=np.float64))
    scores = np.stack(
        [
            SVC(C=3, kernel="precomputed").fit(kernel[:160, :160], t).decision_function(kernel[160:, :160])
            for t in y[:160].T
        ],
        axis=1,
    )
    assert svm.predict_proba(D[None, 160:, :160]) == pytest.approx(svm.calibration_.apply(scores), abs=1e-6)


def test_the_svm_keeps_the_candidate_that_validates_best() -> None:
    X, y = problem(several=False)
    D = squared_distances(X)[None]
    parts = D[:, :160, :160], y[:160], D[:, 160:, :160], y[160:]
    scores = {
        C: best_f1_samples(SVM(C=[C], gamma=[1], task="multiclass").fit(*parts, 0).predict_proba(parts[2]), y[160:])
        for C in (1e-4, 10)
    }
    assert scores[10] > scores[1e-4]
    assert SVM(C=[1e-4, 10], gamma=[1], task="multiclass").fit(*parts, 0).chosen_["C"] == 10


def test_a_class_that_is_nowhere_in_the_training_part_gets_a_low_probability() -> None:
    X, y = problem(several=True)
    y[:160, 3] = 0
    D = squared_distances(X)[None]
    probability = SVM().fit(D[:, :160, :160], y[:160], D[:, 160:, :160], y[160:], 0).predict_proba(D[:, 160:, :160])
    assert np.isfinite(probability).all()
    assert probability[:, 3].max() < probability[:, :3].max()


@pytest.mark.parametrize("several", [True, False])
def test_boosting_learns_and_stops_and_repeats_itself(several: bool, tmp_path) -> None:
    X, y = problem(600, several=several)
    task = "multilabel" if several else "multiclass"
    first, second = (
        XGBoost(task=task, colsample_bynode=1.0, threads=1).fit(X[:400], y[:400], X[400:500], y[400:500], 7)
        for _ in range(2)
    )
    probability = first.predict_proba(X[500:])
    assert probability.shape == (100, 4)
    assert (probability == second.predict_proba(X[500:])).all()
    assert f1_score(y[500:], probability > 0.5, average="samples", zero_division=0) > 0.6
    assert first.chosen_["trees"] < len(first.history_)
    first.save(tmp_path)
    assert (tmp_path / "xgboost.ubj").stat().st_size > 1000


def test_one_label_gives_probabilities_that_sum_to_one() -> None:
    X, y = problem(several=False)
    D = squared_distances(X)[None]
    svm = SVM(task="multiclass").fit(D[:, :160, :160], y[:160], D[:, 160:, :160], y[160:], 0)
    assert svm.predict_proba(D[:, 160:, :160]).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_calibration_lowers_the_log_loss_and_keeps_the_order(task: str) -> None:
    _, y = problem(several=task == "multilabel")
    scores = 0.05 * (2.0 * y - 1) + 0.05 * np.random.default_rng(1).normal(size=y.shape)
    found = fit_calibration(scores, y, task).apply(scores)
    raw = (
        1 / (1 + np.exp(-scores))
        if task == "multilabel"
        else np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    )
    loss = {name: -np.log(np.where(y, p, 1 - p)).mean() for name, p in (("raw", raw), ("calibrated", found))}
    assert loss["calibrated"] < 0.8 * loss["raw"]
    assert (found.argmax(axis=1) == scores.argmax(axis=1)).all()


def test_selection_is_accuracy_for_one_label_and_f1_for_several() -> None:
    y = np.array([[1, 0, 0], [0, 1, 0]])
    assert best_f1_samples(np.array([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1]]), y) == 0.5
    y = np.array([[1, 1, 0], [0, 1, 0]])
    assert best_f1_samples(np.array([[0.8, 0.9, 0.1], [0.1, 0.7, 0.2]]), y) == 1.0


def test_the_floor_predicts_the_share_of_each_label() -> None:
    _, y = problem(several=True)
    floor = Prior().fit(np.empty((240, 0)), y, np.empty((0, 0)), y[:0], 0)
    assert floor.predict_proba(np.empty((3, 0))) == pytest.approx(np.tile(y.mean(axis=0), (3, 1)))
