"""Wrong words on the command line, and files that cannot be written, give one line and no traceback."""

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
