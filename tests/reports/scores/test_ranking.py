"""Which model is the best is decided once: the headline, the export, every table and every figure name the same one."""

import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.export.export import chosen_model
from reports.comparison.pairwise import TestSettings
from reports.figures.run_figures import all_figures
from reports.pages.headline import headline
from reports.pages.run_page import html
from reports.runs.results import load
from reports.scores.evaluation import Evaluation, evaluate
from reports.scores.ranking import best_model, competing, ordered, primary_metric, ranked
from reports.tables.export import BEST
from reports.tables.paper import paper_tables
from reports.tables.run_tables import all_tables

MODELS = {
    "hog-svm": ("classical", 1.2),
    "lbp-svm": ("classical", 1.2),
    "efficientnet-probe": ("deep", 2.6),
    "resnet-probe": ("deep", 1.4),
    "prior": ("dummy", 0.0),
}
CLASSES = ("Hand", "Knee", "Chest")


def named_best(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Give every place that names the best model, and the model that it names."""
    settings = TestSettings()
    tables, metric = all_tables(evaluation), primary_metric(evaluation.results)
    found = headline(evaluation, tables, settings)
    details = next(line for line in found.details if line.startswith("The best model is "))
    yield "headline", re.match(r"The best model is (\S+) \(", details)[1]
    yield "contender", next(each.model for each in found.contenders if each.wins)
    papers = {table.name: table for table in paper_tables(evaluation, tables, settings)}
    bold = [place for place, style in papers["summary"].styles.items() if style == BEST]
    row = next(i for i, column in bold if column == 2)  # the metric that decides comes first
    yield "summary.tex", papers["summary"].text["Model"][row]
    yield "per_class.tex", re.match(r"Scores of each class for (\S+), the best model", papers["per_class"].caption)[1]
    pairs = tables["pairwise"]
    with_best = pairs[(pairs["metric"] == metric) & pairs["p_holm_best"].notna()]
    sides = with_best[["model_a", "model_b"]].to_numpy().tolist()
    yield "pairwise.csv", set.intersection(*map(set, sides)).pop()
    figures = list(all_figures(evaluation, pairs, settings))
    for figure in figures:
        if "Model" in figure.chosen and figure.name != "learning":  # which begins with the first that has epochs
            yield figure.name, figure.chosen["Model"]
    page = html(evaluation, tables, figures, settings)
    yield "classes on the page", re.search(r'data-filter="per-class" data-first="([^"]*)"', page)[1]


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_better_model_that_lacks_a_fold_is_never_the_best(make_run: Callable[..., Path], task: str) -> None:
    run = make_run(task, classes=CLASSES, models=MODELS)
    shutil.rmtree(run / "cells/efficientnet-probe/r0-f1")
    evaluation = evaluate(load(run))
    means = evaluation.scores.groupby("model")[primary_metric(evaluation.results)].mean()
    assert means.idxmax() == "efficientnet-probe"
    best = best_model(evaluation)
    assert best != "efficientnet-probe"
    named = {**dict(named_best(evaluation)), "export": chosen_model(load(run), "best")}
    assert named == dict.fromkeys(named, best)
    assert ranked(evaluation)[-1] == "efficientnet-probe"
    assert best_model(evaluation, family="deep") == "resnet-probe"


def test_of_equal_models_the_one_that_the_suite_lists_first_is_the_best(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass", classes=CLASSES, models=MODELS)
    for fold in range(3):
        for name in ("cell.json", "predictions.parquet"):
            twin = run / f"cells/resnet-probe/r0-f{fold}/{name}"
            content = (run / f"cells/efficientnet-probe/r0-f{fold}/{name}").read_bytes()
            twin.write_bytes(
                content.replace(b'"efficientnet-probe"', b'"resnet-probe"') if name == "cell.json" else content
            )
    evaluation = evaluate(load(run))
    assert ranked(evaluation)[:2] == ["efficientnet-probe", "resnet-probe"]
    assert set(dict(named_best(evaluation)).values()) == {"efficientnet-probe"} == {chosen_model(load(run), "best")}


def test_a_model_whose_score_is_undefined_is_never_the_best(make_run: Callable[..., Path]) -> None:
    evaluation = evaluate(load(make_run("multiclass", classes=CLASSES, models=MODELS)))
    scores = evaluation.scores.copy()
    scores.loc[scores["model"] == "efficientnet-probe", "accuracy"] = np.nan
    evaluation = replace(evaluation, scores=scores)
    assert ranked(evaluation)[-1] == "efficientnet-probe"
    best = best_model(evaluation)
    assert best != "efficientnet-probe"
    assert set(dict(named_best(evaluation)).values()) == {best}


def test_where_no_model_has_all_folds_those_with_some_compete(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass", classes=CLASSES, models=MODELS)
    for model in MODELS:
        shutil.rmtree(run / f"cells/{model}/r0-f2")
    evaluation = evaluate(load(run))
    assert evaluation.complete == []
    assert best_model(evaluation) == "efficientnet-probe" == chosen_model(load(run), "best")
    assert competing(evaluation) == ranked(evaluation)
    assert set(dict(named_best(evaluation)).values()) == {"efficientnet-probe"}


def test_a_dummy_competes_like_any_other_model(make_run: Callable[..., Path]) -> None:
    evaluation = evaluate(load(make_run("multiclass", classes=CLASSES, models={"prior": ("dummy", 0.0)})))
    assert best_model(evaluation) == "prior"
    assert best_model(evaluation, family="deep") is None


def test_the_best_of_a_loss_is_the_lowest(make_run: Callable[..., Path]) -> None:
    evaluation = evaluate(load(make_run("multiclass", classes=CLASSES, models=MODELS)))
    means = evaluation.scores.groupby("model")["log_loss"].mean()
    assert ranked(evaluation, "log_loss") == means.sort_values().index.tolist()


def test_without_finished_cells_there_is_no_best_model(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass", classes=CLASSES, models=MODELS)
    shutil.rmtree(run / "cells")
    evaluation = evaluate(load(run))
    assert (ranked(evaluation), competing(evaluation), best_model(evaluation)) == ([], [], None)


def test_equal_scores_keep_their_order_and_undefined_ones_come_last() -> None:
    scores = {"first": math.nan, "b": 0.5, "c": 0.9, "d": 0.5, "last": math.nan}
    assert ordered(scores) == ["c", "b", "d", "first", "last"]
    assert ordered(scores, lower_is_better=True) == ["b", "d", "c", "first", "last"]
