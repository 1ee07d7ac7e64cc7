"""The data card says what the manifest holds."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from reports.runs.results import load
from reports.tables.datacard import data_card


def test_the_facts_are_counted_from_the_manifest(make_run: Callable[..., Path]) -> None:
    run = make_run("multilabel", classes=("Hand", "Knee", "Chest"))
    manifest = pd.read_parquet(run / "manifest.parquet")
    manifest.loc[1, "pixels_sha256"] = manifest.loc[0, "pixels_sha256"]
    manifest.loc[0, "width"], manifest.loc[5, "mode"] = 400, "RGB"
    manifest.at[0, "labels"], manifest.at[1, "labels"] = ["Hand"], ["Knee"]
    manifest.to_parquet(run / "manifest.parquet")
    card = dict(data_card(load(run)))
    sizes = manifest.loc[manifest["status"] == "ok", "labels"].map(len).value_counts()
    assert card["Labels per image"] == f"1: {sizes[1]} images; 2: {sizes[2]} images"
    assert card["Images per patient"].startswith("median 2, at most 2; ")
    assert card["Size in pixels"] == "median 512 × 640; width 400 to 512, height 640 to 640; 2 sizes"
    assert card["Pixel format"] == "L: 179 images; RGB: 1 image"
    assert card["Identical pixels"] == ("1 duplicate image; 1 image with different labels; duplicates share a patient")
    assert card["Excluded"] == "truncated: 120 of 4,096 bytes: 1 file"
    assert card["Brightness after preprocessing"] == "median 96 of 255, 90 % of images between 96 and 96"


def test_a_run_that_holds_fewer_facts_says_fewer(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass")
    manifest = pd.read_parquet(run / "manifest.parquet")
    manifest[["image_id", "file", "labels", "group", "status", "reason"]].to_parquet(run / "manifest.parquet")
    assert [name for name, _ in data_card(load(run))] == ["Labels per image", "Images per patient", "Excluded"]
