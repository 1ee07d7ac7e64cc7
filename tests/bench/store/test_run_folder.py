"""The run folder: whole cells or none, one owner at a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from radiographs.disk import beside

from bench.store.lock import Lock
from bench.store.run_folder import Cell, RunFolder, StoreError
from reports.runs.format import SCHEMA, sealed

CELL = Cell("hog-svm", 0, 3)
RECORD = {"model": "hog-svm", "repeat": 0, "fold": 3, "status": "done", "key": "k"}
TABLE = pd.DataFrame({"image_id": ["a"], "part": ["test"], "truth/x": [1], "probability/x": [0.5]})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.make()
    run.write_cell(CELL, RECORD, TABLE, lambda path: (path / "svm.json").write_text("{}"))
    return run


def test_a_cell_comes_back_as_it_was_written(folder: RunFolder) -> None:
    record, wrong = folder.read_cell(CELL)
    assert wrong is None
    assert record is not None
    assert RECORD.items() <= record.items()
    assert record["schema"] == SCHEMA
    assert set(record["checksums"]) == {"predictions.parquet", "model/svm.json"}
    assert record["model_bytes"] == 2
    assert pd.read_parquet(folder.cell_folder(CELL) / "predictions.parquet").equals(TABLE)


@pytest.mark.parametrize("name", ["predictions.parquet", "model/svm.json", "cell.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_every_damage_is_noticed(folder: RunFolder, name: str, damage: str) -> None:
    path = folder.cell_folder(CELL) / name
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        data[len(data) // 2] ^= 0xFF
        path.write_bytes({"flip": bytes(data), "cut": bytes(data[: len(data) // 2]), "empty": b""}[damage])
    record, wrong = folder.read_cell(CELL)
    assert record is None
    assert wrong


def test_a_cell_in_anothers_place_is_noticed(folder: RunFolder) -> None:
    other = Cell("hog-svm", 0, 4)
    folder.cell_folder(CELL).rename(folder.cell_folder(other))
    assert folder.read_cell(other) == (None, "holds another cell")


def test_a_failed_write_leaves_the_old_cell_and_no_leftover(folder: RunFolder) -> None:
    def breaks(path: Path) -> None:
        (path / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        folder.write_cell(CELL, RECORD, TABLE, breaks)
    assert folder.read_cell(CELL)[1] is None
    assert [p.name for p in folder.cell_folder(CELL).parent.iterdir()] == ["r0-f3"]


def test_a_newer_schema_is_refused_by_both_versions(folder: RunFolder) -> None:
    folder.run_file.write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(StoreError, match=f"schema {SCHEMA + 1}; this version reads up to schema {SCHEMA}"):
        folder.read_run()
    folder.run_file.write_text("{")
    assert folder.read_run() == (None, "damaged")
    folder.run_file.write_text(json.dumps({**sealed({"schema": SCHEMA, "seed": 0}), "seed": 1}))
    assert folder.read_run() == (None, "does not match its seal")


def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file: is a file"):
        RunFolder(tmp_path / "file").make()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(StoreError, match="holds files but no run"):
        RunFolder(tmp_path / "mine").make()
    with pytest.raises(StoreError, match="cannot be written to"):
        RunFolder(Path("/proc/xraybench")).make()


def test_one_run_at_a_time_and_a_dead_owners_lock_is_taken_over(folder: RunFolder) -> None:
    hold = "import sys, time; from pathlib import Path; from bench.store.run_folder import *; from bench.store.lock import Lock\nwith Lock(RunFolder(Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(folder.root)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"in use by process {owner.pid} on .* since"), Lock(folder):
            pass
        owner.kill()
        owner.wait()
    with Lock(folder):
        assert json.loads((folder.root / "lock").read_text())["pid"] == os.getpid()
    assert not (folder.root / "lock").exists()


def test_what_a_killed_run_left_is_cleared(folder: RunFolder) -> None:
    beside(folder.cell_folder(CELL)).mkdir()
    beside(folder.run_file).touch()
    folder.clear_leftovers()
    assert {p.name for p in folder.root.rglob(".*")} == set()
    assert folder.read_cell(CELL)[1] is None
