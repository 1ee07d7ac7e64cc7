"""The tables say what the predictions say, and names stay names."""

import csv
import io
import json
import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from reports.comparison.pairwise import TestSettings
from reports.pages.headline import headline, remarks
from reports.pages.report import write
from reports.pages.terminal import summary_table
from reports.runs.provenance import caption
from reports.runs.results import Results, load
from reports.scores.evaluation import evaluate
from reports.scores.metrics import score
from reports.scores.naming import quantity
from reports.tables.balance import fold_balance, rare_classes
from reports.tables.export import csv_text, latex_text, markdown_text
from reports.tables.per_class import per_class
from reports.tables.run_tables import all_tables
from reports.tables.summary import as_text, columns, mean_sd, summary

RESTS = ("f1_macro", "balanced_accuracy", "roc_auc_macro", "average_precision_macro", "mcc", "cohen_kappa")
SUMMARY_METRICS = (
    *(
        "accuracy",
        "f1_samples",
        "f1_macro",
        "f1_micro",
        "balanced_accuracy",
        "roc_auc_macro",
        "average_precision_macro",
    ),
    *("log_loss", "mcc", "cohen_kappa", "hamming_loss", "roc_auc_micro", "average_precision_micro", "brier"),
    "calibration_error",
)
SUMMARY_COLUMNS = [
    *("model", "family", "suite", "cells"),
    *(
        f"{metric}_{value}"
        for metric in SUMMARY_METRICS
        for value in ("mean", "sd", "pooled", "low", "high", "cells", *(("classes",) if metric in RESTS else ()))
    ),
    *("fit_seconds_mean", "fit_seconds_sd", "encode_ms_per_image", "predict_ms_per_image", "predict_spread"),
    *("peak_memory_mb", "n_parameters", "model_mb", "status", "reason"),
]


def test_the_columns_of_the_summary_are_a_public_format(results: Results) -> None:
    path = next(path for path in write(results, html=False, csv=True, md=False, latex=False) if path.stem == "summary")
    assert next(csv.reader(path.open(encoding="utf-8"))) == SUMMARY_COLUMNS


def test_the_summary_has_a_row_per_model_of_the_suite_with_its_state(results: Results) -> None:
    table = summary(evaluate(results)).set_index("model")
    assert list(table.index) == list(results.models)
    assert table.loc["hog-svm", ["cells", "status", "reason"]].tolist() == ["3/3", "done", ""]
    assert table.loc["resnet18-finetune", "status"] == "skipped"
    assert "--weights-dir" in table.loc["resnet18-finetune", "reason"]
    assert table.loc["xception-finetune", ["cells", "status"]].tolist() == ["1/3", "failed"]
    assert table.loc["convnext-tiny-finetune", "status"] == "missing"
    assert math.isnan(table.loc["convnext-tiny-finetune", "accuracy_mean"])


def test_means_are_over_cells_and_pooled_values_over_joined_predictions(results: Results) -> None:
    evaluation = evaluate(results)
    row = summary(evaluation).set_index("model").loc["hog-svm"]
    parts = evaluation.parts("hog-svm")
    cells = [score(part.truth, part.decided, part.probability, results.data["task"])["f1_macro"] for part in parts]
    assert row["f1_macro_mean"] == pytest.approx(np.mean(cells))
    assert row["f1_macro_sd"] == pytest.approx(np.std(cells, ddof=1))
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in ("truth", "decided", "probability")]
    assert row["f1_macro_pooled"] == pytest.approx(score(*joined, results.data["task"])["f1_macro"])


def test_costs_are_medians_of_raw_samples_and_their_spread(results: Results) -> None:
    row = summary(evaluate(results)).set_index("model").loc["hog-svm"]
    cells = results.cells[(results.cells["model"] == "hog-svm")]
    samples = [1000 * s / t["predict_images"] for t in cells["timings"] for s in t["predict_seconds"]]
    assert row["predict_ms_per_image"] == pytest.approx(np.median(samples))
    assert row["predict_spread"] == pytest.approx(np.std(samples, ddof=1) / np.mean(samples))
    assert row["encode_ms_per_image"] == pytest.approx(1200 / 181, rel=0.01)


