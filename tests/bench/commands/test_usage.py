"""Wrong words on the command line, and files that cannot be written, give one line and no traceback."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import invoke

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command"),
        (["run", "--nonsense"], "No such option"),
        (["run", "--folds", "x"], "--folds"),
        (["report", "--figures"], "requires an argument"),
        (["data", "check"], "Missing argument"),
        (["run", "--device", "tpu"], "is not one of"),
    ],
)
def test_a_wrong_word_is_said_in_words(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert invoke(arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert "Traceback" not in said


def test_a_file_that_cannot_be_written_is_named(bench_command: Command, phantom_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    done = bench_command("data", "check", phantom_folder, "--json", tmp_path / "folder")
    assert done.returncode == 2
    assert "folder: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    made = bench_command("splits", phantom_folder, "--folds", 3, "--out", "/proc/nowhere/s.json")
    assert made.returncode == 2
    assert "Traceback" not in made.stderr


def test_a_report_that_cannot_be_written_is_one_line(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    run = bench_command("run", "prior", "--data", phantom_folder, "--folds", 3, "--out", tmp_path / "run")
    assert run.returncode == 0
    (tmp_path / "run" / "report").write_text("in the way")
    done = bench_command("report", tmp_path / "run", "--html")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "report" in done.stderr


def test_a_wrong_parameter_is_refused_before_a_run_folder_is_begun(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    line = ("run", "hog-svm", "--data", phantom_folder, "--folds", 2, "--no-pictures", "--out", "run")
    wrong = bench_command(*line, "--set", "models.hog-svm.head.gama=1")
    assert wrong.returncode == 2
    assert "models.hog-svm.head: SVM has no parameter 'gama'; did you mean 'gamma'" in wrong.stderr
    assert not (tmp_path / "run" / "run.json").exists()
    assert bench_command(*line).returncode == 0


def test_a_dictionary_that_is_missing_is_refused_before_a_run_folder_is_begun(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[models.fisher]\nhead = { class = "baselines.svm:SVM" }\n'
        'encoders = [{ class = "baselines.fisher:FisherVector", dictionary = "missing.safetensors" }]\n'
    )
    done = bench_command("run", "--all", "--suite", "mine.toml", "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert done.returncode == 2
    assert "models.fisher.encoders.0: dictionary missing.safetensors: No such file" in done.stderr
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_that_was_begun_but_holds_no_cell_is_started_again(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    line = ("run", "prior", "--data", phantom_folder, "--folds", 2, "--no-pictures", "--out", "run")
    assert bench_command(*line).returncode == 0
    shutil.rmtree(tmp_path / "run" / "cells")
    again = bench_command(*line, "--seed", 1)
    assert again.returncode == 0
    assert "was begun with another seed" in again.stdout
    refused = bench_command(*line, "--seed", 2)
    assert refused.returncode == 2
    assert "another seed" in refused.stderr


def test_out_of_the_report_of_one_run_is_refused(bench_command: Command) -> None:
    done = bench_command("report", "run", "--html", "--out", "elsewhere")
    assert done.returncode == 2
    assert "--out: is for several data sets" in done.stderr
