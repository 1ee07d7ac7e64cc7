"""What a report makes of a run's explanations, and which it refuses."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.pages.explanations import explanations_section
from reports.pages.report import write
from reports.runs.explanations import load_explanations
from reports.runs.results import ResultsError, load
from reports.tables.explanations import by_model, scores_csv, summarise_explanations
from tests.reports.conftest import PIXEL

HOSTILE = "<script>alert(1)</script>"


def one_map(**changed: Any) -> dict[str, Any]:
    found = {"labels": ["Hand"], "confidence": 0.9, "sure": True, "probability": 0.9, "empty": False}
    found |= {"deletion": 0.3, "insertion": 0.8, "deletion_random": 0.5, "insertion_random": 0.5}
    return {**found, "random_head": 0.1, "random_whole": None, **changed}


def a_record(**changed: Any) -> dict[str, Any]:
    models = [
        {"name": "hog-svm", "family": "classical", "method": "occlusion", "seal": "a"},
        {"name": "net", "family": "deep", "method": "grad-cam", "seal": "b"},
    ]
    worse = one_map(deletion=0.6, random_whole=0.9)
    images = [
        {"name": HOSTILE, "labels": ["Hand", "Wrist"], "class": "Hand", "maps": [one_map(), worse]},
        {"name": "=cmd()", "labels": [], "class": "Knee", "maps": [one_map(), one_map(random_head=None)]},
    ]
    record = {"schema": 1, "run": "", "seed": 0, "steps": 16, "random_maps": 4, "fitted_to": True, "classes": ["Hand"]}
    return {**record, "models": models, "images": images, **changed}


def write_explanations(run: Path, record: dict[str, Any]) -> Path:
    folder = run / "explanations"
    folder.mkdir()
    names = [f"{i}{end}.png" for i in range(2) for end in ("", "-0", "-1")] + ["legend.png"]
    for name in names:
        (folder / name).write_bytes(PIXEL)
    files = {name: hashlib.sha256(PIXEL).hexdigest() for name in names}
    return seal(folder, {"files": files, **record})


def seal(folder: Path, record: dict[str, Any]) -> Path:
    rest = {key: value for key, value in record.items() if key != "seal"}
    rest["seal"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    (folder / "explanations.json").write_text(json.dumps(rest))
    return folder


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Path:
    return make_run("multilabel", classes=("Hand", "Knee"))


def own(run: Path) -> str:
    return json.loads((run / "run.json").read_text())["run_id"]


def test_a_run_that_was_not_explained_has_no_section(run: Path) -> None:
    assert load_explanations(run) is None
    assert explanations_section(load(run)) is None


def test_the_report_shows_the_maps_and_no_name_becomes_markup(run: Path) -> None:
    write_explanations(run, a_record(run=own(run)))
    page = write(load(run), html=True)[0].read_text()
    section = page[page.index('id="explained"') : page.index('id="data"')]
    assert section.count("data:image/png") >= 7
    assert HOSTILE not in section
    assert "&lt;script&gt;" in section
    assert "registered: Hand + Wrist" in section


def test_models_that_were_fitted_again_are_named(run: Path) -> None:
    write_explanations(run, a_record(run=own(run)))
    model = run / "holdout" / "hog-svm" / "model"
    model.mkdir(parents=True)
    (model / "model.json").write_text(json.dumps({"seal": "a"}))
    found = explanations_section(load(run))
    assert found is not None
    again = [line for line in found["words"] if "was refitted or removed" in line]
    assert len(again) == 1
    assert again[0].startswith("net ")


def test_means_and_counts_are_over_the_images() -> None:
    table = by_model(a_record()).set_index("model")
    assert table.loc["net", "deletion"] == pytest.approx(0.45)
    assert (table.loc["net", "deletion_better"], table.loc["hog-svm", "deletion_better"]) == (1, 2)
    assert table.loc["net", "random_whole"] == pytest.approx(0.9)


def test_the_words_warn_of_a_map_that_does_not_depend_on_the_weights() -> None:
    first, second = summarise_explanations(a_record())
    assert "random weights give a different map" in first
    assert "do not interpret it as what the model learned" in second
    assert "on 1 of 2 by deletion" in second


def test_the_words_warn_of_a_map_that_is_no_better_than_random() -> None:
    images = [{"name": "a", "labels": [], "class": "Hand", "maps": [one_map(), one_map(deletion=0.7)]}]
    good, bad = summarise_explanations(a_record(images=images))
    assert "no better than random" not in good
    assert "By deletion it is no better than random" in bad


def test_the_table_runs_nothing_in_a_spreadsheet() -> None:
    lines = scores_csv(a_record()).splitlines()
    assert len(lines) == 5
    assert not any(line.startswith("=") for line in lines)


def damage_picture(folder: Path) -> None:
    (folder / "0-1.png").write_bytes(PIXEL + b"x")


def remove_picture(folder: Path) -> None:
    (folder / "0-1.png").unlink()


def change_number(folder: Path) -> None:
    path = folder / "explanations.json"
    path.write_text(path.read_text().replace("0.3", "0.1", 1))


def lead_outside(folder: Path) -> None:
    outside = folder.parent / "run.json"
    record = json.loads((folder / "explanations.json").read_text())
    record["files"]["../run.json"] = hashlib.sha256(outside.read_bytes()).hexdigest()
    seal(folder, record)


def link_outside(folder: Path) -> None:
    (folder / "0.png").unlink()
    (folder / "0.png").symlink_to(folder.parent / "run.json")


def come_from_tomorrow(folder: Path) -> None:
    seal(folder, {**json.loads((folder / "explanations.json").read_text()), "schema": 2})


def lose_the_images(folder: Path) -> None:
    record = json.loads((folder / "explanations.json").read_text())
    del record["images"]
    seal(folder, record)


def break_json(folder: Path) -> None:
    (folder / "explanations.json").write_text("{")


def be_of_another_run(folder: Path) -> None:
    seal(folder, {**json.loads((folder / "explanations.json").read_text()), "run": "another"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_picture, "0-1.png does not match its checksum"),
        (remove_picture, "0-1.png: No such file"),
        (change_number, "does not match its seal"),
        (lead_outside, "leads outside"),
        (link_outside, "leads outside"),
        (come_from_tomorrow, "reads up to 1"),
        (lose_the_images, "lacks 'images'"),
        (break_json, "is damaged"),
        (be_of_another_run, "is of another run"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused_in_one_line(
    run: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(write_explanations(run, a_record(run=own(run))))
    with pytest.raises(ResultsError, match=message) as caught:
        explanations_section(load(run))
    assert "\n" not in str(caught.value)
