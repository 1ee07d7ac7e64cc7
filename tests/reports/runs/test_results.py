"""A run folder is read as it is, or refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports.runs.format import SCHEMA
from reports.runs.results import Results, ResultsError, load

CELL = "cells/hog-svm/r0-f0"


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_folder_is_read_whole(results: Results) -> None:
    assert len(results.predictions) == 5 * 3 + 1
    assert results.cells["status"].value_counts().to_dict() == {"done": 16, "skipped": 3, "failed": 2}
    assert results.n_planned == 3
    assert results.groups["image-0003"] == "patient-1"
    assert results.samples[0].labels == ("Rare",)


def test_a_damaged_prediction_file_is_refused_with_the_way_out(make_run: Callable[..., Path]) -> None:
    run = make_run()
    path = run / CELL / "predictions.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=rf"{CELL}/predictions.parquet .*checksum; repeat the same `bench run`"):
        load(run)


def test_a_newer_schema_is_refused_by_both_versions(make_run: Callable[..., Path]) -> None:
    run = make_run()
    edit(run / "run.json", schema=SCHEMA + 1)
    expected = rf"run\.json has schema {SCHEMA + 1} and this xraybench reads schemas up to {SCHEMA}"
    with pytest.raises(ResultsError, match=expected):
        load(run)


def test_a_cell_in_the_place_of_another_is_refused(make_run: Callable[..., Path]) -> None:
    run = make_run()
    shutil.rmtree(run / CELL)
    shutil.copytree(run / "cells/hog-svm/r0-f1", run / CELL)
    with pytest.raises(ResultsError, match="describes another cell"):
        load(run)


def test_predictions_for_other_images_are_refused(make_run: Callable[..., Path]) -> None:
    run = make_run()
    splits = pd.read_parquet(run / "splits.parquet")
    splits["image_id"] = splits["image_id"].iloc[::-1].to_numpy()
    splits.to_parquet(run / "splits.parquet")
    with pytest.raises(ResultsError, match=r"not for the test part in splits\.parquet"):
        load(run)


@pytest.mark.parametrize("name", ["run.json", "manifest.parquet", "splits.parquet"])
def test_a_missing_file_is_named(make_run: Callable[..., Path], name: str) -> None:
    run = make_run()
    (run / name).unlink()
    with pytest.raises(ResultsError, match=name):
        load(run)


@pytest.mark.parametrize("name", ["run.json", "manifest.parquet", f"{CELL}/cell.json"])
def test_a_file_of_junk_is_named_in_one_line(make_run: Callable[..., Path], name: str) -> None:
    run = make_run()
    (run / name).write_bytes(b"junk \xff\n")
    with pytest.raises(ResultsError, match=name) as refused:
        load(run)
    assert "\n" not in str(refused.value)


def test_a_model_name_that_leads_outside_is_refused(make_run: Callable[..., Path]) -> None:
    run = make_run()
    description = json.loads((run / "run.json").read_text())
    description["suite"]["models"]["../../.."] = {"family": "deep"}
    (run / "run.json").write_text(json.dumps(description))
    with pytest.raises(ResultsError, match="leads outside of the run folder"):
        load(run)


def test_a_sample_that_leads_outside_is_refused(make_run: Callable[..., Path]) -> None:
    run = make_run()
    entry = {"image_id": "x", "labels": [], "before": "../../secret.png", "after": "0-after.png", "augmented": []}
    (run / "samples/samples.json").write_text(json.dumps([entry | {"before": "../../secret.png"}]))
    with pytest.raises(ResultsError, match="leads outside of the run folder"):
        load(run)


def test_a_run_without_cells_or_samples_is_read(make_run: Callable[..., Path]) -> None:
    run = make_run()
    shutil.rmtree(run / "cells")
    shutil.rmtree(run / "samples")
    results = load(run)
    assert results.cells.empty
    assert results.predictions == {}
    assert results.samples == ()
