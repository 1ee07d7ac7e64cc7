"""A table is recomputed number by number, and one changed digit is found."""

import contextlib
import re
from pathlib import Path

import pandas as pd
import pytest

from reports.comparison.pairwise import TestSettings
from reports.pages.report import write
from reports.runs.results import ResultsError, load
from reports.scores.evaluation import Evaluation, evaluate
from reports.tables.export import latex_escaped
from reports.tables.verification import TableCheck, _same, check_table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, dict[str, Path]]:
    from tests.reports.conftest import HOSTILE, write_run

    root = tmp_path_factory.mktemp("run") / "multilabel-quick"
    results = load(write_run(root, "multilabel", ("Hand", "Knee", "Rare", *HOSTILE)))
    return evaluate(results), {p.name: p for p in write(results, html=False, csv=True, md=True, latex=True)}


NAMES = (
    *("summary.csv", "pairwise.csv", "per_class.csv", "cells.csv", "fold_balance.csv", "excluded.csv", "suspects.csv"),
    *("calibration.csv", "decision_rules.csv", "thresholds.csv", "hardest.csv"),
    *("summary.tex", "timing.tex", "pairwise.tex", "per_class.tex"),
    *("summary.md", "pairwise.md", "per_class.md", "cells.md", "fold_balance.md", "excluded.md", "suspects.md"),
    *("calibration.md", "decision_rules.md", "thresholds.md", "hardest.md"),
)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_report_wrote_is_right(tables: tuple[Evaluation, dict[str, Path]], name: str) -> None:
    evaluation, paths = tables
    finding = check_table(evaluation, paths[name], TestSettings())
    assert finding.wrong == finding.unchecked == ()
    assert finding.checked > 2 or name.startswith("suspects")


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
    finding = check_table(evaluation, changed, TestSettings())
    assert len(finding.wrong) == 1
    assert "hog-svm" in finding.wrong[0]
    assert " in the file, 0." in finding.wrong[0].replace("-0.", "0.")


def test_a_table_may_be_in_another_order_and_what_is_left_out_is_said(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path
) -> None:
    evaluation, paths = tables
    table = pd.read_csv(paths["summary.csv"], dtype=str, keep_default_na=False)
    table.iloc[::-1, ::-1].to_csv(tmp_path / "mine.csv", index=False)
    assert check_table(evaluation, tmp_path / "mine.csv", TestSettings()) == TableCheck(table.size, ())
    table[["f1_macro_mean", "model"]].head(3).to_csv(tmp_path / "mine.csv", index=False)
    finding = check_table(evaluation, tmp_path / "mine.csv", TestSettings())
    assert (finding.checked, finding.wrong) == (6, ())
    assert "mine.csv: column 'accuracy_mean' is left out" in finding.unchecked
    assert f"mine.csv, {table['model'].iloc[-1]}: the row is left out" in finding.unchecked
    assert len(finding.unchecked) == table.shape[1] - 2 + len(table) - 3
    table.assign(model="another", mine=1).head(1).to_csv(tmp_path / "mine.csv", index=False)
    wrong = check_table(evaluation, tmp_path / "mine.csv", TestSettings()).wrong
    assert [line.split(": ", 1)[1] for line in wrong] == [
        "column 'mine' is not one of the run's table",
        "the run has no such row",
    ]


