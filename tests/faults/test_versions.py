"""A run folder of every schema there ever was is read, and goes on; one of a schema to come is refused and left as it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.store.run_folder import SCHEMA, sealed

Command = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "golden"


def test_there_is_a_golden_folder_of_each_schema() -> None:
    assert {p.name for p in GOLDEN.iterdir()} == {f"schema-{k}" for k in range(1, SCHEMA + 1)}


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_a_golden_folder_gives_its_numbers(bench_command: Command, tmp_path: Path, schema: int) -> None:
    shutil.copytree(GOLDEN / f"schema-{schema}", tmp_path / "run")
    done = bench_command("report", "run", "--csv", "--html")
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(tmp_path / "run/report/tables/summary.csv").set_index("model")
    assert summary.loc[["prior", "thumbnail-svm"], "f1_samples_mean"].round(3).tolist() == [0.854, 0.854]
    assert bench_command("verify", "run", "run/report/tables/summary.csv").returncode == 0


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["run.json", "cells/prior/r0-f1/cell.json"])
def test_a_newer_schema_is_refused_by_both_versions_and_left_as_it_is(
    bench_command: Command, phantom_folder: Path, tmp_path: Path, name: str
) -> None:
    run = ("run", "prior", "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert bench_command(*run).returncode == 0
    path = tmp_path / "run" / name
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), "schema": SCHEMA + 1})))
    before = tree(tmp_path / "run")
    for command in (run, ("report", "run"), ("verify", "run")):
        done = bench_command(*command)
        assert done.returncode == 2
        assert f"schema {SCHEMA + 1}" in done.stderr
        assert f"up to {SCHEMA}" in done.stderr or f"up to schema {SCHEMA}" in done.stderr
    assert tree(tmp_path / "run") == before


def test_a_run_of_the_first_schema_goes_on_as_one_of_this(
    bench_command: Command, phantom_folder: Path, tmp_path: Path
) -> None:
    """As the first schema was: no seals, no checksums in run.json, no pictures.json."""
    run = ("run", "prior", "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert bench_command(*run).returncode == 0
    for path in [tmp_path / "run/run.json", *(tmp_path / "run").glob("cells/*/*/cell.json")]:
        record = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("seal", "files", "provenance")}
        path.write_text(json.dumps({**record, "schema": 1}))
    (tmp_path / "run/pictures.json").unlink()
    done = bench_command(*run)
    assert done.returncode == 0, done.stderr
    assert "0 cells computed, 2 kept" in done.stdout
    assert json.loads((tmp_path / "run/run.json").read_text())["schema"] == SCHEMA
    assert bench_command("report", "run", "--html").returncode == 0
