"""The check finds what was done to a data set on purpose, with stable codes, and nothing in a clean one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from radiographs.audit.findings import LEVELS, codes
from radiographs.audit.lettering import letters
from radiographs.audit.pictures import suspicious
from radiographs.audit.shortcuts import shortcut_accuracies
from radiographs.preprocess import Preprocessing
from radiographs.read import read_picture

Command = Callable[..., Any]


def found(bench_command: Command, *arguments: object, tmp_path: Path) -> tuple[int, dict[str, dict], str]:
    """Exit code, findings by code, and what was printed."""
    path = tmp_path / "check.json"
    done = bench_command("data", "check", *arguments, "--keep-identifiers", "--json", path, "--folds", 3)
    assert "Traceback" not in done.stderr
    return done.returncode, {each["code"]: each for each in json.loads(path.read_text())["findings"]}, done.stdout


@pytest.fixture
def folder(phantom_folder: Path, tmp_path: Path) -> Path:
    """A copy of forty simulated radiographs as a table: file, part, person."""
    table = pd.read_csv(phantom_folder / "truth.csv", dtype=str, keep_default_na=False)
    out = tmp_path / "data"
    out.mkdir()
    rows = []
    for k, (file, part, person) in enumerate(zip(table["file"], table["registered"], table["patient"], strict=True)):
        shutil.copy(phantom_folder / file, out / f"{k:02d}.png")
        rows.append((f"{k:02d}.png", part.split("; ")[0], person))
    pd.DataFrame(rows, columns=["file", "part", "person"]).to_csv(out / "labels.csv", index=False)
    return out


COLUMNS = ("--label-column", "part", "--group-column", "person")


def add(folder: Path, name: str, picture: np.ndarray | None, part: str, person: str) -> None:
    if picture is not None:
        cv2.imwrite(str(folder / name), picture)
    with (folder / "labels.csv").open("a") as stream:
        stream.write(f"{name},{part},{person}\n")


def test_every_code_says_what_it_means_and_what_to_do() -> None:
    for code, entry in codes().items():
        assert code.startswith("D")
        assert entry["level"] in LEVELS
        assert all(entry[name] for name in ("title", "meaning", "remedy"))


def test_a_clean_data_set_has_no_errors(bench_command: Command, folder: Path, tmp_path: Path) -> None:
    code, findings, _ = found(bench_command, folder, *COLUMNS, tmp_path=tmp_path)
    assert code == 0
    assert not {"D001", "D020", "D021", "D022", "D040", "D042", "D043"} & set(findings)


def test_what_was_done_on_purpose_is_found(bench_command: Command, folder: Path, tmp_path: Path) -> None:
    grey = read_picture(folder / "00.png").grey
    labels = pd.read_csv(folder / "labels.csv", dtype=str)
    part, person = labels.loc[0, ["part", "person"]]
    other = next(name for name in labels["part"].unique() if name != part)
    add(folder, "same.png", grey, part, person)
    add(folder, "wrong.png", grey, other, "someone")
    add(
        folder,
        "again.png",
        cv2.resize(read_picture(folder / "05.png").grey, None, fx=0.6, fy=0.6),
        labels.part[5],
        "x1",
    )
    add(folder, "blank.png", np.full((300, 300), 40, np.uint8), part, "x2")
    add(folder, "tiny.png", cv2.resize(read_picture(folder / "07.png").grey, (50, 60)), labels.part[7], "x3")
    add(folder, "long.png", np.random.default_rng(0).integers(0, 255, (60, 400), np.uint8), part, "x4")
    add(folder, "colour.png", np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8), part, "x5")
    written = read_picture(folder / "09.png").grey.copy()
    cv2.putText(written, "COM CARGA", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 1, cv2.LINE_AA)
    add(folder, "text.png", written, labels.part[9], "x6")
    add(folder, "gone.png", None, part, "x7")
    (folder / "cut.png").write_bytes((folder / "11.png").read_bytes()[:3000])
    add(folder, "cut.png", None, part, "x8")
    (folder / ".hidden.png").write_bytes(b"x")

    code, findings, printed = found(bench_command, folder, *COLUMNS, tmp_path=tmp_path)
    assert code == 1
    cases = {code: [(set(case["images"]), case["text"]) for case in each["cases"]] for code, each in findings.items()}
    assert {"00.png", "same.png"} in [images for images, _ in cases["D020"]]
    assert {"00.png", "wrong.png"} in [images for images, _ in cases["D021"]]
    assert {"05.png", "again.png"} in [images for images, _ in cases["D022"]]
    assert {"05.png", "again.png"} in [images for images, _ in cases["D023"]]
    assert [text.split(":")[0] for _, text in cases["D001"]] == ["cut.png", "gone.png"]
    for number, name in (
        ("D040", "blank.png"),
        ("D042", "tiny.png"),
        ("D043", "long.png"),
        ("D045", "text.png"),
        ("D046", "colour.png"),
    ):
        assert {name} in [images for images, _ in cases[number]], number
    assert "D021 error" in printed


def test_warnings_alone_fail_only_where_asked(bench_command: Command, folder: Path, tmp_path: Path) -> None:
    add(folder, "blank.png", np.full((300, 300), 40, np.uint8), "Hand", "x2")
    assert found(bench_command, folder, *COLUMNS, tmp_path=tmp_path)[0] == 0
    assert found(bench_command, folder, *COLUMNS, "--strict", tmp_path=tmp_path)[0] == 1


def test_duplicates_across_the_parts_of_a_given_split_are_an_error(
    bench_command: Command, folder: Path, tmp_path: Path
) -> None:
    grey = read_picture(folder / "00.png").grey
    part = pd.read_csv(folder / "labels.csv", dtype=str)["part"][0]
    add(folder, "again.png", cv2.resize(grey, None, fx=0.7, fy=0.7), part, "someone")
    names = sorted(file.name for file in folder.glob("*.png"))
    parts = {name: ("train", "valid", "test")[k % 3] for k, name in enumerate(names)} | {
        "00.png": "train",
        "again.png": "test",
    }
    splits = pd.DataFrame({"image_id": names, "repeat": 0, "fold": 0, "part": [parts[name] for name in names]})
    splits.to_csv(tmp_path / "splits.csv", index=False)
    code, findings, _ = found(bench_command, folder, *COLUMNS, "--splits", tmp_path / "splits.csv", tmp_path=tmp_path)
    assert code == 1
    assert [set(case["images"]) for case in findings["D025"]["cases"]] == [{"00.png", "again.png"}]


def test_near_duplicates_share_a_group_in_a_run(bench_command: Command, folder: Path, tmp_path: Path) -> None:
    grey = read_picture(folder / "00.png").grey
    part = pd.read_csv(folder / "labels.csv", dtype=str)["part"][0]
    add(folder, "again.png", cv2.resize(grey, None, fx=0.7, fy=0.7), part, "someone")
    run = bench_command(
        "run", "prior", "--keep-identifiers", "--data", folder, *COLUMNS, "--folds", 3, "--out", tmp_path / "run"
    )
    assert run.returncode == 0, run.stderr
    assert "near-duplicates" in run.stdout
    manifest = pd.read_parquet(tmp_path / "run" / "manifest.parquet").set_index("image_id")
    assert manifest.loc["again.png", "group"] == manifest.loc["00.png", "group"]
    splits = pd.read_parquet(tmp_path / "run" / "splits.parquet").merge(manifest["group"].reset_index(), on="image_id")
    assert splits.groupby(["fold", "group"])["part"].nunique().max() == 1


def test_the_page_shows_the_pairs_and_lets_nothing_in(bench_command: Command, folder: Path, tmp_path: Path) -> None:
    add(folder, "<b>x.png", read_picture(folder / "00.png").grey, "<script>alert(1)</script>", "p")
    page = tmp_path / "check.html"
    bench_command("data", "check", folder, "--keep-identifiers", *COLUMNS, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert "D021" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("data-picture=") >= 2
    assert len(text) < 1_000_000


def test_metadata_that_gives_the_label_away_is_measured_over_groups() -> None:
    rng = np.random.default_rng(0)
    labels = pd.Series(rng.choice(["Hand", "Chest"], 400, p=[0.4, 0.6]))
    groups = pd.Series([f"g{k // 2}" for k in range(400)])
    told = np.where(labels == "Hand", 100.0, 200.0) + rng.normal(size=400)
    accuracy, base = shortcut_accuracies({"size": told[:, None]}, labels, groups)["size"]
    assert accuracy == 1
    assert base == pytest.approx((labels == "Chest").mean(), abs=0.01)
    nothing, _ = shortcut_accuracies({"size": rng.random((400, 1))}, labels, groups)["size"]
    assert nothing < base + 0.05


@pytest.mark.shared
def test_unifesp_is_what_it_is_known_to_be(bench_command: Command, shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "check.json"
    done = bench_command("data", "check", shared / "data/unifesp", "--json", path)
    assert done.returncode == 0
    findings = {each["code"]: each for each in json.loads(path.read_text())["findings"]}
    assert findings["D020"]["n"] == 8
    assert {case["text"].split(":")[0] for case in findings["D010"]["cases"]} == {"Clavicles", "Skull"}
    words = [case["text"].split(": accuracy ") for case in findings["D030"]["cases"]]
    accuracies = {name: float(said.split(",")[0]) for name, said in words}
    assert accuracies["size"] > 0.45
    densitometry = [case["text"] for case in findings["D047"]["cases"]]
    assert sum("(Others)" in text for text in densitometry) > 0.9 * len(densitometry) > 30


@pytest.mark.shared
def test_most_negatives_are_noticed_and_few_others(shared: Path) -> None:
    files = sorted((shared / "data/unifesp").rglob("*.png"))[::10]
    found = {}
    for name, turn in (("as they are", lambda grey: grey), ("negatives", lambda grey: 255 - grey)):
        images = np.stack([Preprocessing().apply(turn(read_picture(file).grey)) for file in files])
        facts = pd.DataFrame({"width": 400, "height": 400, "labels": [["x"]] * len(images)})
        found[name] = sum(code == "D041" for code, *_ in suspicious(facts, images)) / len(images)
    assert found["negatives"] > 0.65
    assert found["as they are"] < 0.02


def test_letters_are_counted_in_their_row_and_bones_are_not() -> None:
    grey = np.full((400, 400), 30, np.uint8)
    cv2.ellipse(grey, (200, 250), (60, 120), 10, 0, 360, 140, -1)
    assert letters(grey) == 0
    cv2.putText(grey, "PATIENT NAME", (20, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 200, 2, cv2.LINE_AA)
    assert letters(grey) >= 8
    assert letters((grey.astype(np.uint16) << 8) + 7) >= 8
    assert letters(np.zeros((5, 5), np.uint8)) == 0


def test_files_with_several_frames_are_named(bench_command: Command, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.radiographs.test_dicom import PICTURE, twin

    for k in range(12):
        picture = np.roll(PICTURE, 5 * k, axis=k % 2)
        frames = np.stack([picture, picture[::-1]]) if k == 3 else picture
        place = tmp_path / "data" / "xy"[k % 2] / f"{k}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        extra = {"NumberOfFrames": "2"} if k == 3 else {}
        place.write_bytes(twin(frames, PatientID=f"P{k}", BodyPartExamined="HAND" if k % 2 else "KNEE", **extra))
    _, findings, _ = found(bench_command, tmp_path / "data", tmp_path=tmp_path)
    assert [case["text"] for case in findings["D003"]["cases"]] == ["y/3.dcm: 2 frames"]
    each, findings, printed = found(bench_command, tmp_path / "data", "--frames", "each", tmp_path=tmp_path)
    assert "13 images" in printed
    assert "D003" not in findings
    assert each in (0, 1)


def test_published_splits_that_part_near_duplicates_can_be_run_and_say_so(
    bench_command: Command, folder: Path, tmp_path: Path
) -> None:
    published = tmp_path / "published.csv"
    grey = read_picture(folder / "00.png").grey
    part = pd.read_csv(folder / "labels.csv", dtype=str)["part"][0]
    add(folder, "again.png", np.random.default_rng(0).integers(0, 255, grey.shape, np.uint8), part, "someone")
    made = bench_command("splits", folder, "--keep-identifiers", *COLUMNS, "--folds", 3, "--out", published)
    assert made.returncode == 0, made.stderr
    splits = pd.read_csv(published)
    tested = splits[splits["part"] == "test"].set_index("image_id")["fold"]
    twin = next(k for k in range(40) if tested[f"{k:02d}.png"] != tested["again.png"])
    cv2.imwrite(
        str(folder / "again.png"), cv2.resize(read_picture(folder / f"{twin:02d}.png").grey, None, fx=0.7, fy=0.7)
    )
    run = bench_command(
        "run",
        "prior",
        "--keep-identifiers",
        "--data",
        folder,
        *COLUMNS,
        "--splits",
        published,
        "--out",
        tmp_path / "run",
    )
    assert run.returncode == 0, run.stderr
    assert "D025: 1 pair of near-duplicates stands in two parts" in run.stdout
