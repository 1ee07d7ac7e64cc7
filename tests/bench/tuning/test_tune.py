"""``bench tune`` on real files: nested, fair, resumable, and what it chose is what a run uses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from baselines.selection import best_f1_samples
from bench.recipes.suite import load_suite
from bench.store.run_folder import Cell
from bench.tuning.study import Budget, FoldStudy, Trial
from reports.runs.results import load
from reports.runs.tuning import summarise_tuning

Command = Callable[..., Any]
TRIALS = 6


@pytest.fixture
def tuned(command: Command, place: Path) -> Path:
    """Folder of a whole search, the same for all tests."""
    out = place / "tuned"
    if not (out / "tuned.toml").exists():
        done = command("tune", "--all", "--trials", TRIALS, "--out", out)
        assert done.returncode == 0, done.stdout + done.stderr
        (out / "said").write_text(done.stdout)
    return out


def trials(folder: Path) -> pd.DataFrame:
    """All trials but for their seconds."""
    table = pd.read_csv(folder / "trials.csv").drop(columns="seconds")
    return table.assign(values=table["values"].map(json.loads))


def validation_score(run: Path, model: str, fold: int) -> float:
    """Score of a cell's stored predictions of the validation part."""
    table = pd.read_parquet(run / f"cells/{model}/r0-f{fold}/predictions.parquet").query("part == 'valid'")
    truth, probability = (table.filter(like=f"{kind}/").to_numpy() for kind in ("truth", "probability"))
    return best_f1_samples(probability, truth)


def test_every_model_gets_the_same_budget_and_the_table_says_so(tuned: Path) -> None:
    table, said = trials(tuned), (tuned / "said").read_text()
    assert (table.groupby(["model", "fold"]).size() == TRIALS).all()
    assert set(table["model"]) == {"svm", "means"}
    assert f"Every tuned model got the same budget in each fold, {TRIALS} trials" in said
    assert "Not tuned, without a search space: prior." in said
    assert all(not values for values in table.loc[table["trial"] == 0, "values"])
    assert (table["status"] == "pruned").any()  # `means` reports its losses, and those far from 5 are stopped
    assert set(table.loc[table["model"] == "svm", "status"]) == {"done"}


def test_a_run_takes_each_folds_values_and_gets_the_scores_they_were_chosen_by(
    tuned: Path, command: Command, tmp_path: Path
) -> None:
    done = command("run", "--all", "--no-pictures", "--out", "run", suite=tuned / "tuned.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    own = command("run", "svm", "--no-pictures", "--out", "own")
    assert own.returncode == 0, own.stderr
    suite, table = load_suite(str(tuned / "tuned.toml")), trials(tuned)
    used = suite.models["svm"].tuned
    assert used is not None
    assert used.folds["r0-f0"] != used.folds["r0-f1"]
    for fold in (0, 1):
        of_fold = table[(table["model"] == "svm") & (table["fold"] == fold)]
        cell = json.loads((tmp_path / f"run/cells/svm/r0-f{fold}/cell.json").read_text())
        values = used.folds[f"r0-f{fold}"]
        assert [cell["chosen"]["C"], cell["chosen"]["gamma"]] == [values["head.C"][0], values["head.gamma"][0]]
        assert f"side={values['encoders.0.side']}" in cell["timings"]["encode"][0]["encoder"]
        assert validation_score(tmp_path / "run", "svm", fold) == of_fold["score"].max()
        assert validation_score(tmp_path / "own", "svm", fold) == of_fold["score"].iloc[0] < of_fold["score"].max()
        assert cell["key"] != json.loads((tmp_path / f"own/cells/svm/r0-f{fold}/cell.json").read_text())["key"]
    again = command("run", "--all", "--no-pictures", "--out", "run", suite=tuned / "tuned.toml")
    assert "0 cells computed, 6 kept" in again.stdout
    sentence = f"Every model but prior was tuned with {TRIALS} trials per fold on the validation part alone."
    assert summarise_tuning(load(tmp_path / "run")) == sentence
    assert summarise_tuning(load(tmp_path / "own")) == ""


def test_a_cells_key_depends_on_every_folds_values(tuned: Path, command: Command) -> None:
    arguments = ("run", "means", "--no-pictures", "--out", "run")
    assert command(*arguments, suite=tuned / "tuned.toml").returncode == 0
    changed = tuned / "changed.toml"
    lines = (tuned / "tuned.toml").read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("[models.means.tuned.folds"))
    lines.insert(first + 1, '"head.sharpness" = 0.123')
    changed.write_text(
        "\n".join(line for line in lines if not line.startswith('"head.sharpness" = ') or "0.123" in line)
    )
    done = command(*arguments, suite=changed)
    assert done.returncode == 2
    assert "other parameters of means (tuned" in done.stderr


def test_stability_names_the_values_and_the_gain(tuned: Path) -> None:
    table = pd.read_csv(tuned / "stability.csv").set_index(["model", "parameter"])
    suite = load_suite(str(tuned / "tuned.toml")).models["svm"].tuned
    assert suite is not None
    values = [suite.folds[f"r0-f{fold}"]["head.C"][0] for fold in (0, 1)]
    row = table.loc[("svm", "head.C")]
    assert [float(row["r0-f0"]), float(row["r0-f1"])] == values
    assert row["cv"] == pytest.approx(np.std(values, ddof=1) / np.mean(values))
    assert row["gain"] == pytest.approx(row["tuned"] - row["baseline"])
    assert row["gain"] > 0
    assert table.loc[("svm", "encoders.0.side"), "n_agree"] in (1, 2)


