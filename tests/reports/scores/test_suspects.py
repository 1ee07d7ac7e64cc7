"""Labels made wrong on purpose come first."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.runs.results import load
from reports.scores.evaluation import evaluate
from reports.scores.suspects import HARD_COLUMNS, SUSPECT_COLUMNS, hardest, suspects

MODELS = {"prior": ("dummy", 0.0), "hog-svm": ("classical", 2.6), "efficientnet-probe": ("deep", 3.0)}


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_wrong_labels_come_first_and_the_right_one_is_suggested(make_run: Callable[..., Path], task: str) -> None:
    results = load(make_run(task, classes=("Hand", "Knee", "Chest", "Hip"), models=MODELS, n_images=300))
    wrong = {}
    for key, frame in results.predictions.items():  # the models know the truth; what is registered is now another class
        for number in range(0, 300, 30):
            rows = frame.index[frame["image_id"] == f"image-{number:04d}"]
            right = [c for c in results.classes if list(results.manifest["labels"][number]) == [c]]
            if len(rows) and right:
                other = results.classes[(results.classes.index(right[0]) + 1) % 4]
                frame.loc[rows, f"truth/{right[0]}"], frame.loc[rows, f"truth/{other}"] = 0, 1
                wrong[f"image-{number:04d}"] = right[0]
        assert key[0] in MODELS
    assert len(wrong) > 4
    table = suspects(evaluate(results))
    assert list(table.columns) == list(SUSPECT_COLUMNS)
    found = table.head(len(wrong) + 2).set_index("image_id")
    assert len(set(wrong) & set(found.index)) >= 0.8 * len(wrong)
    assert set(table["n_models"]) == {2}
    hits = [found.loc[name, "suggested"] == right for name, right in wrong.items() if name in found.index]
    assert sum(hits) >= 0.8 * len(hits)
    gaps = table["probability_suggested"] - table["probability_labels"]
    assert gaps.is_monotonic_decreasing


def test_without_a_whole_model_nobody_is_suspected(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass", models=MODELS)
    for model in ("hog-svm", "efficientnet-probe"):
        shutil.rmtree(run / "cells" / model / "r0-f0")
    assert len(suspects(evaluate(load(run)))) == 0


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_the_hardest_images_are_those_that_models_got_wrong(make_run: Callable[..., Path], task: str) -> None:
    evaluation = evaluate(load(make_run(task, classes=("Hand", "Knee", "Chest", "Hip"), models=MODELS)))
    table = hardest(evaluation)
    assert list(table.columns) == list(HARD_COLUMNS)
    assert table["f1"].is_monotonic_increasing
    assert set(table.loc[table["suspect"], "image_id"]) == set(suspects(evaluation)["image_id"])
    wrong = dict.fromkeys(evaluation.results.manifest["image_id"], 0)
    for model in ("hog-svm", "efficientnet-probe"):
        for part in evaluation.parts(model):
            for image, error in zip(part.image_id, (part.truth != part.decided).any(axis=1), strict=True):
                wrong[image] += int(error)
    counted = table.set_index("image_id")["models_wrong"]
    assert counted.to_dict() == {image: n for image, n in wrong.items() if n}
    for row in table.to_dict("records"):
        assert row["taken_for"] not in row["labels"].split("; ")
