"""Links are followed where that is allowed and ends; results, caches and folders of operating systems are never input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from PIL import Image
from radiographs.sources import Hints, SourceError, open_source
from radiographs.walk import find_pictures

Command = Callable[..., Any]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(crc32(path.name.encode())).integers(0, 255, (8, 8), np.uint8)).save(path)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two class folders with three pictures each."""
    for name in ("A", "B"):
        for k in range(3):
            picture(tmp_path / "data" / name / f"{k}.png")
    return tmp_path / "data"


def labels(folder: Path, **said: bool) -> set[str]:
    return set(open_source(folder, Hints(**said)).items["labels"].explode())


def test_a_class_folder_that_is_a_link_is_named_and_is_followed_where_allowed(classes: Path, tmp_path: Path) -> None:
    picture(tmp_path / "store" / "x.png")
    (classes / "C").symlink_to(tmp_path / "store")
    listing = open_source(classes)
    assert set(listing.items["labels"].explode()) == {"A", "B"}
    assert "D002: 1 file skipped: a link to a folder outside (--allow-outside)" in listing.notes
    assert "D013: 1 folders beside the classes hold no image: C (a link)" in listing.notes
    assert labels(classes, allow_outside=True) == {"A", "B", "C"}


def test_links_in_circles_end(classes: Path, tmp_path: Path) -> None:
    (classes / "here").symlink_to(classes)
    (classes / "A" / "up").symlink_to(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "two").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "one").symlink_to(tmp_path / "one")
    picture(tmp_path / "two" / "x.png")
    (classes / "C").symlink_to(tmp_path / "one")
    (classes / "self").symlink_to(classes / "self")
    found = find_pictures(classes, allow_outside=True)
    assert sorted(f.relative_to(classes).as_posix() for f in found.files if f.parts[-1] == "x.png") == ["C/two/x.png"]
    assert len(found.files) == 7
    assert found.passed_over["a link to a folder that holds it"] == 3


def test_a_folder_is_listed_at_its_own_place_not_at_a_link(classes: Path) -> None:
    (classes / "0").symlink_to(classes / "A")
    (classes / ".store").mkdir()
    picture(classes / ".store" / "x.png")
    (classes / "C").symlink_to(classes / ".store")
    assert labels(classes) == {"A", "B", "C"}


def test_empty_class_folders_are_named(classes: Path) -> None:
    (classes / "Elbow").mkdir()
    (classes / "Foot").mkdir()
    (classes / "Foot" / "x.bmp").write_bytes(b"BM")
    assert "D013: 2 folders beside the classes hold no image: Elbow, Foot" in open_source(classes).notes


OUTPUTS = {
    "runs/mine": ("run.json", "splits.parquet"),
    "model": ("model.json", "SHA256SUMS"),
    "studies/x": ("study.json", "study.toml"),
    "tuned/x": ("trials.journal",),
    "explanations": ("explanations.json", "explanations.html"),
    "cache": ("CACHEDIR.TAG",),
    ".venv2": ("pyvenv.cfg",),
    "env": ("pyvenv.cfg",),
    "report": ("report.html", "figures"),
}


def test_results_caches_and_folders_of_operating_systems_are_no_input(classes: Path) -> None:
    for place, marks in OUTPUTS.items():
        picture(classes / place / "pictures" / "x.png")
        for mark in marks:
            (classes / place / mark).write_text("x")
    for name in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"):
        picture(classes / name / "A" / "x.png")
    (classes / ".DS_Store").write_bytes(b"x")
    listing = open_source(classes)
    assert set(listing.items["labels"].explode()) == {"A", "B"}
    assert not any(note.startswith("D013") for note in listing.notes)
    with pytest.raises(SourceError, match="is a run of bench, not data"):
        open_source(classes / "runs/mine")


def test_a_run_inside_of_the_data_can_be_repeated(
    bench_command: Command, classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(30):
        picture(classes / "AB"[k % 2] / f"more{k}.png")
    monkeypatch.chdir(classes)
    cache = classes / "cache"
    first = bench_command("run", "prior", "--data", ".", cache=cache)
    assert first.returncode == 0, first.stderr
    bench_command("splits", ".", "--out", "published.csv", cache=cache)
    again = bench_command("run", "prior", "--data", ".", cache=cache)
    assert again.returncode == 0, again.stderr
    assert "36 images, 2 classes" in again.stdout
    assert "1 kept" in again.stdout or "5 kept" in again.stdout


def test_checksums_beside_the_images_are_not_missed_by_anybody(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(np.full((8, 8), 100, np.uint8)).save(tmp_path / label / "x.png")
    (tmp_path / "SHA256SUMS").write_text("0 *a/x.png\n")
    assert not any("skipped" in note for note in open_source(tmp_path, Hints(keep_identifiers=True)).notes)
