"""A run folder of every schema there ever was is read, and can be resumed; one of a schema to come is refused and left as it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.store.run_folder import RunFolder
from reports.runs.format import SCHEMA, sealed

Command = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "golden"


def test_there_is_a_golden_folder_of_each_schema() -> None:
    assert {p.name for p in GOLDEN.glob("schema-*")} == {f"schema-{k}" for k in range(1, SCHEMA + 1)}


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


def rewrite(run: Path, schema: int) -> None:
    """Rewrite a run's files as an older schema had them."""
    for path in [run / "run.json", *run.glob("cells/*/*/cell.json")]:
        record = {"made_of" if k == "provenance" else k: v for k, v in json.loads(path.read_text()).items()}
        if schema == 1:
            record = {k: v for k, v in record.items() if k not in ("seal", "files", "made_of")}
        record |= {"schema": schema} | ({"family": "floor"} if "family" in record else {})
        for model in record.get("suite", {}).get("models", {}).values():
            model["family"] = "floor"
        path.write_text(json.dumps(sealed(record) if schema > 1 else record))
    if schema == 1:
        (run / "pictures.json").unlink()


@pytest.mark.parametrize("schema", range(1, SCHEMA))
def test_a_run_of_an_older_schema_is_resumed_as_one_of_this(
    bench_command: Command, phantom_folder: Path, tmp_path: Path, schema: int
) -> None:
    run = ("run", "prior", "--data", phantom_folder, "--folds", 2, "--out", "run")
    assert bench_command(*run).returncode == 0
    rewrite(tmp_path / "run", schema)
    cells = {path: path.read_bytes() for path in (tmp_path / "run").glob("cells/*/*/cell.json")}
    done = bench_command(*run)
    assert done.returncode == 0, done.stderr
    assert "0 cells computed, 2 kept" in done.stdout
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert (facts["schema"], facts["suite"]["models"]["prior"]["family"]) == (SCHEMA, "dummy")
    assert {path: path.read_bytes() for path in cells} == cells
    assert bench_command("report", "run", "--html").returncode == 0
    assert bench_command("verify", "run").returncode == 0


def test_accesses_to_the_test_set_that_an_older_version_logged_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "holdout").mkdir()
    old = {"when": "2026-01-01T00:00:00+00:00", "models": ["prior"]}
    (tmp_path / "holdout/looks.json").write_text(json.dumps(sealed({"schema": 2, "looks": [old]})))
    assert folder.read_test_accesses() == [old]
    folder.log_test_access(["hog-svm"])
    assert [access["models"] for access in folder.read_test_accesses()] == [["prior"], ["hog-svm"]]
    assert [path.name for path in (tmp_path / "holdout").iterdir()] == ["test_access.json"]
