"""The comparisons of every pair can be computed again from the other tables, and the words say what they say."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.cli import invoke
from reports.comparison.pairwise import TestSettings, against
from reports.pages.headline import headline
from reports.pages.report import write
from reports.runs.results import Results, load
from reports.scores.evaluation import evaluate
from reports.scores.metrics import LOWER_IS_BETTER, METRICS
from reports.scores.ranking import best_model
from reports.tables.run_tables import all_tables

COLUMNS = [
    *(
        "model_a",
        "model_b",
        "metric",
        "mean_difference",
        "sd",
        "n_cells",
        "n_test_over_n_train",
        "t",
        "df",
        "p",
        "p_holm",
    ),
    *("ci_low", "ci_high", "p_worse", "p_equal", "p_better"),
    *("p_holm_best", "p_holm_reference", "bootstrap_low", "bootstrap_high"),
]


def test_every_row_follows_from_the_table_of_cells(results: Results) -> None:
    folder = write(results, html=False, csv=True, md=False, latex=False)[0].parent
    pairs, cells = (pd.read_csv(folder / f"{name}.csv") for name in ("pairwise", "cells"))
    assert list(pairs.columns) == COLUMNS
    done = [m for m in results.models if (cells[cells["model"] == m]["status"] == "done").any()]
    assert len(pairs) == len(list(combinations(done, 2))) * len(METRICS)
    cells = cells[cells["status"] == "done"].set_index(["repeat", "fold"])
    for row in pairs.itertuples():
        a, b = (cells[cells["model"] == name] for name in (row.model_a, row.model_b))
        both = a.merge(b, left_index=True, right_index=True, suffixes=("_a", "_b"))
        difference = (both[f"{row.metric}_a"] - both[f"{row.metric}_b"]).dropna()
        assert (row.n_cells, row.df) == (len(difference), max(len(difference) - 1, 0))
        assert row.n_test_over_n_train == pytest.approx((both["n_test_a"] / both["n_train_a"]).mean())
        if len(difference) > 1 and difference.std() > 0:
            error = difference.std() * np.sqrt(1 / len(difference) + row.n_test_over_n_train)
            assert row.t == pytest.approx(difference.mean() / error)
            assert row.p == pytest.approx(2 * stats.t.sf(abs(row.t), row.df), abs=1e-12)
            low, high = stats.t.interval(0.95, row.df, difference.mean(), error)
            assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
            assert row.p_worse + row.p_equal + row.p_better == pytest.approx(1)
    for _, rows in pairs.dropna(subset="p").groupby("metric"):
        ordered = rows.sort_values("p")
        factors = np.arange(len(rows), 0, -1)
        np.testing.assert_allclose(ordered["p_holm"], np.minimum(np.maximum.accumulate(factors * ordered["p"]), 1))


def test_better_means_lower_for_losses(results: Results) -> None:
    evaluation = evaluate(results)
    pairs = all_tables(evaluation)["pairwise"]
    assert best_model(evaluation, "log_loss") != "prior"
    for metric in METRICS:
        row = against(pairs, "fusion-svm", metric).loc["prior"]
        ahead = (row["mean_difference"] < 0) == (metric in LOWER_IS_BETTER)
        assert (row["p_better"] > row["p_worse"]) == ahead, metric
        assert ahead or metric == "calibration_error"  # the prior is well calibrated


def test_a_pair_turned_round_is_the_same_comparison(results: Results) -> None:
    pairs = all_tables(evaluate(results))["pairwise"]
    one, other = against(pairs, "hog-svm", "accuracy").loc["prior"], against(pairs, "prior", "accuracy").loc["hog-svm"]
    for name, mirror in (
        ("mean_difference", "mean_difference"),
        ("t", "t"),
        ("ci_low", "ci_high"),
        ("bootstrap_low", "bootstrap_high"),
    ):
        assert one[name] == -other[mirror]
    assert (one["p"], one["p_worse"]) == (other["p"], other["p_better"])


def test_comparisons_with_the_best_and_the_reference_are_families_of_their_own(results: Results) -> None:
    evaluation = evaluate(results)
    pairs = all_tables(evaluation, TestSettings(reference="hog-svm"))["pairwise"]
    rows = pairs[pairs["metric"] == "accuracy"]
    for column, model in (("p_holm_best", best_model(evaluation, "accuracy")), ("p_holm_reference", "hog-svm")):
        involved = (rows["model_a"] == model) | (rows["model_b"] == model)
        assert rows.loc[~involved, column].isna().all()
        assert (rows.loc[involved, column].isna() == rows.loc[involved, "p"].isna()).all()
        assert (rows[column].dropna() <= rows.loc[rows[column].notna(), "p_holm"] + 1e-12).all()


def test_the_words_claim_what_the_numbers_bear(make_run: Callable[..., Path]) -> None:
    models = {
        "prior": ("dummy", 0.0),
        "hog-svm": ("classical", 1.5),
        "efficientnet-probe": ("deep", 2.9),
        "efficientnet-finetune": ("deep", 2.9),
    }
    results = load(make_run("multiclass", classes=("Hand", "Knee", "Chest"), models=models, n_images=900, folds=5))
    tables = all_tables(evaluate(results), TestSettings(reference="hog-svm"))
    said = headline(evaluate(results), tables, TestSettings(reference="hog-svm"))
    text = " ".join([said.sentence, *said.details]).replace("\u00a0", " ")
    assert said.sentence.startswith("Deep is better than classical by 0.")
    best = max(("efficientnet-probe", "efficientnet-finetune"), key=lambda m: f"The best model is {m} " in text)
    other = {"efficientnet-probe": "efficientnet-finetune", "efficientnet-finetune": "efficientnet-probe"}[best]
    assert f"On 900 images of 450 patients, {best} is better than hog-svm by 0." in text
    assert f"No significant difference between {best} and {other} (" in text
    assert "On 900 images of 450 patients, hog-svm is better than prior by 0." in text
    assert "hog-svm is worse than efficientnet" in text
    assert "p adjusted over 3 comparisons with the best model (Holm)" in text


def test_one_fold_or_one_model_is_no_test(make_run: Callable[..., Path]) -> None:
    results = load(make_run("multiclass", models={"hog-svm": ("classical", 1.0)}))
    tables = all_tables(evaluate(results))
    assert len(tables["pairwise"]) == 0
    assert "No test: this needs two models" in headline(evaluate(results), tables, TestSettings()).details[-1]
    write(results, html=True, csv=True, md=True, latex=True)


def test_settings_that_mean_nothing_are_one_line(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run("multiclass"))
    assert invoke(["report", run, "--alpha", "1.5"]) == 2
    assert invoke(["report", run, "--reference", "hog-smv"]) == 2
    assert invoke(["verify", run, "--rope", "-1"]) == 2
    first, second, third = capsys.readouterr().err.strip().splitlines()
    assert "--alpha 1.5" in first
    assert "--rope -1" in third
    assert "--reference hog-smv: has no finished cell in this run; there are prior, hog-svm" in second
    assert invoke(["report", run, "--reference", "hog-svm", "--csv"]) == 0
