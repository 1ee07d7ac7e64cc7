"""The gallery holds the telling pictures first, within its room, and nothing that is no picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.pages import pictures
from reports.runs.results import Results, ResultsError, load, thumbnails
from reports.scores.confusion import NOTHING, confusion_counts, error_counts, images_behind
from reports.scores.evaluation import evaluate, join


def test_the_images_behind_the_cells_are_those_that_are_counted(results: Results) -> None:
    evaluation = evaluate(results)
    several = results.data["task"] == "multilabel"
    names = [*results.classes, NOTHING] if several else results.classes
    for model in evaluation.finished:
        part = join(evaluation.parts(model))
        counts = error_counts(part) if several else confusion_counts(part)
        found = {
            (names.index(true), names.index(said)): len(ids) for true, said, ids in images_behind(evaluation, model)
        }
        assert found == {(i, j): counts[i, j] for i, j in zip(*np.nonzero(counts), strict=True)}


def test_errors_come_before_what_is_right_and_large_cells_first(results: Results) -> None:
    cells = images_behind(evaluate(results), "hog-svm")
    order = [(true == said, -len(ids)) for true, said, ids in cells]
    assert order == sorted(order)


def test_pictures_that_are_asked_for_come_first_and_the_room_is_kept(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = evaluate(results)
    whole = pictures.gallery(evaluation, ["image-0100", "image-0007"])
    assert [image for image, *_ in whole["images"][:2]] == ["image-0100", "image-0007"]
    assert len(whole["images"]) == 180
    sizes = {image: len(picture) for image, picture in thumbnails(results).items()}
    monkeypatch.setattr(pictures, "MAX_BYTES", sizes["image-0100"] + sizes["image-0007"])
    few = pictures.gallery(evaluation, ["image-0100", "image-0007"])
    assert [image for image, *_ in few["images"]] == ["image-0100", "image-0007"]
    for model, cells in few["cells"].items():
        assert [n for *_, n, _ in cells] == [len(ids) for *_, ids in images_behind(evaluation, model)]
        assert all(set(shown) <= {0, 1} for *_, shown in cells)


def test_a_picture_that_no_longer_fits_is_passed_over() -> None:
    files = {"a": b"12345", "b": b"123456789", "c": b"1234"}
    words = {"a": "first", "b": "too large", "gone": "no file", "c": "last"}
    kept = pictures.embedded(words, files, 10)
    assert [(name, text) for name, text, _ in kept] == [("a", "first"), ("c", "last")]


def test_what_is_no_webp_file_is_left_out_and_a_damaged_table_is_named(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass")
    table = pd.read_parquet(run / "thumbnails.parquet")
    table.loc[0, "webp"] = b"<svg onload=alert(1)>"
    table.to_parquet(run / "thumbnails.parquet")
    assert "image-0000" not in thumbnails(load(run))
    (run / "thumbnails.parquet").write_bytes(b"PAR1")
    with pytest.raises(ResultsError, match=r"thumbnails\.parquet cannot be read"):
        thumbnails(load(run))
    (run / "thumbnails.parquet").unlink()
    assert thumbnails(load(run)) == {}
    assert pictures.gallery(evaluate(load(run)), ["image-0001"])["images"] == []
