"""Class names that cannot be meant are findings before anyone trains: twins, lists, measured numbers, whole texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from radiographs.audit.labels import odd_labels

Command = Callable[..., Any]


def codes(names: list[str], images: int = 10) -> set[str]:
    return {code for code, _ in odd_labels(dict.fromkeys(names, images))}


@pytest.mark.parametrize(
    "names",
    [
        ["Knee", "knee"],
        ["Caf\u00e9", "Cafe\u0301"],
        ["Lower Leg", "lower_leg"],
        ["Hand", "Hand "],
        ["Hand", "Ha\u200bnd"],
        ["01", "1"],
        ["Hip\u00a0left", "Hip left"],
    ],
)
def test_twins_in_another_spelling_are_found_and_can_be_told_apart(names: list[str]) -> None:
    ((code, words),) = odd_labels(dict.fromkeys([*names, "Skull"], 10))
    assert code == "D014"
    one, other = words.split(" and ", 1) if words.count(" and ") == 1 else ("", "x")
    assert one.split(" (")[0] != other.split(" (")[0]


@pytest.mark.parametrize(
    "names", [["['a', 'b']", "c"], ["['a']", "['b']"], ['["a", "b"]', "c"], ["(a, b)", "c"], ["a|b", "a", "b"], ["a; b", "a"],
    ["a,b", "a", "b"], ["3 9", "3", "9"], ["Hand/Wrist", "Hand", "Wrist"]],
)  # fmt: skip
def test_lists_and_joined_labels_are_no_class(names: list[str]) -> None:
    assert codes(names) == {"D015"}


@pytest.mark.parametrize(
    "names",
    [
        [str(age) for age in range(20, 60)],
        [str(age) for age in range(1, 41)],
        [f"{k / 7:.2f}" for k in range(12)],
        [f"{k:03d}Y" for k in range(12)],
        ["x" * 10_000_000, "y"],
    ],
)
def test_measured_values_and_whole_texts_are_no_class(names: list[str]) -> None:
    assert codes(names) == {"D016"}
    assert all(len(words) < 300 for _, words in odd_labels(dict.fromkeys(names, 10)))


def test_as_many_classes_as_images_are_no_classes() -> None:
    assert codes([f"scan {c}" for c in "abcdefghijkl"], images=1) == {"D016"}
    assert codes([f"patient{k}" for k in range(6)], images=2) == {"D016"}


@pytest.mark.parametrize(
    "names",
    [
        ["Cervical Spine", "Chest", "Hand/Wrist", "(other)"],
        [str(k) for k in range(22)],
        [str(k) for k in range(5)],
        ["NA", "nan", "01", "02"],
        ["56208002", "72696002"],
        ["Lower Leg", "Leg", "Lower", "hand_wrist", "hand", "wrist"],
    ],
)
def test_ordinary_classes_are_not_odd(names: list[str]) -> None:
    assert codes(names) == set()


@pytest.fixture
def table(tmp_path: Path) -> Callable[[list[str]], Path]:
    """Write pictures with these labels."""

    def write(labels: list[str]) -> Path:
        rng, folder = np.random.default_rng(0), tmp_path / "data"
        folder.mkdir()
        for k in range(len(labels)):
            Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(folder / f"{k}.png")
        rows = pd.DataFrame({"file": [f"{k}.png" for k in range(len(labels))], "label": labels})
        rows.to_csv(folder / "labels.csv", index=False)
        return folder

    return write


def test_run_says_it_before_training_and_check_fails(bench_command: Command, table: Callable[..., Path]) -> None:
    folder = table([("Knee", "knee", "Hand")[k % 3] for k in range(30)])
    check = bench_command("data", "check", folder)
    assert check.returncode == 1
    assert "D014 error" in check.stdout
    run = bench_command("run", "prior", "--data", folder)
    assert "D014: 'Knee' (10 images) and 'knee' (10 images)" in run.stdout


def test_a_label_of_ten_megabytes_is_refused_in_one_short_line(
    bench_command: Command, table: Callable[..., Path]
) -> None:
    folder = table(["x" * 10_000_000 if k == 0 else "ab"[k % 2] for k in range(20)])
    run = bench_command("run", "prior", "--data", folder)
    assert run.returncode == 2
    assert "is not a class name: give another --label-column" in run.stderr
    assert len(run.stderr) < 1000
    check = bench_command("data", "check", folder, "--json", "check.json")
    assert check.returncode == 1
    assert {"D004", "D016"} <= {each["code"] for each in json.loads(Path("check.json").read_text())["findings"]}
    assert len(check.stdout) + Path("check.json").stat().st_size < 50_000


@pytest.mark.parametrize(
    ("labels", "patients", "said"),
    [
        (["a"] * 12, range(12), "1 class (a)"),
        (["a", "b"] * 6, [1, 2, 3] * 4, "3 groups cannot fill 5 folds"),
        (["a", "b"] * 6, [1] * 11 + [2], "2 groups cannot fill 5 folds"),
    ],
)
def test_check_fails_wherever_run_refuses(
    bench_command: Command, table: Callable[..., Path], labels: list[str], patients: Any, said: str
) -> None:
    folder = table(labels)
    rows = pd.read_csv(folder / "labels.csv").assign(person=[f"P{p}" for p in patients])
    rows.to_csv(folder / "labels.csv", index=False)
    run = bench_command("run", "prior", "--data", folder, "--group-column", "person")
    assert run.returncode == 2
    assert said in run.stderr
    check = bench_command("data", "check", folder, "--group-column", "person")
    assert check.returncode == 1
    assert "D004 error" in check.stdout
    assert said in check.stdout


def test_a_class_whose_images_are_all_refused_is_named(bench_command: Command, table: Callable[..., Path]) -> None:
    folder = table(["abc"[k % 3] for k in range(30)])
    for k in range(2, 30, 3):
        (folder / f"{k}.png").write_bytes(b"\x89PNG")
    check = bench_command("data", "check", folder)
    assert "c: none of its 10 images can be used" in check.stdout
    assert "D013: c: none of its 10 images can be used" in bench_command("run", "prior", "--data", folder).stdout