@pytest.mark.parametrize("name", ["summary.csv", "summary.md", "summary.tex", "per_class.tex"])
def test_a_table_without_any_row_was_not_checked(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, name: str
) -> None:
    evaluation, paths = tables
    lines = paths[name].read_text(encoding="utf-8").splitlines(keepends=True)
    models = tuple(evaluation.results.models) + tuple(latex_escaped(name[:6]) for name in evaluation.results.classes)
    starts = tuple(f"{lead}{model}" for lead in ("", "| ", r"\textbf{") for model in models)
    (tmp_path / name).write_text("".join(line for line in lines if not line.startswith(starts)), encoding="utf-8")
    finding = check_table(evaluation, tmp_path / name, TestSettings())
    assert (finding.checked, finding.wrong) == (0, ())
    assert sum("the row is left out" in line for line in finding.unchecked) >= 5


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("name", "row"), [("summary.csv", "hog-svm,"), ("summary.md", "| hog-svm |"), ("summary.tex", "hog-svm &")]
)
def test_a_row_beside_the_true_one_is_found(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, name: str, row: str, first: bool
) -> None:
    evaluation, paths = tables
    lines = paths[name].read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if line.startswith(row))
    lines.insert(place + (not first), lines[place].replace("0.", "0.9", 1))
    (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    finding = check_table(evaluation, tmp_path / name, TestSettings())
    assert any("hog-svm: occurs 2 times, in the run's table 1 times" in line for line in finding.wrong)


ROW_ENDS = (
    r"\\[1pt]",
    r"\\*",
    r"\tabularnewline",
    r"\tabularnewline[2pt]",
    r"\\ % checked by hand",
    r"\\ \hline",
    "\\\\\n",
)
ROW_ENDS += (r" \\ \cmidrule(lr){2-3}", r"\\[-0.5ex] \midrule", r"\cr")


@pytest.mark.parametrize("end", ROW_ENDS)
@pytest.mark.parametrize("name", ["summary.tex", "per_class.tex"])
def test_a_row_of_latex_is_read_whatever_it_ends_in(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, name: str, end: str
) -> None:
    evaluation, paths = tables
    text = paths[name].read_text(encoding="utf-8")
    edited = "\n".join(
        line.removesuffix(r"\\") + end if line.endswith(r"\\") and "&" in line else line for line in text.splitlines()
    )
    (tmp_path / name).write_text(edited, encoding="utf-8")
    assert check_table(evaluation, tmp_path / name, TestSettings()) == check_table(
        evaluation, paths[name], TestSettings()
    )
    place = edited.rindex(" 0.")
    (tmp_path / name).write_text(edited[: place + 3] + "12345" + edited[place + 3 :], encoding="utf-8")
    assert len(check_table(evaluation, tmp_path / name, TestSettings()).wrong) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (r"$^{\dagger}$ & ", " & ", "from the predictions"),
        (
            r"hog-svm & classical & ",
            r"hog-svm & \textbf{classical} & ",
            "\\textbf{classical} in the file, classical from",
        ),
        (r"\textbf{", "{", "from the predictions"),
        (r"\midrule", r"\midrule ours & deep \\ ", "ours: the run has no such row"),
        (r"\midrule", r"\multicolumn{2}{c}{ours 0.99} \\ \midrule", "the run has no such row"),
        ("Family", "Model", "column 'Model' occurs 2 times"),
    ],
)
def test_what_a_reader_sees_of_a_latex_table_is_compared(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, old: str, new: str, said: str
) -> None:
    evaluation, paths = tables
    text = paths["summary.tex"].read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "summary.tex").write_text(text.replace(old, new, 1), encoding="utf-8")
    finding = check_table(evaluation, tmp_path / "summary.tex", TestSettings())
    assert any(said in line for line in finding.wrong), finding


@pytest.mark.parametrize("name", ["summary.tex", "per_class.tex", "summary.md"])
@pytest.mark.parametrize("how", ["changed", "removed", "before", "after"])
def test_words_that_are_not_the_reports_are_not_checked(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, name: str, how: str
) -> None:
    evaluation, paths = tables
    text = paths[name].read_text(encoding="utf-8")
    caption = check_table(evaluation, paths[name], TestSettings()).checked and "".join(
        re.findall(r"Generated\b", text)[:1]
    )
    edited = {
        "changed": text.replace(caption, "Real", 1),
        "removed": re.sub(r"\\caption\{.*?\}(?=\\label)", "", text)
        if name.endswith(".tex")
        else text[text.index("|") :],
        "before": "Our model wins.\n\n" + text,
        "after": text + "\nIn all, 0.99.\n",
    }[how]
    assert edited != text
    (tmp_path / name).write_text(edited, encoding="utf-8")
    finding = check_table(evaluation, tmp_path / name, TestSettings())
    assert finding.wrong == ()
    assert any("text" in line for line in finding.unchecked)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"\centering", r"\centering[0.99]"),
        ("{llllllllll}", "{lllllll@{ 0.99 }lll}"),
        (r"\begin{table*}", r"\begin{table*}[h] \def\x{0.99}"),
        (r"\end{table*}", r"0.99 pt \end{table*}"),
        (r"\begin{table*}", r"\begin{tblr}{ll} ours & 0.99 \end{tblr} \iffalse \begin{table*}"),
        (r"\centering", r"\centering\includegraphics{ours}"),
    ],
)
def test_words_hidden_in_the_layout_are_not_checked(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, old: str, new: str
) -> None:
    evaluation, paths = tables
    text = paths["summary.tex"].read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "summary.tex").write_text(text.replace(old, new), encoding="utf-8")
    finding = check_table(evaluation, tmp_path / "summary.tex", TestSettings())
    assert finding.wrong or finding.unchecked


