"""A label comes from a file's own folder or own header, never from another file's; which of both is decided and said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from radiographs.pixels import load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import Hints, Listing, SourceError, open_source

pydicom = pytest.importorskip("pydicom")

Command = Callable[..., Any]
RNG = np.random.default_rng(0)


def dicom(path: Path, part: str, patient: str, study: str = "", **entries: object) -> None:
    from tests.radiographs.test_dicom import twin

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 255, (64, 64)).astype(np.uint8)
    path.write_bytes(twin(pixels, BodyPartExamined=part, PatientID=patient, StudyInstanceUID=study, **entries))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (64, 64), np.uint8)).save(path)


def named(folder: Path, **said: str) -> Listing:
    return open_source(folder, Hints(keep_identifiers=True, **said))


def labels(listing: Listing) -> dict[str, str]:
    items = listing.items[listing.items["refused"] == ""]
    return dict(zip(items["file"], items["labels"].str[0], strict=True))


def test_a_file_without_its_uid_keeps_its_own_label_and_patient(tmp_path: Path) -> None:
    for k in range(6):
        dicom(tmp_path / f"hand{k}.dcm", "HAND", f"P{k}")
        dicom(tmp_path / f"knee{k}.dcm", "KNEE", f"Q{k // 2}", SOPInstanceUID="")
    listing = named(tmp_path)
    assert labels(listing) == {f"{part}{k}.dcm": part.upper() for part in ("hand", "knee") for k in range(6)}
    assert listing.items["group"].nunique() == 6 + 3


def test_a_file_that_says_nothing_of_itself_is_refused_not_labelled(tmp_path: Path) -> None:
    for k in range(6):
        dicom(tmp_path / f"{k}.dcm", ("HAND", "KNEE")[k % 2], f"P{k}")
    picture(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "a jpeg.dcm")
    dicom(tmp_path / "nothing.dcm", "", "P7", SOPInstanceUID="")
    listing = named(tmp_path)
    assert set(labels(listing)) == {f"{k}.dcm" for k in range(6)}
    manifest = load_pixels(listing, Preprocessing(side=64), tmp_path / "cache", workers=1).manifest.set_index("file")
    for name in ("a jpeg.dcm", "nothing.dcm"):
        assert manifest.loc[name, "status"] == "excluded"
        assert manifest.loc[name, "reason"] == "no header states what it shows (BodyPartExamined)"
        assert manifest.loc[name, "labels"] == []


@pytest.fixture
def sorted_files(tmp_path: Path) -> Path:
    """Twelve DICOM files of as many patients in two class folders that their headers know nothing of."""
    for k in range(12):
        dicom(tmp_path / "data" / ("fracture", "normal")[k % 2] / f"{k}.dcm", ("HAND", "KNEE")[k // 6], f"P{k}")
    return tmp_path / "data"


def test_class_folders_of_dicom_files_are_the_labels_unless_told_otherwise(sorted_files: Path) -> None:
    listing = named(sorted_files)
    assert listing.layout == "folders"
    assert labels(listing) == {
        f"{('fracture', 'normal')[k % 2]}/{k}.dcm": ("fracture", "normal")[k % 2] for k in range(12)
    }
    assert listing.items["group"].nunique() == 12
    assert listing.notes[0] == (
        "D005: labels come from the folders (fracture, normal), not from BodyPartExamined; otherwise: --layout dicom"
    )
    other = named(sorted_files, layout="dicom")
    assert set(labels(other).values()) == {"HAND", "KNEE"}
    assert "--layout folders" in other.notes[0]


def test_pictures_of_a_viewer_beside_dicom_files_are_left_alone_and_counted(sorted_files: Path) -> None:
    picture(sorted_files / "VIEWER" / "icons" / "logo.png")
    assert set(labels(named(sorted_files)).values()) == {"fracture", "normal"}
    assert any("1 images that are not DICOM" in note and "VIEWER" in note for note in named(sorted_files).notes)
    listing = named(sorted_files, layout="dicom")
    assert set(labels(listing).values()) == {"HAND", "KNEE"}
    assert "D002: 1 pictures that are not DICOM have no label and are ignored" in listing.notes


def test_a_stray_picture_in_a_class_folder_has_the_label_of_its_folder(sorted_files: Path) -> None:
    picture(sorted_files / "fracture" / "x.png")
    assert labels(named(sorted_files))["fracture/x.png"] == "fracture"


@pytest.mark.parametrize("patient", ["P{}", "ANONYMOUS", ""])
def test_a_folder_for_each_patient_is_no_class(tmp_path: Path, patient: str) -> None:
    for k in range(12):
        place = tmp_path / f"Miller {'ABCDEF'[k // 2]}" / "S1" / f"{k}.dcm"
        dicom(place, ("HAND", "KNEE")[k % 2], patient.format(k // 2), f"1.2.{k // 2}")
    picture(tmp_path / "VIEWER" / "logo.png")
    listing = named(tmp_path)
    assert (listing.layout, set(labels(listing).values())) == ("dicom", {"HAND", "KNEE"})


def test_more_icons_and_previews_than_dicom_files_do_not_make_classes(tmp_path: Path) -> None:
    for k in range(8):
        dicom(tmp_path / "DICOM" / f"PA{k // 2:06d}" / f"IM{k}", ("HAND", "KNEE")[k % 2], f"P{k // 2}")
    for k in range(12):
        picture(tmp_path / "VIEWER" / f"{k}.png")
    (tmp_path / "DICOMDIR").write_bytes(b"x")
    assert set(labels(named(tmp_path)).values()) == {"HAND", "KNEE"}


def test_previews_beside_dicom_files_do_not_make_classes_of_patients(tmp_path: Path) -> None:
    for k in range(12):
        dicom(tmp_path / f"Miller {'ABC'[k // 4]}" / f"{k}.dcm", ("HAND", "KNEE")[k % 2], f"P{k // 4}")
        picture(tmp_path / f"Miller {'ABC'[k // 4]}" / f"{k}.png")
    listing = named(tmp_path)
    assert set(labels(listing).values()) == {"HAND", "KNEE"}
    assert "D002: 12 pictures that are not DICOM have no label and are ignored" in listing.notes


def test_objects_without_pictures_are_passed_over_and_counted(sorted_files: Path) -> None:
    for uid, name in (("1.2.840.10008.5.1.4.1.1.11.1", "PR"), ("1.2.840.10008.5.1.4.1.1.88.59", "KO")):
        dicom(sorted_files / "fracture" / f"{name}.dcm", "HAND", "P1", Modality=name)
        dataset = pydicom.dcmread(sorted_files / "fracture" / f"{name}.dcm")
        for keyword in ("PixelData", "Rows", "Columns"):
            delattr(dataset, keyword)
        dataset.SOPClassUID = uid
        dataset.save_as(sorted_files / "fracture" / f"{name}.dcm")
    for layout in ("folders", "dicom"):
        listing = named(sorted_files, layout=layout)
        assert len(listing.items) == 12
        assert any("2 DICOM files skipped: not pictures (presentation states" in note for note in listing.notes)


def test_an_image_that_lost_its_rows_is_damaged_and_not_passed_over(sorted_files: Path) -> None:
    dataset = pydicom.dcmread(sorted_files / "fracture" / "0.dcm")
    del dataset.Rows
    dataset.save_as(sorted_files / "fracture" / "0.dcm")
    assert len(named(sorted_files).items) == 12


def test_a_dicom_file_with_another_ending_keeps_its_patient(tmp_path: Path) -> None:
    for k in range(6):
        dicom(tmp_path / "AB"[k % 2] / f"{k}.png", "HAND", f"P{k // 2}")
    assert named(tmp_path).items["group"].nunique() == 3


def test_the_folders_of_a_split_are_run_as_published(bench_command: Command, tmp_path: Path) -> None:
    for k in range(60):
        picture(tmp_path / "data" / ("train", "val", "test")[k % 3] / ("A", "B")[k // 3 % 2] / f"{k}.png")
    run = (
        "run",
        "prior",
        "--keep-identifiers",
        "--no-pictures",
        "--data",
        tmp_path / "data",
        "--out",
        tmp_path / "run",
    )
    done = bench_command(*run, "--splits", "folders")
    assert done.returncode == 0, done.stderr
    import pandas as pd

    splits = pd.read_parquet(tmp_path / "run" / "splits.parquet").set_index("image_id")["part"]
    published = splits.index.str.split("/").str[0].map({"train": "train", "val": "valid", "test": "test"})
    assert splits.tolist() == published.tolist()


def test_a_published_split_that_parts_a_patient_is_refused_by_run_and_check(
    bench_command: Command, tmp_path: Path
) -> None:
    for k in range(60):
        dicom(tmp_path / "data" / ("train", "test")[k % 2] / "AB"[k // 2 % 2] / f"{k}.dcm", "HAND", f"P{k // 4}")
    for command in (("run", "prior", "--data", tmp_path / "data"), ("data", "check", tmp_path / "data")):
        done = bench_command(*command, "--splits", "folders")
        assert done.returncode != 0
        assert "has images in more than one part, which leaks" in done.stdout + done.stderr
    assert bench_command("run", "prior", "--data", tmp_path / "data").returncode == 0


def test_folders_called_like_patients_are_refused_without_their_names(tmp_path: Path) -> None:
    for k in range(12):
        picture(tmp_path / "images" / f"patient{k // 2:03d}" / f"{k}.png")
    with pytest.raises(SourceError, match="its 6 folders with 12 images have names like patients") as refused:
        named(tmp_path)
    assert "patient003" not in str(refused.value)


def test_tables_that_name_no_image_are_left_alone_and_those_of_others_are_refused(tmp_path: Path) -> None:
    for k in range(6):
        picture(tmp_path / "AB"[k % 2] / f"scan{k}.png")
    (tmp_path / "notes.csv").write_text("date,who\n2024-01-01,me\n")
    listing = named(tmp_path)
    assert set(labels(listing).values()) == {"A", "B"}
    assert "D002: tables that name no image are ignored: notes.csv" in listing.notes
    (tmp_path / "notes.csv").write_text("picture,class\nscan0.png,B\nscan1.png,A\n")
    with pytest.raises(SourceError, match=r"no column 'file'.*if the folders are the classes: --layout folders"):
        named(tmp_path)
    assert set(labels(named(tmp_path, layout="folders")).values()) == {"A", "B"}


def test_answers_of_a_model_never_become_labels(tmp_path: Path) -> None:
    for k in range(6):
        picture(tmp_path / "AB"[k % 2] / f"{k}.png")
    (tmp_path / "answers.csv").write_text("file,frame,status,verdict,labels,confidence\nA/0.png,0,ok,sure,B,0.9\n")
    assert set(labels(named(tmp_path)).values()) == {"A", "B"}


def test_a_table_below_wrapping_folders_is_found(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "unzipped" / "set" / f"{k}.png")
    (tmp_path / "unzipped" / "set" / "labels.csv").write_text("file,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    (tmp_path / "__MACOSX").mkdir()
    assert named(tmp_path).layout == "table"


@pytest.mark.parametrize("layout", ["table", "folders", "dicom", "kaggle"])
def test_each_frame_is_an_image_in_every_layout(tmp_path: Path, layout: str) -> None:
    from tests.radiographs.test_dicom import twin

    for k in range(4):
        place = tmp_path / ({"folders": "AB"[k % 2], "kaggle": "images"}.get(layout, ".")) / f"1.{k}-c.dcm"
        place.parent.mkdir(exist_ok=True)
        frames = RNG.integers(0, 255, (1 + k // 2, 64, 64)).astype(np.uint8)
        several = {"NumberOfFrames": str(len(frames))} if len(frames) > 1 else {}
        place.write_bytes(
            twin(frames.squeeze(), PatientID=f"P{k}", BodyPartExamined=("HAND", "KNEE")[k % 2], **several)
        )
    if layout == "table":
        (tmp_path / "t.csv").write_text("file,label\n" + "".join(f"1.{k}-c.dcm,{k % 2}\n" for k in range(4)))
    if layout == "kaggle":
        (tmp_path / "train.csv").write_text("SOPInstanceUID,Target\n" + "".join(f"1.{k},{k % 2} \n" for k in range(4)))
    assert len(named(tmp_path).items) == 4
    listing = named(tmp_path, frames="each")
    assert listing.layout == layout
    frames = listing.items.groupby(listing.items["file"].str.rpartition("/")[2])["frame"].apply(list)
    assert frames.tolist() == [[0], [0], [0, 1], [0, 1]]
    assert listing.items["group"].nunique() == 4
    assert listing.items["image_id"].str.contains(r"#[01]$").sum() == 4


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    for k in range(6):
        picture(tmp_path / "images" / "train" / f"1.{k}-c.png")
    (tmp_path / "train.csv").write_text("SOPInstanceUID,Target\n" + "".join(f"1.{k},{k % 2} \n" for k in range(6)))
    return tmp_path


def test_of_two_files_with_one_name_none_is_guessed(kaggle: Path) -> None:
    picture(kaggle / "images" / "other" / "1.3-c.png")
    (kaggle / "images" / "other" / "1.4-c.png").write_bytes((kaggle / "images" / "train" / "1.4-c.png").read_bytes())
    dicom(kaggle / "images" / "train" / "1.5-c.dcm", "HAND", "P")
    listing = named(kaggle)
    items = listing.items.set_index("image_id")
    assert items.index[items["refused"] != ""].tolist() == ["1.3"]
    assert items.loc["1.5", "file"] == "images/train/1.5-c.png"
    assert "D002: 1 images occur several times, as the same file" in listing.notes
    assert "D002: 1 images exist as DICOM and in another format; the more frequent one is used" in listing.notes


def test_a_file_without_ending_is_found_by_its_whole_uid(kaggle: Path) -> None:
    dicom(kaggle / "images" / "1.3.7", "HAND", "P")
    (kaggle / "images" / "train" / "1.3-c.png").unlink()
    listing = named(kaggle)
    assert listing.items.set_index("image_id").loc["1.3", "file"] == "1.3-c.png"
    assert any("1 images of train.csv have no file" in note for note in listing.notes)


def test_studies_of_kaggles_table_join_patients_and_contradictions_are_refused(kaggle: Path) -> None:
    rows = [f"1.{k},P{k},S{k // 2}\n" for k in range(6)]
    (kaggle / "metadata.csv").write_text("SOPInstanceUID,PatientID,StudyInstanceUID\n" + "".join(rows))
    assert named(kaggle).items["group"].nunique() == 3
    (kaggle / "metadata.csv").write_text("SOPInstanceUID,PatientID,StudyInstanceUID\n" + "".join(rows) + "1.0,P9,S0\n")
    with pytest.raises(SourceError, match=r"metadata\.csv: row 8: gives an image another patient"):
        named(kaggle)


@pytest.mark.parametrize("patient", ["", "ANONYMOUS", "Miller"])
def test_without_patients_the_images_of_a_study_share_a_group(
    bench_command: Command, tmp_path: Path, patient: str
) -> None:
    for k in range(48):
        dicom(tmp_path / "data" / f"{k}.dcm", ("HAND", "KNEE")[k // 2 % 2], patient, f"1.2.{k // 2}")
    check = bench_command("data", "check", tmp_path / "data")
    assert "48 images of 24 groups" in check.stdout
    assert ("D017" in check.stdout) == bool(patient)
    run = bench_command("run", "prior", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert run.returncode == 0, run.stderr
    assert "each study is its own group" in " ".join(run.stdout.split())
    import pandas as pd

    manifest = pd.read_parquet(tmp_path / "run" / "manifest.parquet")
    splits = pd.read_parquet(tmp_path / "run" / "splits.parquet").merge(manifest[["image_id", "study"]], on="image_id")
    assert splits.groupby(["fold", "study"])["part"].nunique().max() == 1


def test_a_study_under_two_patients_is_one_group_and_a_finding(bench_command: Command, tmp_path: Path) -> None:
    for k in range(48):
        patient = "P999" if k == 1 else f"P{k // 2}"
        dicom(tmp_path / "data" / f"{k}.dcm", ("HAND", "KNEE")[k // 2 % 2], patient, f"1.2.{k // 2}")
    check = bench_command("data", "check", tmp_path / "data")
    assert "48 images of 24 groups" in check.stdout
    assert "D026 warning" in check.stdout


def test_each_page_of_a_tiff_is_an_image_where_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a/x.tiff", "b/y.tiff"):
        (tmp_path / name).parent.mkdir()
        pages = [Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)) for _ in range(3)]
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "b/z.png")
    first = open_source(tmp_path, Hints(keep_identifiers=True))
    assert first.items["image_id"].tolist() == ["a/x.tiff", "b/y.tiff", "b/z.png"]
    each = open_source(tmp_path, Hints(keep_identifiers=True, frames="each"))
    assert each.items["image_id"].tolist() == [
        *(f"a/x.tiff#{k}" for k in range(3)),
        *(f"b/y.tiff#{k}" for k in range(3)),
        "b/z.png",
    ]
    pixels = load_pixels(each, Preprocessing(), tmp_path / "cache", workers=1)
    assert len({row.tobytes() for row in pixels.images}) == 7
