"""A table is recomputed number by number, and one changed digit is found."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports.evaluation import Evaluation, evaluate
from reports.pairwise import Level
from reports.report import write
from reports.results import Results, ResultsError, load
from reports.verification import check_labels, check_table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, dict[str, Path]]:
    from tests.reports.conftest import HOSTILE, write_run

    root = tmp_path_factory.mktemp("run") / "multilabel-quick"
    results = load(write_run(root, "multilabel", ("Hand", "Knee", "Rare", *HOSTILE)))
    return evaluate(results), {p.name: p for p in write(results, html=False, csv=True, md=False, latex=True)}


NAMES = (
    *("summary.csv", "pairwise.csv", "per_class.csv", "cells.csv", "fold_balance.csv", "excluded.csv", "suspects.csv"),
    *("calibration.csv", "decision_rules.csv", "thresholds.csv", "hardest.csv"),
    *("summary.tex", "timing.tex", "pairwise.tex", "per_class.tex"),
)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_report_wrote_is_right(tables: tuple[Evaluation, dict[str, Path]], name: str) -> None:
    evaluation, paths = tables
    finding = check_table(evaluation, paths[name], Level())
    assert finding.wrong == ()
    assert finding.checked > 2 or name == "suspects.csv"


@pytest.mark.parametrize(
    ("name", "row"),
    [("summary.csv", "hog-svm,"), ("pairwise.csv", "prior,hog-svm,accuracy"), ("summary.tex", "hog-svm &")],
)
def test_one_changed_digit_is_found_and_named(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, name: str, row: str
) -> None:
    evaluation, paths = tables
    lines = paths[name].read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(row))
    digit = lines[place].index("0.") + 3
    lines[place] = lines[place][:digit] + str((int(lines[place][digit]) + 1) % 10) + lines[place][digit + 1 :]
    changed = tmp_path / name
    changed.write_text("\n".join(lines), encoding="utf-8")
    finding = check_table(evaluation, changed, Level())
    assert len(finding.wrong) == 1
    assert "hog-svm" in finding.wrong[0]
    assert " there, 0." in finding.wrong[0].replace("-0.", "0.")


def test_a_table_may_be_shorter_and_in_another_order(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path
) -> None:
    evaluation, paths = tables
    table = pd.read_csv(paths["summary.csv"], dtype=str, keep_default_na=False)
    table.iloc[::-1][["f1_macro_mean", "model"]].head(3).to_csv(tmp_path / "mine.csv", index=False)
    assert check_table(evaluation, tmp_path / "mine.csv", Level()).checked == 6
    table.assign(model="another", mine=1).head(1).to_csv(tmp_path / "mine.csv", index=False)
    wrong = check_table(evaluation, tmp_path / "mine.csv", Level()).wrong
    assert [line.split(": ", 1)[1] for line in wrong] == [
        "column 'mine' is not one of the run's table",
        "the run has no such row",
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("x.csv", "a,b\n1,2\n"), ("x.tex", r"\begin{table}"), ("x.txt", "hello"), ("x.csv", "")]
)
def test_what_is_no_table_is_refused(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ResultsError, match=f"{name}: is no table of `bench report`"):
        check_table(tables[0], tmp_path / name, Level())
    with pytest.raises(ResultsError, match="cannot be read as a table"):
        check_table(tables[0], tmp_path / "gone.csv", Level())


def test_labels_that_are_not_the_manifests_are_counted(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("multiclass", classes=("Hand", "Knee"))
    assert check_labels(load(run)) == []
    shutil.copytree(run, tmp_path / "copy")
    manifest = pd.read_parquet(tmp_path / "copy/manifest.parquet")
    first = manifest["labels"][0]
    manifest.at[0, "labels"] = ["Knee"] if list(first) == ["Hand"] else ["Hand"]
    manifest.to_parquet(tmp_path / "copy/manifest.parquet")
    results: Results = load(tmp_path / "copy")
    assert all("2 labels beside its predictions" in line for line in check_labels(results))
    assert check_labels(results)