def test_other_splits_are_refused_in_one_line(tuned: Path, command: Command) -> None:
    for option in (("--seed", 1), ("--folds", 3), ("--limit", 30)):
        done = command("run", "svm", "--no-pictures", "--out", "other", *option, suite=tuned / "tuned.toml")
        assert done.returncode == 2
        assert "models.svm.tuned: was tuned on other splits" in done.stderr
        assert not list(Path("other").glob("cells/*/*/cell.json"))
        shutil.rmtree("other", ignore_errors=True)


def test_patients_are_held_out_of_a_search_and_the_run_must_hold_out_the_same(command: Command) -> None:
    done = command("tune", "means", "--trials", 2, "--holdout", 0.2, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "are held out for the final test" in done.stdout
    refused = command("run", "means", "--no-pictures", "--out", "all", suite=Path("out/tuned.toml"))
    assert "models.means.tuned: was tuned on other splits" in refused.stderr
    run = command("run", "means", "--no-pictures", "--holdout", 0.2, "--out", "run", suite=Path("out/tuned.toml"))
    assert "2 cells computed" in run.stdout


def test_what_was_tuned_cannot_be_set_or_tuned_again(tuned: Path, command: Command) -> None:
    done = command("run", "svm", "--out", "x", "--set", "models.svm.head.C=[1]", suite=tuned / "tuned.toml")
    assert "--set models.svm.head.C: was tuned for each fold" in done.stderr
    done = command("tune", "svm", "--trials", 2, suite=tuned / "tuned.toml")
    assert "models.svm: is already tuned" in done.stderr


def test_a_killed_search_goes_on_as_if_it_had_not_been(tuned: Path, place: Path, command: Command) -> None:
    out = place / "killed"
    (place / "hang").touch()
    arguments = ["tune", "--all", "--suite", place / "small.toml", "--data", place / "data", "--trials", TRIALS]
    environment = {**os.environ, "XRAYBENCH_CACHE": str(place / "cache")}
    with subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *map(str, arguments), "--out", str(out)],
        env=environment,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    ) as process:
        while not (place / "hangs").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    (place / "hang").unlink()
    with (out / "trials.journal").open("ab") as stream:
        stream.write(b'{"op_code":6,"worker')  # as a kill in the middle of a write leaves it
    assert not (out / "tuned.toml").exists()
    done = command("tune", "--all", "--trials", TRIALS, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    pd.testing.assert_frame_equal(trials(out), trials(tuned))
    assert (out / "tuned.toml").read_bytes() == (tuned / "tuned.toml").read_bytes()
    assert not (out / "lock").exists()


def test_an_interrupt_says_how_to_go_on_and_a_larger_budget_goes_on(
    tuned: Path, place: Path, command: Command, tmp_path: Path
) -> None:
    (place / "interrupt").touch()
    done = command("tune", "means", "--trials", TRIALS - 2, "--out", "out")
    (place / "interrupt").unlink()
    assert done.returncode == 130
    assert "finished trials are kept in out; resume with:" in done.stdout
    assert not (tmp_path / "out/lock").exists()
    assert command("tune", "means", "--trials", TRIALS - 2, "--out", "out").returncode == 0
    assert len(trials(tmp_path / "out")) == 2 * (TRIALS - 2)
    assert command("tune", "means", "--trials", TRIALS, "--out", "out").returncode == 0
    whole = trials(tuned).query("model == 'means'").reset_index(drop=True)
    pd.testing.assert_frame_equal(trials(tmp_path / "out"), whole)
    refused = command("tune", "means", "--trials", TRIALS, "--seed", 1, "--out", "out")
    assert "was tuned here with other data, splits, seed, parameters or search space" in refused.stderr


def test_seconds_are_a_budget_too() -> None:
    made = [
        Trial({}, "done", 0.5, 4.0),
        Trial({"a": 1}, "pruned", float("nan"), 4.0),
        Trial({"a": 2}, "done", 0.6, 4.0),
    ]
    assert Budget(seconds=5).within(made) == made[:2]  # the second began in time
    assert Budget(seconds=5).is_spent(made[:2])
    assert not Budget(seconds=9).is_spent(made[:2])
    assert Budget(trials=2).within(made) == made[:2]
    assert FoldStudy(Cell("m", 0, 0), (made[0], made[1], replace(made[2], score=0.5))).best == made[0]


def test_every_model_spends_its_seconds_and_begins_no_trial_after_them(command: Command, tmp_path: Path) -> None:
    done = command("tune", "svm", "means", "--seconds", 0.4, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "the same budget in each fold, 0.4 seconds of fitting and predicting" in done.stdout
    for _, study in pd.read_csv(tmp_path / "out/trials.csv").groupby(["model", "fold"]):
        assert study["seconds"].sum() >= 0.4 > study["seconds"].iloc[:-1].sum()
    used = load_suite("out/tuned.toml").models["svm"].tuned
    assert used is not None
    assert (used.seconds, used.trials) == (0.4, None)


def test_a_report_says_which_models_were_not_tuned_alike() -> None:
    twenty, fifty, minute = {"trials": 20}, {"trials": 50, "seconds": None}, {"trials": None, "seconds": 60.0}

    def said(**models: dict[str, Any] | None) -> str:
        return summarise_tuning(SimpleNamespace(models={k: {"tuned": v} if v else {} for k, v in models.items()}))

    assert said(a=None) == ""
    assert said(a=twenty, b=twenty) == "Every model was tuned with 20 trials per fold on the validation part alone."
    assert said(a=minute, b=None).startswith("Every model but b was tuned with 60 seconds per fold")
    unlike = said(a=twenty, b=fifty, c=None)
    assert unlike == "Models were not tuned alike: per fold, a with 20 trials, b with 50 trials; not at all, c."
