"""Learning curves: the crossing is where it was put, and its ends are said honestly."""

import numpy as np
import pytest

from reports.comparison.learning import LearningCurve, crossing, overtakes

PATIENTS = np.array([10.0, 20.0, 40.0, 80.0, 160.0])


def _curve(model: str, family: str, score: np.ndarray, noise: float = 0.01) -> LearningCurve:
    draws = score + noise * np.random.default_rng(0 if family == "deep" else 1).normal(size=(500, 1))
    return LearningCurve(model, family, (model,), PATIENTS / 160, PATIENTS, score, draws)


def _at(lead_begins: float) -> list[LearningCurve]:
    classical = 0.5 + 0.05 * np.log2(PATIENTS / 10)
    return [
        _curve("svm", "classical", classical),
        _curve("weak", "deep", classical - 0.3),
        _curve("net", "deep", classical + 0.05 * np.log2(PATIENTS / lead_begins)),
    ]


def test_a_known_crossing_is_found_and_lies_in_its_interval():
    found = crossing(_at(50))
    assert found is not None
    assert found.deep.model == "net"
    assert found.patients == pytest.approx(50)
    assert 30 < found.low < 50 < found.high < 80


def test_deep_that_never_leads_has_no_number():
    found = crossing(_at(1000))
    assert found is not None
    assert (found.patients, found.high, found.never) == (np.inf, np.inf, 1)


def test_deep_that_always_leads_has_no_number():
    found = crossing(_at(2))
    assert found is not None
    assert (found.patients, found.low, found.ahead) == (-np.inf, -np.inf, 1)


def test_a_lead_that_is_lost_again_does_not_count():
    assert overtakes(PATIENTS, np.array([1.0, -1.0, 1.0, -1.0, 1.0])) == pytest.approx(80 * 2**0.5)