@pytest.mark.parametrize(
    ("begin", "end"), [(r"\iffalse ", r"\fi "), (r"\begin{comment} ", r"\end{comment} "), (r"\phantom{", "} ")]
)
def test_a_true_row_that_nobody_sees_does_not_help_a_forged_one(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, begin: str, end: str
) -> None:
    evaluation, paths = tables
    lines = paths["summary.tex"].read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("hog-svm &"))
    lines[place : place + 1] = [begin + lines[place], end + lines[place].replace("0.", "0.9", 1)]
    (tmp_path / "summary.tex").write_text("\n".join(lines), encoding="utf-8")
    assert check_table(evaluation, tmp_path / "summary.tex", TestSettings()).wrong


def test_a_latex_table_may_be_set_in_another_way(tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path) -> None:
    evaluation, paths = tables
    text = paths["summary.tex"].read_text(encoding="utf-8")
    for old, new in (
        ("table*", "table"),
        (r"\toprule", r"\hline"),
        ("{llllllllll}", "{@{}l|lrrrrrrr>{\\small}c@{}}"),
        (r"\centering", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"),
    ):
        text = text.replace(old, new)
    (tmp_path / "summary.tex").write_text(text, encoding="utf-8")
    finding = check_table(evaluation, tmp_path / "summary.tex", TestSettings())
    assert finding.wrong == finding.unchecked == ()


@pytest.mark.parametrize("digits", [2, 3, 6, 12])
def test_a_number_that_was_honestly_rounded_passes(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, digits: int
) -> None:
    evaluation, paths = tables
    for name in ("summary.csv", "pairwise.csv", "per_class.csv", "cells.csv", "calibration.csv"):
        pd.read_csv(paths[name]).round(digits).to_csv(tmp_path / name, index=False, float_format=f"%.{digits}f")
        assert check_table(evaluation, tmp_path / name, TestSettings()).wrong == (), name


@pytest.mark.parametrize(
    ("true", "said", "same"),
    [
        ("0.8649", "0.86", True),
        ("0.8649", "0.87", False),
        ("0.8649", "0.865", True),
        ("0.865", "0.86", True),
        ("0.5001", "1", False),
        ("0.87", "0.9", False),
        ("0.004", "0.00", True),
        ("123.46", "123", True),
        ("123.46", "124", False),
        ("1520", "1.5e3", False),
        ("5", "5.0", True),
        ("1.234e-07", "1.23e-07", True),
        ("0.1", "nan", False),
        ("", "0.00", False),
        ("nan", "nan", True),
    ],
)
def test_rounding_is_told_from_changing(true: str, said: str, same: bool) -> None:
    assert _same(said, true) is same


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ("model,a\n\nhog-svm\n", False),
        ("model,model\nx,y\n", False),
        ("model\0,a\n", True),
        ('model,a\n"hog-svm,1\n', True),
    ],
)
def test_a_broken_csv_file_is_refused_or_found_wrong(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, content: str, refused: bool
) -> None:
    (tmp_path / "summary.csv").write_text(content)
    with pytest.raises(ResultsError, match=r"summary\.csv") if refused else contextlib.nullcontext():
        assert check_table(tables[0], tmp_path / "summary.csv", TestSettings()).wrong


@pytest.mark.parametrize(
    ("name", "content"), [("x.csv", "a,b\n1,2\n"), ("x.tex", r"\begin{table}"), ("x.txt", "hello"), ("x.csv", "")]
)
def test_what_is_no_table_is_refused(
    tables: tuple[Evaluation, dict[str, Path]], tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ResultsError, match=f"{name}: is not a table of `bench report`"):
        check_table(tables[0], tmp_path / name, TestSettings())
    with pytest.raises(ResultsError, match="cannot be read as a table"):
        check_table(tables[0], tmp_path / "gone.csv", TestSettings())
