"""Folders, caches and weights from strangers: nothing in them runs, nothing outside of them is read or written, and what is wrong is named."""

import json
import os
import pickle
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from radiographs.disk import sha256

from reports.runs.format import sealed

Command = Callable[..., Any]
MODELS = ("prior", "hog-svm")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (self.target,)


@pytest.fixture
def went_off(tmp_path: Path) -> Path:
    return tmp_path / "went_off"


@pytest.fixture
def run(bench_command: Command, phantom_folder: Path, tmp_path: Path) -> Path:
    done = bench_command("run", *MODELS, "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / "run"


def plant(folder: Path, bomb: Bomb) -> list[Path]:
    """Every kind of file that runs code when it is loaded carelessly, beside and in place of what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    content = pickle.dumps(bomb)
    planted = [
        folder / name
        for name in ("model.pkl", "model.joblib", "model.pt", "model.pth", "predictions.pkl", "svm.json.pkl")
    ]
    for path in planted:
        path.write_bytes(content)
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr(
            "schema.json", json.dumps({"__class__": "mkdir", "__module__": "os", "__loader__": "ObjectNode"})
        )
        archive.writestr("../../../../outside", "x")
    np.save(folder / "values.npy", np.array([bomb], dtype=object), allow_pickle=True)
    (folder / "model.yaml").write_text(f"!!python/object/apply:os.mkdir ['{bomb.target}']\n")
    with sqlite3.connect(folder / "study.db") as database:
        database.execute("create table trials (value blob)")
        database.execute("insert into trials values (?)", (content,))
    return planted


def test_nothing_in_a_run_folder_or_a_cache_is_run(
    bench_command: Command, run: Path, went_off: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    bomb = Bomb(went_off)
    for place in [
        run,
        run / "samples",
        *run.glob("cells/*/*"),
        *run.glob("cells/*/*/model"),
        *(tmp_path / "cache").rglob("*"),
    ]:
        if place.is_dir():
            plant(place, bomb)
    again = ("run", *MODELS, "--data", phantom_folder, "--folds", 2, "--out", "run")
    for command in [("report", "run", "--html"), ("verify", "run"), ("cite", "run"), again, ("report", "run", "--csv")]:
        done = bench_command(*command)
        assert "Traceback" not in done.stderr
        assert not went_off.exists(), command
    assert done.returncode == 0


def test_an_encoding_that_would_run_code_is_made_again(
    bench_command: Command, run: Path, went_off: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    for folder in (tmp_path / "cache/encodings").iterdir():
        np.save(folder / "values.npy", np.array([Bomb(went_off)], dtype=object), allow_pickle=True)
        facts = {"seconds": 1.0, "n_parameters": 0, "sha256": sha256(folder / "values.npy")}
        (folder / "encoding.json").write_text(json.dumps(sealed(facts)))
    before = {p: p.read_bytes() for p in run.glob("cells/*/*/predictions.parquet")}
    shutil.rmtree(run)
    assert bench_command("run", *MODELS, "--data", phantom_folder, "--folds", 2, "--out", "run").returncode == 0
    assert not went_off.exists()
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("kind", ["legacy", "zip", "safetensors"])
def test_weights_that_would_run_code_are_refused_by_name(
    bench_command: Command, went_off: Path, phantom_folder: Path, tmp_path: Path, kind: str
) -> None:
    torch = pytest.importorskip("torch")
    name = tmp_path / f"weights/squeezenet1_0-mine.{'safetensors' if kind == 'safetensors' else 'pth'}"
    name.parent.mkdir()
    if kind == "zip":
        torch.save({"state_dict": Bomb(went_off)}, name)
    else:
        name.write_bytes(pickle.dumps(Bomb(went_off)))
    done = bench_command(
        "run", "squeezenet-probe", "--data", phantom_folder, "--folds", 2, "--weights-dir", "weights", "--out", "run"
    )
    assert not went_off.exists()
    assert name.name in done.stdout
    assert "skipped" in done.stdout


def test_no_path_leads_out_of_the_run_folder(
    bench_command: Command, run: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    again = ("run", *MODELS, "--data", phantom_folder, "--folds", 2, "--out", "run")
    outside = tmp_path / "outside"
    shutil.move(run / "cells/prior", outside)
    (run / "cells/prior").symlink_to(outside)
    kept = {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()}
    for command in (("report", "run"), again):
        done = bench_command(*command)
        assert done.returncode == 2
        assert "outside of the run folder" in done.stderr or "outside the run folder" in done.stderr
    assert {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()} == kept
    (run / "cells/prior").unlink()
    shutil.move(outside, run / "cells/prior")

    cell = run / "cells/prior/r0-f0/cell.json"
    record = json.loads(cell.read_text())
    secret = tmp_path / "secret"
    secret.write_text("x")
    record["checksums"]["../../../../secret"] = "0"
    cell.write_text(json.dumps(sealed(record)))
    assert "prior r0-f0: ../../../../secret does not match its checksum" in bench_command(*again).stdout

    samples = run / "samples/samples.json"
    entries = json.loads(samples.read_text())
    entries[0]["before"] = "../../secret"
    samples.write_text(json.dumps(entries))
    (run / "pictures.json").write_text(
        json.dumps(sealed({"schema": 2, "files": {"samples/samples.json": sha256(samples)}}))
    )
    done = bench_command("report", "run", "--html")
    assert done.returncode == 2
    assert "outside of the run folder" in done.stderr


@pytest.mark.parametrize("name", ["../mine", "a/b", ".hidden", ""])
def test_a_suite_cannot_name_a_folder_elsewhere(
    bench_command: Command, phantom_folder: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "own.toml").write_text(f'[models."{name}"]\nhead = {{ class = "baselines.prior:Prior" }}\n')
    done = bench_command("run", "--all", "--suite", "own.toml", "--data", phantom_folder, "--out", "run")
    assert done.returncode == 2
    assert "own" in done.stderr
    assert not (tmp_path / "mine").exists()
