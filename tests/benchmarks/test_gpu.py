"""The GPU benchmark works, on a CPU and in small."""

import json
import math
from typing import Any

import pytest

pytest.importorskip("timm")
pytest.importorskip("resource")

from gpu import COMPARED, Settings, measure, table

SMALL = Settings(("resnet18",), 64, 24, 3, 2, 2, 4, measured_epochs=1, repeats=2, workers=0, features=10, device="cpu")


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    return list(measure(SMALL))


def test_both_sides_give_every_figure_and_their_ratio(found: list[dict[str, Any]]) -> None:
    resnet = found[-1]["backbones"]["resnet18"]
    for figures in (resnet["ours"], resnet["timm_style"], resnet["ratio"]):
        assert set(COMPARED) <= set(figures)
        numbers = [figures[key] for key in COMPARED if key != "joules_per_1000_images"]
        assert all(math.isfinite(number) and number > 0 for number in numbers)
        assert figures["joules_per_1000_images"] is None  # of a CPU nobody counts them
    for figures in (resnet["ours"], resnet["timm_style"], resnet["frozen"]):
        assert all(0 < figures[key] < 1.5 for key in figures if key.endswith("mfu"))
    assert (resnet["ours"]["measured_epochs"], resnet["timm_style"]["measured_epochs"]) == (2, 1)


def test_resnet18_takes_the_published_number_of_operations(found: list[dict[str, Any]]) -> None:
    assert found[0]["backbones"]["resnet18"]["forward_gflop"] == pytest.approx(2 * 1.814 * (64 / 224) ** 2, rel=0.01)


def test_it_says_where_and_how_it_was_made(found: list[dict[str, Any]]) -> None:
    last = json.loads(json.dumps(found[-1]))
    assert {"date", "command", "device", "cores", "versions"} <= set(last["made"])
    assert last["settings"]["images"] == 24
    assert last["matrix_product"]["flop_per_second"] > 1e8
    assert last["xgboost"]["cuda"] is None
    assert last["xgboost"]["reason"]


def test_the_table_has_a_line_for_each_figure(found: list[dict[str, Any]]) -> None:
    lines = table(found[0]).splitlines()
    assert all(any(key in line for line in lines) for key in COMPARED)
