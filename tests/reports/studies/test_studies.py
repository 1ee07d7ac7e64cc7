"""Statistics of studies against what is known of them."""

import numpy as np
import pandas as pd
import pytest

from reports.comparison.pairwise import TestSettings
from reports.studies.effects import EFFECT_COLUMNS, summarise_effects
from reports.studies.seeds import SEED_COLUMNS, summarise_seeds, variance_parts


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


def test_seeds_that_change_nothing_leave_nothing_to_the_seeds() -> None:
    folds = np.random.default_rng(2).uniform(
        0.6, 0.9, 5
    )  # the mean of three of these is not each of them, in floating point
    parts = variance_parts(np.stack([folds] * 3))
    assert [parts[key] for key in ("sd_seeds", "sd_seeds_low", "sd_seeds_high", "share_of_seeds")] == [0, 0, 0, 0]
    assert parts["sd_folds"] == pytest.approx(folds.std(ddof=1))


def effect(variant: str, model: str, difference: float, p_holm: float, p_equal: float) -> dict:
    row = dict.fromkeys(EFFECT_COLUMNS, 0.5) | {"data": "a", "suite": "s", "variant": variant, "model": model}
    return row | {"difference": difference, "p_holm": p_holm, "p_equal": p_equal}


def test_words_say_what_a_variant_changes_and_where_it_changes_nothing() -> None:
    quiet = [effect("clahe", "svm", -0.004, 1, 0.97), effect("clahe", "cnn", 0.02, 0.2, 0.1)]
    loud = [effect("crop", "svm", 0.05, 0.01, 0), effect("crop", "cnn", -0.06, 0.02, 0)]
    none = pd.DataFrame(columns=["data"])
    assert summarise_effects(pd.DataFrame(quiet), none, TestSettings()) == [
        "No variant changes a model's score significantly (corrected t-test, Holm over 2 comparisons, alpha 0.05).",
        "clahe: no significant change; observed changes: svm (-0.004) to cnn (+0.020); "
        "a change within ±0.01 has a probability of 95% or more for svm.",
    ]
    crop, clahe = summarise_effects(pd.DataFrame(quiet + loud), none, TestSettings())  # what is sure comes first
    assert (
        crop
        == "crop: improves svm (+0.050) and worsens cnn (-0.060) (corrected t-test, Holm over 4 comparisons, alpha 0.05)."
    )
    assert clahe.startswith("clahe: no significant change")


def test_models_that_draw_nothing_are_no_part_of_what_a_seed_does() -> None:
    def row(model: str, sd: float) -> dict:
        where = {"data": "a", "suite": "s", "variant": "base", "model": model, "family": "deep"}
        return dict.fromkeys(SEED_COLUMNS, 0.0) | where | {"sd_seeds": sd, "sd_folds": 0.03}

    rows = [row("cnn", 0.01), row("probe", 0.0), row("vit", 0.03)]
    assert summarise_seeds(pd.DataFrame(rows)) == [
        "a, deep: changing the seed moves the score of 2 models, by the median, on a fold by 0.0200 (standard deviation), changing the fold by 0.0300; "
        "identical scores with every seed: probe."
    ]
    assert summarise_seeds(pd.DataFrame(rows[1:2])) == ["a, deep: identical scores with every seed: probe."]
