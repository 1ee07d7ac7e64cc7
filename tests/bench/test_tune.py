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
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from baselines.selection import best_f1_samples
from bench.cell import Data, Runner, recipe_digest
from bench.encodings import Encodings
from bench.errors import UserError
from bench.live import View
from bench.model import Resources
from bench.store import Cell
from bench.suite import load_suite
from bench.tuning.journal import open_journal
from bench.tuning.study import Budget, Study, Trial, Tuner
from bench.tuning.toml import suite_as_toml
from reports.results import load
from reports.tuning import tuning_in_words

Command = Callable[..., Any]
TRIALS = 6
SUITE = """
name = "small"
[preprocessing]
side = 32
[cv]
folds = 2
[models.prior]
head = { class = "baselines.prior:Prior" }
[models.svm]
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]
head = { class = "baselines.svm:SVM", C = [0.01], gamma = [0.01] }
[models.svm.search]
"head.C" = { low = 0.01, high = 100, log = true, as_list = true }
"head.gamma" = { low = 0.01, high = 5, log = true, as_list = true }
"encoders.0.side" = [2, 8]
[models.means]
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 4 }]
head = { class = "heads:Means" }
[models.means.search]
"head.sharpness" = { low = 0.1, high = 10 }
"""
HEADS = '''
"""A head that has epochs, whose later trials are worse from the start, and that may be told to hang or to interrupt."""
import time
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent


class Means:
    def __init__(self, sharpness=5.0, on_epoch=None):
        self.sharpness, self.on_epoch = sharpness, on_epoch

    def fit(self, X, y, X_valid, y_valid, seed):
        self.means_ = np.stack([X[y[:, k] == 1].mean(axis=0) for k in range(y.shape[1])])
        for epoch in range(1, 4):
            if self.on_epoch:
                loss = abs(self.sharpness - 5)
                self.on_epoch({"epoch": epoch, "epochs": 3, "train_loss": loss, "valid_loss": loss, "seconds": 0.0})
        if (HERE / "interrupt").exists() and self.sharpness != 5.0:
            raise KeyboardInterrupt
        if (HERE / "hang").exists() and self.sharpness != 5.0:
            (HERE / "hangs").touch()
            time.sleep(60)
        return self

    def predict_proba(self, X):
        distance = ((X[:, None] - self.means_) ** 2).mean(axis=2)
        return np.exp(-self.sharpness * distance / distance.mean())
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> Path:
    """A folder with data, a suite, its own head, and a cache that the tests share."""
    place = tmp_path_factory.mktemp("tune")
    shutil.copytree(phantom_folder, place / "data")
    (place / "small.toml").write_text(SUITE)
    (place / "heads.py").write_text(HEADS)
    return place


@pytest.fixture
def command(bench_command: Command, place: Path) -> Command:
    """Run a command on the data and the suite of `place`."""

    def run(name: str, *arguments: object, suite: Path = place / "small.toml") -> Any:
        given = ("--suite", suite, "--data", place / "data")
        return bench_command(name, *arguments, *given, cache=place / "cache")

    return run


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
    assert "Not tuned, for want of a search space: prior." in said
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
    assert tuning_in_words(load(tmp_path / "run")) == sentence
    assert tuning_in_words(load(tmp_path / "own")) == ""


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
    assert "are held out for the last test" in done.stdout
    refused = command("run", "means", "--no-pictures", "--out", "all", suite=Path("out/tuned.toml"))
    assert "models.means.tuned: was tuned on other splits" in refused.stderr
    run = command("run", "means", "--no-pictures", "--holdout", 0.2, "--out", "run", suite=Path("out/tuned.toml"))
    assert "2 cells computed" in run.stdout


def test_what_was_tuned_cannot_be_set_or_tuned_again(tuned: Path, command: Command) -> None:
    done = command("run", "svm", "--out", "x", "--set", "models.svm.head.C=[1]", suite=tuned / "tuned.toml")
    assert "--set models.svm.head.C: was tuned for each fold" in done.stderr
    done = command("tune", "svm", "--trials", 2, suite=tuned / "tuned.toml")
    assert "models.svm: is tuned already" in done.stderr


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
    assert "finished trials are kept in out; go on with:" in done.stdout
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
    assert Study(Cell("m", 0, 0), (made[0], made[1], replace(made[2], score=0.5))).best == made[0]


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
        return tuning_in_words(SimpleNamespace(models={k: {"tuned": v} if v else {} for k, v in models.items()}))

    assert said(a=None) == ""
    assert said(a=twenty, b=twenty) == "Every model was tuned with 20 trials per fold on the validation part alone."
    assert said(a=minute, b=None).startswith("Every model but b was tuned with 60 seconds per fold")
    unlike = said(a=twenty, b=fifty, c=None)
    assert unlike == "Models were not tuned alike: per fold, a with 20 trials, b with 50 trials; not at all, c."


def small_data(rng: np.random.Generator) -> Data:
    """Sixty images of three classes that noise nearly hides, and the one fold that there is."""
    y = np.eye(3, dtype=np.int8)[rng.integers(0, 3, 60)]
    images = rng.integers(0, 256, (60, 32, 32)).astype(np.uint8)
    images[:, :16, :16] = np.minimum(255, images[:, :16, :16] // 2 + 40 * y.argmax(axis=1)[:, None, None])
    ids = np.array([f"i{k:02d}" for k in range(60)])
    part = np.repeat(["train", "valid", "test"], [30, 15, 15])
    splits = pd.DataFrame({"image_id": ids, "repeat": 0, "fold": 0, "part": part})
    return Data(ids, images, ids, y, ("a", "b", "c"), "multiclass", True, splits, "0" * 64, 0.0)


class Seeing(Runner):
    """A runner that keeps the validation part's probabilities of each trial."""

    seen: ClassVar[list[np.ndarray]] = []

    def validated(self) -> np.ndarray:
        """As the runner does."""
        probability = super().validated()
        self.seen.append(probability)
        return probability


def outcome(data: Data, place: Path, folder: Path, model: str) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """What a search gives on data, but for its seconds: the trials, and the probabilities that they were scored by."""
    folder.mkdir()
    Seeing.seen.clear()
    spec = load_suite(str(place / "small.toml")).models[model]
    resources = Resources(task="multiclass", threads=1)
    encodings = Encodings(data.images, str(hash(data.images.tobytes())), folder / "cache", resources)
    view = View(Console(quiet=True))
    tuner = Tuner(open_journal(folder), data, encodings, resources, 0, Budget(trials=4), view)
    study = tuner.tune(Cell(model, 0, 0), spec)
    trials = [(trial.values, trial.status, repr(trial.score), trial.reason) for trial in study.trials]
    return trials, np.stack(Seeing.seen)  # (n_scored, n_valid, n_classes)


@pytest.mark.parametrize(
    ("model", "rounding"),
    [
        ("means", 0.0),
        ("svm", 1e-5),  # distances are taken from the mean of all images, which moves their last bits and nothing else
    ],
)
def test_the_test_part_decides_nothing(
    place: Path, tmp_path: Path, model: str, rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr("bench.tuning.study.Runner", Seeing)
    data = small_data(np.random.default_rng(0))

    def poisoned(part: str) -> Data:
        rows = data.part(0, 0) == part
        images, y = data.images.copy(), data.y.copy()
        images[rows], y[rows] = 255 - images[rows], np.roll(y[rows], 1, axis=1)
        return replace(data, images=images, y=y)

    clean, seen = outcome(data, place, tmp_path / "clean", model)
    trials, probabilities = outcome(poisoned("test"), place, tmp_path / "test", model)
    assert trials == clean
    np.testing.assert_allclose(probabilities, seen, rtol=0, atol=rounding)
    trials, probabilities = outcome(poisoned("valid"), place, tmp_path / "valid", model)  # which may decide
    assert trials != clean
    assert abs(probabilities - seen).max() > 0.01


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ('{"head.gama" = [[1], [2]]}', "models.svm.search: SVM has no parameter 'gama'; did you mean 'gamma'"),
        (
            '{"head.C" = {low = 3, high = 1}}',
            "models.svm.search.head.C: give a list of choices, or low and a larger high",
        ),
        ('{"head.C" = [[1]]}', "models.svm.search.head.C: give two choices or more"),
        ('{"head.C" = {low = 0, high = 1, log = true}}', "models.svm.search.head.C: log wants a low above 0"),
        ('{"head.C" = {low = 0.5, high = 1, int = true}}', "models.svm.search.head.C: int wants whole numbers"),
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
    suite = load_suite("standard")
    bare = suite.model_copy(
        update={"models": {k: v.model_copy(update={"search": {}}) for k, v in suite.models.items()}}
    )
    assert bare.digest == suite.digest
    assert recipe_digest(bare.models["hog-svm"]) == recipe_digest(suite.models["hog-svm"])
    assert "search" not in suite.models["hog-svm"].as_dict()
    assert "tuned" not in suite.models["hog-svm"].as_dict()
    (tmp_path / "copy.toml").write_text(suite_as_toml(suite), encoding="utf-8")
    assert load_suite(str(tmp_path / "copy.toml")) == suite
    assert {name for name, spec in suite.models.items() if not spec.search} == {"prior"}


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "trials.journal").write_text("no json\n{}\n")
    with pytest.raises(UserError, match=r"trials\.journal: is damaged"):
        open_journal(tmp_path)
