"""What a model of a suite is trained on and started from, by the real command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Command = Callable[..., Any]


def test_a_share_of_the_training_patients_is_what_a_model_learns_from(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "shares.toml").write_text(
        'name = "shares"\n'
        + "".join(
            f"[models.hog-{share}]\ntrain_share = {share / 100}\n"
            'encoders = [{ class = "baselines.hog:HOG" }]\nhead = { class = "baselines.svm:SVM" }\n'
            for share in (30, 100)
        )
    )
    done = bench_command(
        "run", "--all", "--suite", "shares.toml", "--data", phantom_folder, "--folds", 3, "--out", "run"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    splits = pd.read_parquet(tmp_path / "run/splits.parquet")
    patients = pd.read_csv(phantom_folder / "metadata.csv").set_index("SOPInstanceUID")["PatientID"]
    for fold in range(3):
        few, all_ = (
            json.loads(p.read_text())
            for p in sorted(tmp_path.glob(f"run/cells/hog-*/r0-f{fold}/cell.json"), reverse=True)
        )
        train = splits[(splits["fold"] == fold) & (splits["part"] == "train")]["image_id"]
        assert all_["n_train"] == len(train)
        mean = len(train) / train.map(patients).nunique()
        assert few["n_train"] == pytest.approx(0.3 * len(train), abs=3 * mean)
        assert few["n_test"] == all_["n_test"]
    done = bench_command(
        "run", "--all", "--suite", "shares.toml", "--data", phantom_folder, "--set", "models.hog-30.train_share=0"
    )
    assert done.returncode == 2
    assert "models.hog-30.train_share: input should be greater than 0" in done.stderr


def test_weights_that_cannot_be_had_skip_the_cell_with_the_reason(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    done = bench_command(
        "run", "prior", "squeezenet-probe", "--data", phantom_folder, "--folds", 3, "--offline", "--out", "run"
    )
    assert done.returncode == 0, done.stderr
    assert "skipped: no weights for squeezenet1_0" in done.stdout
    bench_command("report", "run", "--csv")
    table = pd.read_csv(tmp_path / "run/report/tables/summary.csv").set_index("model")
    assert table.loc["squeezenet-probe", "status"] == "skipped"
    assert "no weights for squeezenet1_0" in table.loc["squeezenet-probe", "reason"]


def test_real_pretrained_networks_run_end_to_end(
    bench_command: Command, phantom_folder: Path, weights_dir: Path, tmp_path: Path
) -> None:
    models = ("squeezenet-probe", "squeezenet-svm", "fusion-svm", "squeezenet-finetune")
    done = bench_command(
        "run",
        *models,
        "--data",
        phantom_folder,
        "--folds",
        2,
        "--epochs",
        2,
        "--set",
        "models.squeezenet-finetune.encoders.0.side=0",
        "--weights-dir",
        weights_dir,
        "--out",
        "run",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench_command("report", "run").returncode == 0
    table = pd.read_csv(tmp_path / "run/report/tables/summary.csv").set_index("model")
    assert table.loc[list(models), "accuracy_mean"].min() > 0.7
