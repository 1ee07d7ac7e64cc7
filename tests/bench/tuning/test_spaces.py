"""Search spaces and budgets that are wrong are told in one line; right ones change no result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.recipes.build import with_search_spaces
from bench.recipes.suite import load_suite
from bench.recipes.toml import suite_as_toml
from bench.tuning.journal import open_journal
from reports.runs.format import model_digest

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ('{"head.gama" = [[1], [2]]}', "models.svm.search: SVM has no parameter 'gama'; did you mean 'gamma'"),
        (
            '{"head.C" = {low = 3, high = 1}}',
            "models.svm.search.head.C: give a list of choices, or low and a larger high",
        ),
        ('{"head.C" = [[1]]}', "models.svm.search.head.C: give two choices or more"),
        ('{"head.C" = {low = 0, high = 1, log = true}}', "models.svm.search.head.C: log needs a low above 0"),
        ('{"head.C" = {low = 0.5, high = 1, int = true}}', "models.svm.search.head.C: int needs whole numbers"),
        ('{"head.C" = {low = 1, high = 2}}', "models.svm.search: C takes a list: write choices such as [[1], [10]]"),
        ('{"tail.C" = [1, 2]}', "models.svm.search.tail.C"),
        ('{"head.class" = ["a:B", "c:D"]}', "head.class: the class cannot be searched"),
        ('{"encoders.1.side" = [1, 2]}', "encoders.1.side: the model has 1 encoders, counted from 0"),
        ("{}", "no model has a search space"),
    ],
)
def test_a_wrong_search_space_is_one_line(command: Command, search: str, message: str) -> None:
    done = command("tune", "svm", "--trials", 2, "--set", f"models.svm.search={search}")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_values_that_every_model_fails_with_are_told(command: Command) -> None:
    done = command(
        "tune", "svm", "--trials", 3, "--set", 'models.svm.search={"head.C" = [["a"], ["b"]]}', "--out", "out"
    )
    assert done.returncode == 1
    assert "every trial failed, the last with" in done.stdout
    assert "Failed trials count as spent: svm 4" in done.stdout
    used = load_suite("out/tuned.toml").models["svm"].tuned
    assert used is not None
    assert used.folds == {"r0-f0": {}, "r0-f1": {}}


def test_a_budget_must_be_named_and_a_foreign_folder_is_refused(command: Command, tmp_path: Path) -> None:
    assert "give --trials N or --seconds S" in command("tune", "svm").stderr
    assert "name models to tune, or give --all" in command("tune", "--trials", 3).stderr
    (tmp_path / "out").mkdir()
    (tmp_path / "out/letter.txt").write_text("mine")
    done = command("tune", "svm", "--trials", 2, "--out", "out")
    assert "out: holds files but no trials: give another --out" in done.stderr


def test_a_search_space_changes_no_digest_and_survives_a_file(tmp_path: Path) -> None:
    suite = with_search_spaces(load_suite("standard"))
    bare = suite.model_copy(
        update={"models": {k: v.model_copy(update={"search": {}}) for k, v in suite.models.items()}}
    )
    assert bare.digest == suite.digest
    assert model_digest(bare.models["hog-svm"].as_dict()) == model_digest(suite.models["hog-svm"].as_dict())
    assert "search" not in suite.models["hog-svm"].as_dict()
    assert "tuned" not in suite.models["hog-svm"].as_dict()
    (tmp_path / "copy.toml").write_text(suite_as_toml(suite), encoding="utf-8")
    assert with_search_spaces(load_suite(str(tmp_path / "copy.toml"))) == suite
    assert {name for name, spec in suite.models.items() if not spec.search} == {"prior"}


def test_a_table_adds_to_the_space_of_the_class_replaces_and_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        "[models.svm]\n"
        'encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]\nhead = { class = "baselines.svm:SVM" }\n'
        '[models.svm.search]\n"head.C" = [[1], [2]]\n"head.gamma" = false\n"encoders.0.side" = [4, 8]\n'
        '[models.none]\nsearch = {}\nhead = { class = "deep.probe:LogisticProbe" }\n'
        '[models.probe]\nhead = { class = "deep.probe:LogisticProbe" }\n'
    )
    suite = load_suite(str(tmp_path / "mine.toml"))
    models = with_search_spaces(suite).models
    found = {name: {key: each.as_table() for key, each in spec.search.items()} for name, spec in models.items()}
    assert found["svm"] == {"head.C": [[1], [2]], "encoders.0.side": [4, 8]}
    assert found["none"] == {}
    assert found["probe"] == {"head.C": {"low": 1e-5, "high": 0.3, "log": True, "as_list": True}}
    (tmp_path / "copy.toml").write_text(suite_as_toml(suite), encoding="utf-8")
    assert load_suite(str(tmp_path / "copy.toml")).models["svm"] == suite.models["svm"]


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "trials.journal").write_text("no json\n{}\n")
    with pytest.raises(UserError, match=r"trials\.journal: is damaged"):
        open_journal(tmp_path)
