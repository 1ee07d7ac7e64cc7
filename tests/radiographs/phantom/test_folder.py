"""The folder: Kaggle's layout, the same bytes from the same seed, and pictures that are not told apart by their frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from radiographs.phantom import Recipe, read_masks, write_folder
from radiographs.phantom.folder import _patient
from radiographs.phantom.views import PARTS
from radiographs.read import read_picture
from radiographs.sources import open_source

SIX = ["Chest", "Hand", "Knee", "Skull", "Pelvis", "Feet"]


def files(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "data"
    write_folder(out, Recipe(60, 0, side=96, parts=tuple(SIX), difficulty="standard"))
    return out


def test_the_same_seed_gives_the_same_bytes_with_one_worker_and_with_two(tmp_path: Path) -> None:
    for name, seed, workers in (("a", 5, 1), ("b", 5, 2), ("c", 6, 2)):
        write_folder(tmp_path / name, Recipe(10, seed, side=128), workers=workers)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not {*files(tmp_path / "a/images")} & {*files(tmp_path / "c/images")}


def test_an_image_does_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    write_folder(tmp_path / "few", Recipe(4, 5, side=128))
    write_folder(tmp_path / "more", Recipe(8, 5, side=128))
    few, more = files(tmp_path / "few/images"), files(tmp_path / "more/images")
    assert len(few) == 4
    assert all(more[name] == content for name, content in few.items())


def test_the_folder_has_kaggles_layout(folder: Path) -> None:
    train = pd.read_csv(folder / "train.csv", dtype=str)
    assert train.columns.tolist() == ["SOPInstanceUID", "Target"]
    assert train["Target"].str.fullmatch(r"(\d+ )+").all()
    assert train["SOPInstanceUID"].str.fullmatch(r"2\.25\.\d{1,39}").all()
    meta = pd.read_csv(folder / "metadata.csv", dtype=str).set_index("SOPInstanceUID")
    assert meta.columns.tolist() == ["PatientID", "StudyInstanceUID", "PhotometricInterpretation", "Rows", "Columns"]
    for uid in train["SOPInstanceUID"]:
        image = read_picture(folder / f"images/train/{uid}-c.png").grey
        assert max(image.shape) == 96
        assert (str(image.shape[0]), str(image.shape[1])) == (meta.loc[uid, "Rows"], meta.loc[uid, "Columns"])


def test_it_says_that_it_is_synthetic_and_what_it_was_made_with(folder: Path) -> None:
    notice = (folder / "SYNTHETIC.txt").read_text()
    assert notice.startswith("SYNTHETIC")
    said = json.loads(notice.splitlines()[-1])
    assert said["n"] == 60
    assert (said["parts"], said["difficulty"]) == (SIX, "standard")


def test_patients_have_one_to_four_images(folder: Path) -> None:
    counts = pd.read_csv(folder / "metadata.csv").groupby("PatientID").size()
    assert counts.between(1, 4).all()
    assert counts.max() > 1


def test_only_the_parts_asked_for_are_drawn(folder: Path) -> None:
    labels = {int(n) for target in pd.read_csv(folder / "train.csv", dtype=str)["Target"] for n in target.split()}
    assert {PARTS[n] for n in labels} == {*SIX}


def test_the_frame_alone_does_not_tell_the_part(folder: Path) -> None:
    meta = pd.read_csv(folder / "metadata.csv")
    shapes = meta[["Rows", "Columns"]].apply(tuple, axis=1)
    labels = pd.read_csv(folder / "train.csv")["Target"]
    best = (
        labels.groupby(shapes).agg(lambda s: s.value_counts().iloc[0]).sum()
    )  # right guesses by the most frequent label
    assert best / len(labels) < 0.6
    assert shapes.groupby(labels).nunique().min() > 1


def test_every_part_looks_like_itself_more_than_like_the_others(tmp_path: Path) -> None:
    parts = ["Chest", "Hand", "Skull", "Pelvis"]
    means = []
    for part in parts:
        for seed in (1, 2):
            write_folder(tmp_path / f"{part}{seed}", Recipe(8, seed, side=96, parts=(part,), difficulty="easy"))
            images = [
                cv2.imread(str(f), cv2.IMREAD_GRAYSCALE) for f in (tmp_path / f"{part}{seed}/images/train").iterdir()
            ]
            means.append(np.mean([cv2.resize(i, (24, 24)).astype(float) for i in images], axis=0).ravel())
    alike = np.corrcoef(means) - 2 * np.eye(len(means))
    assert (alike.argmax(axis=1) == np.arange(len(means)) ^ 1).mean() >= 0.75


@pytest.mark.parametrize("difficulty", ["easy", "standard", "hard"])
def test_every_difficulty_uses_the_range_of_greys(tmp_path: Path, difficulty: str) -> None:
    write_folder(tmp_path / "x", Recipe(22, 3, side=96, difficulty=difficulty))
    spreads = [cv2.imread(str(f), cv2.IMREAD_GRAYSCALE).std() for f in (tmp_path / "x/images/train").iterdir()]
    assert min(spreads) > 12
    assert np.median(spreads) > 35


def test_progress_counts_every_image_once(tmp_path: Path) -> None:
    done: list[int] = []
    write_folder(tmp_path / "x", Recipe(7, 0, side=64, parts=("Hand",)), progress=done.append)
    assert done == list(range(1, 8))


def test_wrong_arguments_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="part 'Tail' has no phantom"):
        write_folder(tmp_path / "x", Recipe(3, 0, parts=("Tail",)))
    with pytest.raises(ValueError, match="difficulty 'absurd' is unknown"):
        write_folder(tmp_path / "x", Recipe(3, 0, difficulty="absurd"))
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="already exists"):
        write_folder(tmp_path / "there", Recipe(3, 0))
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    def fail(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "x", Recipe(30, 0, side=64, parts=("Hand",)), progress=fail)
    assert not [*tmp_path.iterdir()]


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("flawed") / "data"
    recipe = Recipe(
        150, 4, side=96, frequencies="unifesp", wrong_labels=0.1, near_duplicates=0.1, shortcut=1, masks=True
    )
    write_folder(out, recipe)
    return out


def test_wrong_labels_are_known_to_the_truth_alone(flawed: Path) -> None:
    truth = pd.read_csv(flawed / "truth.csv", keep_default_na=False)
    assert 5 <= truth["wrong_label"].sum() <= 30
    assert ((truth["shown"] != truth["registered"]) == (truth["wrong_label"] == 1)).all()
    targets = pd.read_csv(flawed / "train.csv", dtype=str)["Target"]
    named = ["; ".join(PARTS[int(k)] for k in target.split()) for target in targets]
    assert named == truth["registered"].tolist()


def test_near_duplicates_show_what_their_twin_shows_under_another_patient(flawed: Path) -> None:
    truth = pd.read_csv(flawed / "truth.csv", keep_default_na=False)
    truth["uid"] = truth["file"].str.extract(r"([\d.]+)-c\.png", expand=False)
    twins = truth[truth["duplicate_of"] != ""].merge(
        truth, left_on="duplicate_of", right_on="uid", suffixes=("", "_of")
    )
    assert 5 <= len(twins) <= 30
    assert (twins["patient"] != twins["patient_of"]).all()
    assert (twins["views"] == twins["views_of"]).all()
    for _, twin in twins.iterrows():
        here, there = (
            cv2.resize(cv2.imread(str(flawed / twin[f]), cv2.IMREAD_GRAYSCALE), (32, 32), interpolation=cv2.INTER_AREA)
            for f in ("file", "file_of")
        )
        assert np.corrcoef(here.ravel(), there.ravel())[0, 1] > 0.85


def test_a_shortcut_tells_the_part_from_the_device(flawed: Path) -> None:
    truth = pd.read_csv(flawed / "truth.csv", keep_default_na=False)
    first = truth["shown"].str.split("; ").str[0]
    assert truth.groupby(first)["device"].nunique().max() == 1
    assert truth["device"].nunique() > 5


def test_frequencies_are_those_of_the_real_set(flawed: Path) -> None:
    shown = pd.read_csv(flawed / "truth.csv")["shown"].str.split("; ").str[0]
    assert 0.25 < (shown == "Chest").mean() < 0.6


def test_masks_lie_where_bones_are(flawed: Path) -> None:
    truth = pd.read_csv(flawed / "truth.csv", keep_default_na=False)
    seen = set()
    for file in truth["file"]:
        image = cv2.imread(str(flawed / file), cv2.IMREAD_GRAYSCALE)
        masks = read_masks(flawed / "masks" / (Path(file).stem.removesuffix("-c") + ".npz"))
        assert masks
        assert {mask.shape for mask in masks.values()} == {image.shape}
        seen |= {*masks}
    assert {"mandible", "left_femur", "right_femur", "left_clavicle"} & seen


def test_all_22_parts_are_there(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", Recipe(400, 1, side=32))
    shown = {part for row in pd.read_csv(tmp_path / "x/truth.csv")["shown"] for part in row.split("; ")}
    assert shown == {*PARTS}


def test_dicom_files_hold_the_same_pictures(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    for layout in ("dicom", "png"):
        write_folder(tmp_path / layout, Recipe(24, 2, side=96, layout=layout))
    listing = pd.read_csv(tmp_path / "png/images.csv")
    kinds = set()
    for path in sorted((tmp_path / "dicom").rglob("*.dcm")):
        data = pydicom.dcmread(path)
        grey = data.pixel_array / (2**data.BitsStored - 1)
        kinds.add((data.PhotometricInterpretation, data.BitsStored))
        grey = 1 - grey if data.PhotometricInterpretation == "MONOCHROME1" else grey
        png = cv2.imread(str(tmp_path / f"png/images/{data.SOPInstanceUID}.png"), cv2.IMREAD_UNCHANGED)
        assert png.dtype == np.uint16
        assert np.abs(grey - png / 65535).max() < 1 / 255
        assert data.PatientID in listing["patient"].tolist()
    assert len(kinds) > 3
    assert (tmp_path / "dicom/train.csv").is_file()


def test_a_table_of_pngs_is_read_by_its_card(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", Recipe(24, 2, side=64, layout="png"))
    listing = open_source(tmp_path / "x")
    assert listing.card.synthetic
    assert listing.grouped
    assert len(listing.items) == 24
    assert max(map(len, listing.items["labels"])) >= 1


def test_children_are_smaller_and_half_of_the_elderly_have_narrow_joints() -> None:
    people = [_patient(np.random.default_rng(k), nuisance=1) for k in range(300)]
    by_age = {age: [p for p in people if p.age == age] for age in ("child", "adult", "elderly")}
    assert max(p.size[1] for p in by_age["child"]) < np.mean([p.size[1] for p in by_age["adult"]])
    assert 0.2 < np.mean([p.narrow > 0.2 for p in by_age["elderly"]]) < 0.6
    assert max(p.narrow for p in by_age["adult"]) <= 0.2


@pytest.mark.slow
def test_the_process_that_compiles_draws_the_bytes_of_those_that_find_compiled_code(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from radiographs.phantom import Recipe, write_folder\n"
        "write_folder(Path(sys.argv[1]), Recipe(12, 5, side=300, difficulty='hard'))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], env=environment, check=True)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.png")} for name in ("first", "second")
    )
    assert first == second