def test_a_rare_class_is_undefined_where_it_does_not_occur_and_named(results: Results) -> None:
    table = per_class(evaluate(results)).set_index(["model", "class"])
    row = table.loc[("hog-svm", "Rare")]
    assert row[["n_images", "n_groups", "n_folds_with_test", "roc_auc_cells"]].tolist() == [2, 1, 1, 1]
    assert rare_classes(results)["class"].tolist() == ["Rare"]
    said = " ".join(remarks(summary(evaluate(results)), results))
    assert "Rare has 1 patient for 3 folds" in said


def test_each_image_is_in_the_test_part_of_one_fold(results: Results) -> None:
    balance = fold_balance(results)
    tested = balance[balance["part"] == "test"].groupby("class")["n_images"].sum()
    labels = results.manifest["labels"].explode().value_counts()
    assert all(tested[label] == labels.get(label, 0) for label in results.classes)


def test_the_caption_carries_all_that_a_number_needs(make_run: Callable[..., Path]) -> None:
    assert caption(load(make_run("multiclass", synthetic=True))) == (
        "Run generated-quick-3f2a9c1b, suite quick, data generated (SYNTHETIC), splits c0ffeec0ffee, "
        "3 folds × 1 repeat, seed 0, n = 180 images of 90 patients"
    )


def test_undefined_values_are_named_with_the_cells_they_rest_on() -> None:
    row = {"cells": "5/5", "roc_auc_macro_mean": math.nan, "roc_auc_macro_sd": math.nan, "roc_auc_macro_cells": 0}
    assert mean_sd(row, "roc_auc_macro") == "undefined (0 of 5 folds)"
    row |= {"roc_auc_macro_mean": 0.81234, "roc_auc_macro_sd": 0.0134, "roc_auc_macro_cells": 4}
    assert mean_sd(row, "roc_auc_macro") == "0.812 ± 0.013 (4 of 5 folds)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (88.2, "88.2"), (3.456, "3.46"), (0.0525, "0.052"), (0, "0"), (2e-5, "< 0.001")],
)
def test_quantities_are_readable(value: float, text: str) -> None:
    assert quantity(value) == text


def test_shared_fits_and_approximations_are_named(results: Results) -> None:
    cells = results.cells.copy()
    of_svm = cells["model"] == "hog-svm"
    cells.loc[of_svm, "chosen"] = pd.Series([{"C": 3.0, "landmarks": 1987.0}] * of_svm.sum(), index=cells.index[of_svm])
    cells.loc[of_svm, "timings"] = cells.loc[of_svm, "timings"].map(lambda timings: {**timings, "jobs": 2})
    said = " ".join(remarks(summary(evaluate(results)), replace(results, cells=cells)))
    assert "Fitted in parallel, 2 cells at a time" in said
    assert "Nyström's method on about 1,987 training images, because of the size of the data set: hog-svm." in said
    assert "in parallel" not in " ".join(remarks(summary(evaluate(results)), results))


def test_a_spreadsheet_runs_nothing() -> None:
    names = ["=1+1", "+1", "-1", "@x", "\t=1", "plain", "a,b", "\n=1", "＝1", "'=1", "'a'"]
    rows = list(csv.reader(io.StringIO(csv_text(pd.DataFrame({"=name": names, "n": [-1.5] * len(names)})))))
    assert rows[0] == ["'=name", "n"]
    assert [row[0] for row in rows[1:]] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@x",
        "'\t=1",
        *names[5:7],
        "'\n=1",
        "'＝1",
        "''=1",
        "'a'",
    ]
    assert {row[1] for row in rows[1:]} == {"-1.5"}


