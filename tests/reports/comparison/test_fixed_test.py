"""One fixed test set is compared image by image, and everything says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import binomtest

from bench.cli import invoke
from reports.citation.bibliography import keys
from reports.citation.methods import markdown
from reports.comparison.fixed_test import mcnemar_table
from reports.comparison.pairwise import TestSettings
from reports.pages.headline import headline
from reports.runs.results import load
from reports.scores.evaluation import evaluate, sort_by_image
from reports.tables.paper import paper_tables
from reports.tables.run_tables import all_tables
from reports.tables.verification import check_table

CLASSES = ("Hand", "Knee", "Chest", "Hip")


@pytest.fixture
def one(make_run: Callable[..., Path]) -> Path:
    """A run with a single fold, as if it had been made with a published test set."""
    run = make_run("multilabel", classes=CLASSES)
    for folder in run.glob("cells/*/r0-f[12]"):
        shutil.rmtree(folder)
    description = json.loads((run / "run.json").read_text())
    description["splits"]["folds"] = 1
    (run / "run.json").write_text(json.dumps(description))
    splits = pd.read_parquet(run / "splits.parquet")
    splits[splits["fold"] == 0].to_parquet(run / "splits.parquet")
    return run


def test_mcnemar_counts_the_images_that_only_one_gets_right(one: Path) -> None:
    evaluation = evaluate(load(one))
    table = mcnemar_table(evaluation).set_index(["model_a", "model_b"])
    a, b = (sort_by_image(evaluation.parts(model)[0]) for model in ("hog-svm", "efficientnet-finetune"))
    right_a, right_b = ((part.truth == part.decided).all(axis=1) for part in (a, b))
    row = table.loc[("hog-svm", "efficientnet-finetune")]
    assert (row["only_a"], row["only_b"]) == ((right_a & ~right_b).sum(), (right_b & ~right_a).sum())
    few, both = min(row["only_a"], row["only_b"]), row["only_a"] + row["only_b"]
    assert row["p"] == pytest.approx(binomtest(int(few), int(both)).pvalue)
    assert (table["p_holm"] >= table["p"]).all()


def test_words_tables_and_methods_speak_of_one_test_set(one: Path) -> None:
    results = load(one)
    evaluation = evaluate(results)
    tables = all_tables(evaluation)
    n = int((results.splits["part"] == "test").sum())
    said = headline(evaluate(results), tables, TestSettings())
    assert "p\u00a0" in said.sentence
    assert any(f"On {n} images" in line for line in said.details)
    assert "McNemar" in said.details[-1]
    pairs = next(t for t in paper_tables(evaluation, tables, TestSettings()) if t.name == "pairwise")
    assert "McNemar" in pairs.caption
    assert "P(better)" not in pairs.text
    assert f"one fixed test set of {n} images" in markdown(results, TestSettings())
    assert "mcnemar1947" in keys(results)
    assert "nadeau2003" not in keys(results)


def test_the_report_and_its_check_work(one: Path, capsys: pytest.CaptureFixture) -> None:
    assert invoke(["report", str(one), "--html", "--latex", "--csv"]) == 0
    page = (one / "report" / "report.html").read_text(encoding="utf-8")
    assert 'id="differences"' not in page
    for table in ("mcnemar.csv", "pairwise.tex", "summary.tex"):
        assert check_table(evaluate(load(one)), one / "report" / "tables" / table, TestSettings()).wrong == ()
    assert "error" not in capsys.readouterr().err


def test_folds_have_no_such_table(make_run: Callable[..., Path]) -> None:
    evaluation = evaluate(load(make_run("multilabel", classes=CLASSES)))
    assert mcnemar_table(evaluation).empty
    assert "mcnemar" not in all_tables(evaluation)
