"""Statistics of studies against what is known of them."""

import numpy as np
import pytest

from reports.studies.seeds import variance_parts


def test_variance_of_seeds_and_folds_is_what_it_was_made_of() -> None:
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(400):
        folds = rng.normal(0, 0.03, (1, 10))
        draws.append(variance_parts(0.8 + folds + rng.normal(0, 0.01, (5, 10))))
    assert np.mean([d["sd_seeds"] ** 2 for d in draws]) == pytest.approx(0.01**2, rel=0.05)
    assert np.mean([d["sd_folds"] ** 2 for d in draws]) == pytest.approx(0.03**2, rel=0.1)
    covered = np.mean([d["sd_seeds_low"] <= 0.01 <= d["sd_seeds_high"] for d in draws])
    assert 0.92 < covered < 0.98


def test_seeds_alone_leave_nothing_for_the_folds() -> None:
    rng = np.random.default_rng(1)
    parts = [variance_parts(rng.normal(0, 0.01, (4, 6)))["sd_folds"] for _ in range(200)]
    assert np.mean(np.array(parts) == 0) > 0.3
    assert max(parts) < 0.02