def test_latex_specials_are_escaped_and_rules_are_booktabs() -> None:
    table = pd.DataFrame({"a_b": [r"50% \input{x} & #$^~", "[0.5] ± 1", "two\nlines \u202ex"]})
    text = latex_text(table, "Über 50%", "tab:x", wide=True)
    assert r"a\_b \\" in text
    assert r"50\% \textbackslash{}input\{x\} \& \#\$\textasciicircum{}\textasciitilde{} \\" in text
    assert r"{[}0.5] $\pm$ 1 \\" in text
    assert r"two lines  x \\" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{Über 50\%}"))


def test_the_paper_marks_the_best_and_what_cannot_be_told_from_it(make_run: Callable[..., Path]) -> None:
    models = {
        "prior": ("dummy", 0.0),
        "hog-svm": ("classical", 0.7),
        "efficientnet-probe": ("deep", 1.6),
        "efficientnet-finetune": ("deep", 1.6),
    }
    results = load(make_run("multiclass", classes=("Hand", "Knee", "Chest"), models=models, n_images=900, folds=5))
    text = write(results, html=False, csv=False, md=False, latex=True)[0].read_text()
    scores = {
        line.split(" & ")[0]: line.split(" & ")[2]
        for line in text.splitlines()
        if line.endswith(r"\\") and " & " in line
    }
    assert scores["Model"] == "Accuracy"
    best, tied = sorted(
        ("efficientnet-probe", "efficientnet-finetune"), key=lambda m: not scores[m].startswith(r"\textbf{")
    )
    assert scores[best].startswith(r"\textbf{0.")
    assert scores[tied].endswith(r"$^{\dagger}$")
    for other in ("prior", "hog-svm"):
        assert "dagger" not in scores[other]
        assert "textbf" not in scores[other]


ALPHABETS = (
    "手",
    "Колено",
    "Mão",
    "Œil, Łódź, ąę",
    "\u202egnp\u2066",
    "α² → β",
    "x" * 5000,
    "“quoted” – ½ ¿",
    "e\u0301",
    "😀",
)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
@pytest.mark.parametrize("classes", [None, ALPHABETS], ids=["hostile", "alphabets"])
def test_the_tables_compile_whatever_the_names(
    make_run: Callable[..., Path], tmp_path: Path, classes: tuple[str, ...] | None
) -> None:
    results = load(make_run("multilabel", classes=classes))
    paths = write(results, html=False, csv=False, md=False, latex=True)
    inputs = "".join(rf"\input{{{path.as_posix()}}}" + "\n" for path in paths)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx,longtable}\begin{document}" + inputs + r"\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_markdown_cells_cannot_break_the_table_or_become_markup() -> None:
    text = markdown_text(pd.DataFrame({"x": ["a|b\n<b>*c*"]}), "Run_1")
    assert text == "Run\\_1\n\n| x |\n| --- |\n| a\\|b &lt;b&gt;\\*c\\* |\n"


def test_every_table_is_written_in_every_format(results: Results) -> None:
    paths = write(results, html=False, csv=True, md=True, latex=True)
    names = {"summary", "pairwise", "per_class", "cells", "fold_balance", "excluded", "suspects"}
    names |= {"calibration", "decision_rules", "thresholds", "hardest"}
    expected = {f"{name}.{kind}" for name in names for kind in ("csv", "md")}
    assert {path.name for path in paths} == expected | {
        f"{n}.tex" for n in ("summary", "timing", "pairwise", "per_class")
    }
    assert sorted(paths) == sorted((results.path / "report" / "tables").iterdir())


def test_a_report_written_twice_is_the_same_bytes(results: Results) -> None:
    first = {path: path.read_bytes() for path in write(results, html=True, csv=True, md=True, latex=True)}
    again = {path: path.read_bytes() for path in write(load(results.path), html=True, csv=True, md=True, latex=True)}
    assert first == again


def test_the_headline_compares_the_best_of_each_family(results: Results) -> None:
    tables = all_tables(evaluate(results))
    said = headline(evaluate(results), tables, TestSettings())
    assert [each.family for each in said.contenders] == ["classical", "deep", "fusion", "dummy"]
    assert said.contenders[0].model == "hog-svm"
    assert sum(each.wins for each in said.contenders) == 1
    assert said.sentence.startswith(
        ("Deep is ahead of classical by 0.", "Deep is better than classical by 0.", "Deep and classical are tied")
    )


