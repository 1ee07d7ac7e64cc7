"""The real command on real files: results, resuming, kills, and every wrong input in one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports.runs.format import SCHEMA

Command = Callable[..., Any]
MODELS = ("prior", "hog-svm", "lbp-xgboost")


def predictions(run: Path) -> dict[str, bytes]:
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted(run.glob("cells/*/*/predictions.parquet"))}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> tuple[Path, Path]:
    """A whole run of three models on the phantom, and its cache."""
    place = tmp_path_factory.mktemp("first")
    environment = {**os.environ, "XRAYBENCH_CACHE": str(place / "cache")}
    command = [
        sys.executable,
        "-m",
        "bench.cli",
        "run",
        *MODELS,
        "--data",
        str(phantom_folder),
        "--folds",
        "3",
        "--out",
        str(place / "run"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 images, 3 classes" in done.stdout
    assert "SYNTHETIC" in done.stdout
    return place / "run", place / "cache"


def test_a_run_folder_holds_what_is_promised(first_run: tuple[Path, Path]) -> None:
    run, _ = first_run
    facts = json.loads((run / "run.json").read_text())
    assert facts["schema"] == SCHEMA
    assert facts["suite"]["name"] == "quick"
    assert facts["data"]["synthetic"] is True
    splits = pd.read_parquet(run / "splits.parquet")
    manifest = pd.read_parquet(run / "manifest.parquet").set_index("image_id")
    for model in MODELS:
        for fold in range(3):
            cell = json.loads((run / f"cells/{model}/r0-f{fold}/cell.json").read_text())
            table = pd.read_parquet(run / f"cells/{model}/r0-f{fold}/predictions.parquet")
            here = splits[splits["fold"] == fold].set_index("image_id")["part"]
            assert cell["status"] == "done"
            assert cell["timings"]["fit_seconds"] > 0
            assert cell["model_bytes"] > 0
            assert set(table.loc[table["part"] == "test", "image_id"]) == set(here.index[here == "test"])
            assert set(table.loc[table["part"] == "valid", "image_id"]) == set(here.index[here == "valid"])
            truth = table[[c for c in table if c.startswith("truth/")]].rename(
                columns=lambda c: c.removeprefix("truth/")
            )
            assert all(
                set(truth.columns[row == 1]) == set(manifest.loc[i, "labels"])
                for i, row in zip(table["image_id"], truth.to_numpy(), strict=True)
            )
            probability = table[[c for c in table if c.startswith("probability/")]].to_numpy()
            assert ((probability > 0) & (probability < 1)).all()
            groups = manifest.loc[here.index, "group"]
            assert pd.crosstab(groups, here).gt(0).sum(axis=1).max() == 1


def test_the_same_command_again_computes_nothing_and_changes_no_cell(
    bench_command: Command, first_run: tuple[Path, Path], phantom_folder: Path
) -> None:
    run, cache = first_run
    before = {p: p.stat().st_mtime_ns for p in run.glob("cells/*/*/*")}
    again = bench_command("run", *MODELS, "--data", phantom_folder, "--folds", 3, "--out", run, cache=cache)
    assert again.returncode == 0
    assert "0 cells computed, 9 kept" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in run.glob("cells/*/*/*")}


def test_another_folder_and_a_cold_cache_give_the_same_bytes(
    bench_command: Command, first_run: tuple[Path, Path], phantom_folder: Path, tmp_path: Path
) -> None:
    assert (
        bench_command("run", *MODELS, "--data", phantom_folder, "--folds", 3, "--out", tmp_path / "second").returncode
        == 0
    )
    assert predictions(tmp_path / "second") == predictions(first_run[0])


def test_verify_finds_changed_splits_and_a_changed_number(
    first_run: tuple[Path, Path], bench_command: Command, tmp_path: Path
) -> None:
    shutil.copytree(first_run[0], tmp_path / "run")
    assert bench_command("report", "run", "--csv").returncode == 0
    done = bench_command("verify", "run", "run/report/tables/summary.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 prediction files match their checksums" in done.stdout
    assert "0 differ" in done.stdout
    table = tmp_path / "run/report/tables/summary.csv"
    rows = table.read_text().splitlines()
    rows[2] = rows[2].replace(",0.", ",0.1", 1)
    table.write_text("\n".join(rows))
    done = bench_command("verify", "run", table)
    assert done.returncode == 1
    assert "summary.csv, hog-svm, accuracy_mean: 0.1" in done.stdout
    splits = pd.read_parquet(tmp_path / "run/splits.parquet")
    trained = splits.index[splits["part"] == "train"][0]
    splits.loc[trained, "part"] = "valid"
    splits.to_parquet(tmp_path / "run/splits.parquet")
    done = bench_command("verify", "run")
    assert done.returncode == 2
    assert "splits.parquet does not match its checksum" in done.stderr


def test_a_damaged_cell_is_named_and_computed_again(
    bench_command: Command, first_run: tuple[Path, Path], phantom_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(first_run[0], tmp_path / "run")
    victim = tmp_path / "run/cells/hog-svm/r0-f1/predictions.parquet"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    refused = bench_command("report", tmp_path / "run")
    assert refused.returncode == 2
    assert "predictions.parquet" in refused.stderr
    again = bench_command(
        "run", *MODELS, "--data", phantom_folder, "--folds", 3, "--out", tmp_path / "run", cache=first_run[1]
    )
    assert "hog-svm r0-f1: predictions.parquet does not match its checksum: computing it again" in again.stdout
    assert predictions(tmp_path / "run") == predictions(first_run[0])


def test_an_interrupt_keeps_the_cells_and_says_how_to_go_on(
    phantom_folder: Path, first_run: tuple[Path, Path], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "bench.cli",
        "run",
        "resnet18-scratch",
        "--suite",
        "standard",
        "--data",
        str(phantom_folder),
        "--out",
        str(tmp_path / "run"),
    ]
    environment = {**os.environ, "XRAYBENCH_CACHE": str(first_run[1])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("run phantom"):
            assert process.poll() is None
        time.sleep(3)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - start < 15
    assert "finished cells are kept" in out
    assert "Traceback" not in err
    assert not (tmp_path / "run/lock").exists()


def test_other_parameters_splits_or_data_are_named_and_refused(
    bench_command: Command, first_run: tuple[Path, Path], phantom_folder: Path
) -> None:
    run, cache = first_run
    for option, message in [
        (("--seed", 1), "another seed (0; now 1)"),
        (("--limit", 20), "another data"),
        (("--set", "models.hog-svm.head.C=[5]"), "other parameters of hog-svm (head"),
        (("--set", "preprocessing.denoise=median"), "other preprocessing (denoise = none; now median)"),
    ]:
        done = bench_command("run", *MODELS, "--data", phantom_folder, "--folds", 3, "--out", run, *option, cache=cache)
        assert done.returncode == 2
        assert message in done.stderr
        assert "give another --out" in done.stderr
    assert (
        "another splits (3 folds"
        in bench_command("run", "prior", "--data", phantom_folder, "--folds", 4, "--out", run, cache=cache).stderr
    )


def test_published_splits_are_used_and_strange_ones_refused(
    bench_command: Command, first_run: tuple[Path, Path], phantom_folder: Path, shared: Path, tmp_path: Path
) -> None:
    run, cache = first_run
    done = bench_command(
        "run",
        "prior",
        "--data",
        phantom_folder,
        "--splits",
        run / "splits.parquet",
        "--out",
        tmp_path / "again",
        cache=cache,
    )
    assert done.returncode == 0, done.stderr
    digests = [json.loads((r / "run.json").read_text())["splits"]["digest"] for r in (run, tmp_path / "again")]
    assert digests[0] == digests[1]
    strange = bench_command(
        "run",
        "prior",
        "--data",
        shared / "data/mednist",
        "--limit",
        60,
        "--splits",
        run / "splits.parquet",
        "--out",
        tmp_path / "strange",
        cache=cache,
    )
    assert strange.returncode == 2
    assert "made for another data set" in strange.stderr


def test_a_truncated_image_is_named_and_counted_in_the_report(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(phantom_folder, tmp_path / "data")
    victim = sorted((tmp_path / "data/images/train").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:700])
    done = bench_command("run", "prior", "--data", tmp_path / "data", "--folds", 3, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert f"excluded: images/train/{victim.name}: damaged or truncated" in done.stdout
    assert bench_command("report", tmp_path / "run", "--csv", "--html").returncode == 0
    assert victim.name.removesuffix("-c.png") in (tmp_path / "run/report/tables/excluded.csv").read_text()
    assert "damaged or truncated" in (tmp_path / "run/report/report.html").read_text()


def test_a_failing_cell_is_a_row_with_its_reason_and_is_tried_again(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        "import os\nclass Head:\n    def fit(self, X, y, X_valid, y_valid, seed):\n        self.n = y.shape[1]\n"
        "        if os.path.exists('broken'): raise ArithmeticError('my own\\nmistake')\n"
        "    def predict_proba(self, X):\n        import numpy as np\n        return np.full((len(X), self.n), 1 / self.n)\n"
    )
    (tmp_path / "own.toml").write_text('[models.own]\nfamily = "classical"\nhead = { class = "own:Head" }\n')
    (tmp_path / "broken").touch()
    arguments = ("run", "--all", "--suite", "own.toml", "--data", phantom_folder, "--folds", 3, "--out", "run")
    first = bench_command(*arguments)
    assert first.returncode == 1
    assert "ArithmeticError: my own mistake" in first.stdout
    assert "ArithmeticError" in json.loads((tmp_path / "run/cells/own/r0-f0/cell.json").read_text())["traceback"]
    (tmp_path / "broken").unlink()
    assert bench_command(*arguments).returncode == 0


@pytest.fixture
def one_class(tmp_path: Path) -> Path:
    for k in range(6):
        (tmp_path / "one/only").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40), 40 * k, np.uint8)).save(tmp_path / f"one/only/{k}.png")
    return tmp_path / "one"


def test_every_wrong_input_is_one_line_and_exit_2(
    bench_command: Command, phantom_folder: Path, one_class: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.csv").write_text("file,part\na.png,x\n")
    (tmp_path / "a_file").touch()
    wrong = {
        ("--all", "--data", "gone"): "gone: no such file or folder",
        ("--all", "--data", "unifesq"): "did you mean --data unifesp?",
        ("--all", "--data", "unifesp"): "bench list datasets",
        ("--all", "--data", "empty"): "empty: the folder is empty",
        ("--all", "--data", one_class): "1 class (only) in 6 images: a comparison needs two or more",
        ("--all", "--data", phantom_folder, "--folds", 1): "--folds 1: give 2 or more",
        ("--all", "--data", phantom_folder, "--folds", 90): "cannot fill 90 folds",
        ("--all", "--data", "labels.csv", "--label-column", "label"): "no column 'label'",
        ("hog-smv", "--data", phantom_folder): "did you mean 'hog-svm'",
        ("--all", "--suite", "quikc"): "did you mean 'quick'",
        ("--all", "--data", phantom_folder, "--out", "/proc/nowhere"): "/proc/nowhere: cannot be written to",
        ("--all", "--data", phantom_folder, "--out", "a_file"): "a_file: is a file",
        ("--all", "--data", phantom_folder, "--splits", "gone.csv"): "gone.csv: cannot be read as splits",
        ("--all", "--data", phantom_folder, "--set", "nonsense"): "write KEY=VALUE",
        ("--all", "--data", phantom_folder, "--weights-dir", "gone"): "--weights-dir gone: no such folder",
        ("prior", "--data", phantom_folder, "--limit", 0): "--limit 0",
        (): "name models to run, or give --all",
    }
    for arguments, message in wrong.items():
        done = bench_command("run", *arguments)
        assert done.returncode == 2, arguments
        assert message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "runs/phantom-quick/run.json").exists()
