"""SVM, XGBoost, calibration and the dummy."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.svm import SVC, LinearSVC
from threadpoolctl import threadpool_limits

from baselines.boosting import XGBoost
from baselines.calibration import fit_calibration
from baselines.distances import distances_to_landmarks, squared_distances
from baselines.nystroem import fit_nystroem
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


def test_nystroem_with_every_image_as_a_landmark_is_a_kernel_machine_with_squared_hinge() -> None:
    X, y = problem(several=True)
    D = squared_distances(X)
    D /= D.mean()
    (_, _, machine), *_ = fit_nystroem(D[:160, :160], y[:160], [1.0], [1.0])
    kernel = np.exp(-D.astype(np.float64))
    for k in range(y.shape[1]):
        values, vectors = np.linalg.eigh(kernel[:160, :160])
        features = vectors * np.sqrt(np.maximum(values, 0))  # features with that kernel
        scale = 1e4  # scikit-learn penalises the intercept; as a large constant column it weighs nothing
        oracle = LinearSVC(C=1.0, intercept_scaling=scale, tol=1e-8, max_iter=200_000).fit(features, y[:160, k])
        assert machine.scores(kernel[:160, :160])[:, k] == pytest.approx(oracle.decision_function(features), abs=0.03)


THREADS = (1, 2, 3, 4)


def test_the_approximation_is_the_same_bits_on_any_number_of_threads() -> None:
    X, y = problem(5000, several=True)
    D = distances_to_landmarks(X, X[:300])[None]
    found = set()
    for threads in THREADS:
        with threadpool_limits(threads):
            svm = SVM(exact_up_to=300, landmarks=300).fit(D[:, :4000], y[:4000], D[:, 4000:], y[4000:], 0)
            found.add(svm.predict_proba(D[:, 4000:]).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("several", [True, False])
def test_the_exact_machine_and_its_distances_are_the_same_bits_on_any_number_of_threads(*, several: bool) -> None:
    X, y = problem(900, several=several)
    X = np.hstack([X, np.random.default_rng(1).normal(size=(900, 700)).astype(np.float32) / 9])
    found = set()
    for threads in THREADS:
        with threadpool_limits(threads):
            D = np.stack([squared_distances(X), squared_distances(X[:, :50]), squared_distances(X, X[:, ::-1])])
            svm = SVM(C=[3], gamma=[1]).fit(D[:, :700, :700], y[:700], D[:, 700:, :700], y[700:], 0)
            made = (D, svm.machine_.dual, np.array(str(svm.calibration_)), svm.predict_proba(D[:, 700:, :700]))
            found.add(b"".join(each.tobytes() for each in made))
    assert len(found) == 1


def test_trees_are_the_same_bytes_on_any_number_of_threads() -> None:
    X, y = problem(3000, several=True)
    found = set()
    for threads in THREADS:
        boosted = XGBoost(rounds=20, rows=1000, threads=threads).fit(X[:2500], y[:2500], X[2500:], y[2500:], 0)
        found.add(bytes(boosted.booster_.save_raw("ubj")) + str(boosted.history_).encode())
    assert len(found) == 1


def test_above_its_limit_the_machine_takes_landmarks_and_says_so() -> None:
    X, y = problem(900, several=True)
    D = distances_to_landmarks(X, X[:200])[None]
    some = SVM(exact_up_to=300, landmarks=200).fit(D[:, :700], y[:700], D[:, 700:], y[700:], 0)
    whole = squared_distances(X)[None]
    every = SVM().fit(whole[:, :700, :700], y[:700], whole[:, 700:, :700], y[700:], 0)
    assert SVM(exact_up_to=300, landmarks=200).n_landmarks(301) == 200
    assert SVM(exact_up_to=300).n_landmarks(300) is None
    assert some.chosen_["landmarks"] == 200
    assert "landmarks" not in every.chosen_
    scores = [best_f1_samples(m.predict_proba(d[:, 700:]), y[700:]) for m, d in ((some, D), (every, whole[:, :, :700]))]
    assert scores[0] > scores[1] - 0.03


def test_distances_to_landmarks_are_columns_of_all_distances() -> None:
    X, mirrored = np.random.default_rng(0).normal(size=(2, 50, 7)).astype(np.float32)
    np.testing.assert_allclose(distances_to_landmarks(X, X[5:9]), squared_distances(X)[:, 5:9], atol=1e-4)
    one_way = np.minimum(squared_distances(X)[:, 5:9], ((X[:, None] - mirrored[None, 5:9]) ** 2).sum(axis=2))
    np.testing.assert_allclose(distances_to_landmarks(X, X[5:9], mirrored[5:9]), one_way, atol=1e-4)


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


@pytest.mark.parametrize("several", [True, False])
def test_boosting_on_more_rows_than_its_limit_takes_them_in_turns_and_says_so(several: bool) -> None:
    X, y = problem(1500, several=several)
    task = "multilabel" if several else "multiclass"
    parts = (X[:1000], y[:1000], X[1000:1200], y[1000:1200], 7)
    few, again = (
        XGBoost(task=task, rows=300, rounds_per_chunk=5, colsample_bynode=1.0, threads=1).fit(*parts) for _ in range(2)
    )
    every = XGBoost(task=task, colsample_bynode=1.0, threads=1).fit(*parts)
    assert few.chosen_["rows"] == 300
    assert "rows" not in every.chosen_
    assert few.chosen_["trees"] == few.booster_.num_boosted_rounds() <= len(few.history_)
    losses = [epoch["valid_loss"] for epoch in few.history_]
    assert losses[int(few.chosen_["trees"]) - 1] == min(losses)
    assert (few.predict_proba(X[1200:]) == again.predict_proba(X[1200:])).all()
    scores = [best_f1_samples(head.predict_proba(X[1200:]), y[1200:]) for head in (few, every)]
    assert scores[0] > scores[1] - 0.03


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