def test_a_planned_family_without_a_result_is_not_passed_over(make_run: Callable[..., Path]) -> None:
    run = make_run(models={"prior": ("dummy", 0.0), "hog-svm": ("classical", 1.6), "resnet18-finetune": ("deep", 0.0)})
    results = load(run)
    said = headline(evaluation := evaluate(results), all_tables(evaluation), TestSettings())
    assert said.sentence == "Not answered: no deep model ran"
    assert said.details[0].startswith("Skipped: resnet18-finetune: ")
    deep = next(each for each in said.contenders if each.family == "deep")
    assert (deep.model, deep.score) == ("none ran", "–")
    assert not any(each.wins for each in said.contenders)


def test_models_of_one_family_alone_are_not_called_a_winner(make_run: Callable[..., Path]) -> None:
    results = load(make_run(models={"prior": ("dummy", 0.0), "hog-svm": ("classical", 1.6)}))
    said = headline(evaluation := evaluate(results), all_tables(evaluation), TestSettings())
    assert said.sentence.startswith("hog-svm is ahead of the classical models that were run: ")


def test_a_fine_tuned_network_says_where_its_start_was_kept_and_what_it_is_below(make_run: Callable[..., Path]) -> None:
    backbone = {"backbone": "tf_efficientnet_lite0"}
    run = make_run(models={"efficientnet-finetune": ("deep", 0.8), "efficientnet-svm": ("deep", 2.4)})
    file = run / "run.json"
    description = json.loads(file.read_text())
    description["suite"]["models"]["efficientnet-finetune"]["head"] |= backbone
    description["suite"]["models"]["efficientnet-svm"]["encoders"] = [{"class": "deep.frozen:Frozen", **backbone}]
    file.write_text(json.dumps(description))
    for fold, epochs in enumerate((0, 3, 0)):
        cell = run / f"cells/efficientnet-finetune/r0-f{fold}/cell.json"
        cell.write_text(json.dumps(json.loads(cell.read_text()) | {"chosen": {"epochs": epochs}}))
    results = load(run)
    said = remarks(all_tables(evaluate(results))["summary"], results)
    assert any(line.startswith("efficientnet-finetune: in 2 of 3 folds no epoch had a lower") for line in said)
    assert any(" scores below the same network with frozen weights: efficientnet-svm (" in line for line in said)


def test_the_terminal_table_shows_names_as_they_are(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass", models={"[red]hog[/red]": ("classical", 1.0), "prior": ("dummy", 0.0)})
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(summary_table(load(run)))
    text = " ".join(console.export_text().split())
    assert "[red]hog[/red]" in text
    assert "splits c0ffeec0ffee" in text


def test_a_run_without_cells_still_has_every_table(make_run: Callable[..., Path]) -> None:
    run = make_run()
    shutil.rmtree(run / "cells")
    results = load(run)
    tables = all_tables(evaluate(results))
    assert set(tables["cells"]["status"]) == {"missing"}
    assert set(tables["cells"]["reason"]) == {""}
    assert list(tables["summary"].columns) == SUMMARY_COLUMNS
    assert set(as_text(tables["summary"], columns(results))["F1 per image"]) == {"–"}
    assert headline(evaluate(results), tables, TestSettings()).sentence == "No model has a result yet"
    assert len(write(results, html=True, csv=True, md=True, latex=True)) == 26


def test_the_means_over_two_repeats_pool_each_repeat_apart(make_run: Callable[..., Path]) -> None:
    evaluation = evaluate(load(make_run("multilabel", repeats=2)))
    assert len(evaluation.pooled("hog-svm")) == 2
    assert len(evaluation.pooled("hog-svm")[0].image_id) == 180
    assert summary(evaluation).set_index("model").loc["hog-svm", "cells"] == "6/6"
