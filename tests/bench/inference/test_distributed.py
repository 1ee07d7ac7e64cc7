"""bench predict on a cluster of processes, into a folder of Parquet parts."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from radiographs.phantom import Recipe, write_folder

from tests.bench.cluster.machines import scheduler, worker
from tests.bench.made import Made

pytest.importorskip("distributed")
POISON = """
import os
from pathlib import Path
import bench.inference.distributed as elsewhere
from bench.inference.predict import predict_part

def deadly(model, files, settings):
    if any(Path(item.file).name == os.environ["POISON"] for item in files):
        with open(os.environ["DEATHS"], "a") as stream:
            stream.write("x")
        os._exit(1)
    return predict_part(model, files, settings)

elsewhere.predict_part = deadly
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 96 images, one of them broken."""
    out = tmp_path_factory.mktemp("many") / "data"
    write_folder(out, Recipe(96, 5, side=128, parts=("Chest", "Hand", "Knee"), masks=False))
    source = out / "images" / "train"
    first = min(source.iterdir())
    first.write_bytes(first.read_bytes()[:300])
    return source


def test_a_folder_of_parts_holds_what_a_table_holds_and_only_what_is_missing_is_answered_again(
    classical: Made, many: Path, tmp_path: Path
) -> None:
    model, here, there = classical.model("hog-svm"), tmp_path / "here", tmp_path / "there"
    table = classical.bench("predict", model, many, "--out", tmp_path / "whole.parquet")
    assert table.returncode == 1, table.stderr
    local = classical.bench("predict", model, many, "--out", here, "--part", "16")
    assert local.returncode == 1, local.stderr
    done = classical.bench("predict", model, many, "--out", there, "--part", "16", "--cluster", "local:2")
    assert done.returncode == 1, done.stdout + done.stderr  # one file is broken, and is a row
    expected = pd.read_parquet(tmp_path / "whole.parquet")
    assert len(expected) == 96
    for folder in (here, there):
        assert len(list(folder.glob("part-*.parquet"))) == 6
        assert (folder / "_SUCCESS").exists()
        pd.testing.assert_frame_equal(pd.read_parquet(folder), expected, check_exact=True)
    names = sorted(there.glob("part-*.parquet"))
    assert [p.name for p in names] == [p.name for p in sorted(here.glob("part-*.parquet"))]
    names[2].unlink()
    names[4].write_bytes(names[4].read_bytes()[:-40])
    kept = {path: path.stat().st_mtime_ns for path in names if path not in (names[2], names[4])}
    again = classical.bench("predict", model, many, "--out", there, "--part", "16", "--cluster", "local:2")
    assert "64 files had been predicted before" in again.stdout, again.stdout + again.stderr
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    pd.testing.assert_frame_equal(pd.read_parquet(there), expected, check_exact=True)


def test_a_worker_that_is_killed_costs_no_row(classical: Made, many: Path, tmp_path: Path) -> None:
    model, out = classical.model("hog-svm"), tmp_path / "out"
    line = [
        sys.executable,
        "-m",
        "bench.cli",
        "predict",
        model,
        many,
        "--out",
        out,
        "--part",
        "2",
        "--cluster",
        "local:2",
    ]
    with subprocess.Popen(
        [str(word) for word in line],
        env=classical.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        deadline = time.monotonic() + 120
        while len(list(out.glob("part-*"))) < 3 and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.02)
        workers = [c for c in psutil.Process(running.pid).children(recursive=True) if "spawn_main" in str(c.cmdline())]
        max(workers, key=lambda c: c.cpu_times().user).kill()
        said = running.communicate(timeout=200)[0]
    assert running.returncode == 1, said  # the broken file
    assert "Traceback" not in said
    table = pd.read_parquet(out)
    assert len(table) == 96
    assert (table["status"] == "ok").sum() == 95


def test_a_picture_that_kills_its_workers_is_named_and_the_rest_is_answered(
    classical: Made, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, deaths, out = sorted(many.iterdir())[1:13], tmp_path / "deaths", tmp_path / "out"
    monkeypatch.setenv("POISON", files[5].name)
    monkeypatch.setenv("DEATHS", str(deaths))
    model = classical.model("hog-svm")
    with (
        scheduler(tmp_path / "scheduler") as (address, _),
        worker(address, tmp_path / "worker", POISON, nanny=True),
    ):
        done = classical.bench("predict", model, *files, "--out", out, "--part", "4", "--scheduler", address)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert f"three workers died on each of 1 parts ({files[4]} to {files[7]})" in " ".join(done.stderr.split())
    assert len(deaths.read_text()) == 4  # this scheduler tries three times again by itself: they count
    assert sorted(pd.read_parquet(out)["file"]) == [str(path) for path in (*files[:4], *files[8:])]
    assert not (out / "_SUCCESS").exists()
    again = classical.bench("predict", model, *files, "--out", out, "--part", "4")
    assert again.returncode == 0, again.stderr
    assert "8 files had been predicted before" in again.stdout
    assert pd.read_parquet(out)["file"].tolist() == [str(path) for path in files]


def test_answers_in_a_folder_are_not_lost_to_another_command(classical: Made, many: Path, tmp_path: Path) -> None:
    model, out, empty = classical.model("hog-svm"), tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    files = sorted(many.iterdir())[1:9]
    assert classical.bench("predict", model, *files, "--out", out, "--part", "4").returncode == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for arguments, said in (
        ((model, empty), "no image"),
        ((model, *files[1:]), "predictions of other files"),
        ((model, *files[:4]), "predictions of other files"),
        ((classical.model("prior"), *files), "another model"),
    ):
        done = classical.bench("predict", *arguments, "--out", out, "--part", "4")
        assert done.returncode == 2
        assert said in done.stderr
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    done = classical.bench("predict", model, *files[1:], "--out", out, "--part", "4", "--overwrite")
    assert done.returncode == 0
    assert pd.read_parquet(out)["file"].tolist() == [str(path) for path in files[1:]]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "part-1.parquet").write_bytes(b"precious")
    foreign = classical.bench("predict", model, *files, "--out", tmp_path / "mine", "--overwrite")
    assert foreign.returncode == 2
    assert (tmp_path / "mine" / "part-1.parquet").read_bytes() == b"precious"


def test_what_cannot_be_is_refused_in_one_line(classical: Made, many: Path, tmp_path: Path) -> None:
    model = classical.model("hog-svm")
    for options, said in (
        (("--cluster", "local:2"), "give --out too"),
        (("--out", tmp_path / "x", "--scheduler", "tcp://127.0.0.1:1"), "no scheduler answers"),
        (("--out", many, "--cluster", "local:2"), "other things in it"),
    ):
        done = classical.bench("predict", model, many, *options)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
