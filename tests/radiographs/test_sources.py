"""Layouts recognise themselves; wrong tables are refused by row and column."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from radiographs.cards import CardError, known_cards, read_card
from radiographs.sources import Hints, SourceError, limited, open_source

NAMED = Hints(keep_identifiers=True)


def picture(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four images and labels.csv with file, part and person."""
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("file,part,person\na.png,NA,1\nb.png,01,1\nc.png,nan,2\nd.png,01|NA,\n")
    return tmp_path / "labels.csv"


def test_the_real_unifesp_folder_is_recognised(shared: Path) -> None:
    listing = open_source(shared / "data/unifesp")
    assert (listing.card.name, listing.layout, len(listing.items)) == ("unifesp", "kaggle", 1027)
    assert listing.items["group"].nunique() == 445
    assert ["Lumbar Spine", "Thoracic Spine"] in listing.items["labels"].tolist()


def test_a_folder_per_class_is_recognised(shared: Path) -> None:
    listing = open_source(shared / "data/mednist")
    assert (listing.layout, len(listing.items), listing.grouped) == ("folders", 1180, False)
    assert {label for labels in listing.items["labels"] for label in labels} == {
        "AbdomenCT",
        "BreastMRI",
        "CXR",
        "ChestCT",
        "Hand",
        "HeadCT",
    }


def test_the_phantom_knows_that_it_is_synthetic(phantom_folder: Path) -> None:
    listing = open_source(phantom_folder)
    assert listing.card.synthetic
    assert listing.grouped


def test_a_table_keeps_labels_as_text_and_hides_the_patient(table: Path) -> None:
    listing = open_source(table, Hints(keep_identifiers=True, label="part", group="person", separator="|"))
    assert listing.items["labels"].tolist() == [["NA"], ["01"], ["nan"], ["01", "NA"]]
    assert listing.items["group"].tolist() == ["g000001", "g000001", "g000002", "g000003"]
    assert any("1 images have no patient" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file;label\r\na.png;Fuß\r\n", "latin-1"),
        ("file,label\na.png,Fuß\n", "utf-8-sig"),
        ("file\tlabel\na.png\tFuß\n", "utf-8"),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str, encoding: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert open_source(tmp_path / "t.csv").items["labels"].tolist() == [["Fuß"]]


def test_an_unknown_column_is_named_with_a_suggestion(table: Path) -> None:
    with pytest.raises(SourceError, match="no column 'parts'; it has 'file', 'part', 'person'; did you mean 'part'"):
        open_source(table, Hints(label="parts"))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", ""])
def test_a_path_that_leads_out_of_the_folder_is_refused_by_row(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(f"file,label\na.png,x\n{name},y\n")
    with pytest.raises(SourceError, match=r"t\.csv: row 3: is not a path inside"):
        open_source(tmp_path / "t.csv")


@pytest.mark.parametrize("again", ["a.png", "./a.png", ".//a.png"])
def test_an_image_that_stands_twice_is_refused_by_row(tmp_path: Path, again: str) -> None:
    (tmp_path / "t.csv").write_text(f"file,label\na.png,x\nb.png,x\n{again},y\n")
    with pytest.raises(SourceError, match=r"row 4: names the same image as an earlier row"):
        open_source(tmp_path / "t.csv")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_source(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="the folder is empty"):
        open_source(tmp_path / "empty")
    picture(tmp_path / "loose" / "a.png")
    with pytest.raises(SourceError, match="holds 1 images but no sub-folder per class"):
        open_source(tmp_path / "loose")


def test_an_unknown_class_number_is_refused_by_row(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("SOPInstanceUID,Target\n1.2,3 \n1.3,99 \n")
    picture(tmp_path / "images/train/1.2-c.png")
    with pytest.raises(SourceError, match="row 3: label '99' is not one of the 22 classes"):
        open_source(tmp_path)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    picture(tmp_path / "outside.png")
    picture(tmp_path / "data/x/a.png")
    picture(tmp_path / "data/y/b.png")
    (tmp_path / "data/y/link.png").symlink_to(tmp_path / "outside.png")
    assert open_source(tmp_path / "data", NAMED).items["file"].tolist() == ["x/a.png", "y/b.png"]


def test_a_limit_draws_whole_groups_and_is_said(phantom_folder: Path) -> None:
    listing = open_source(phantom_folder)
    small = limited(listing, 10, seed=0)
    assert len(small.items) == 10
    assert small.items["group"].nunique() < 10
    assert "10 of 40" in small.notes[-1]
    assert limited(listing, 10, seed=0).items.equals(small.items)


def test_every_card_is_whole() -> None:
    for name, card in known_cards().items():
        assert card.name == name
        assert card.citation.startswith("@")
        assert card.licence


def test_a_wrong_card_is_refused_by_key(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('name = "x"\ntitle = "y"\ntask = "guess"\n')
    with pytest.raises(CardError, match=r"card\.toml: task: "):
        read_card(tmp_path / "card.toml")


@pytest.fixture
def dicom_folder(tmp_path: Path) -> Path:
    """Thirty simulated radiographs as a hospital keeps them: a tree of DICOM files, train.csv beside it."""
    pytest.importorskip("pydicom")
    from radiographs.phantom import Recipe, write_folder

    write_folder(
        tmp_path / "tree", Recipe(30, 1, 120, ("Hand", "Knee", "Chest"), layout="dicom", masks=False), workers=2
    )
    return tmp_path / "tree"


def test_kaggles_dicom_version_takes_the_patients_from_the_headers(dicom_folder: Path) -> None:
    with_table = open_source(dicom_folder)
    (dicom_folder / "metadata.csv").unlink()
    listing = open_source(dicom_folder)
    assert (listing.layout, listing.grouped) == ("kaggle", True)
    assert listing.items["group"].tolist() == with_table.items["group"].tolist()
    assert listing.items["file"].str.endswith("-c.dcm").all()


def test_a_tree_of_dicom_files_is_labelled_by_its_headers(dicom_folder: Path) -> None:
    for table in ("train.csv", "metadata.csv", "truth.csv"):
        (dicom_folder / table).unlink()
    some = next((dicom_folder / "images").rglob("*.dcm"))
    (dicom_folder / "images" / "DICOMDIR").write_bytes(b"x")
    (dicom_folder / "images" / "._x.dcm").write_bytes(b"x")
    (dicom_folder / "images" / "notes.doc").write_bytes(b"x")
    some.rename(some.with_name("1.2.840.113"))
    (dicom_folder / "images" / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    listing = open_source(dicom_folder, NAMED)
    assert listing.layout == "dicom"
    labels = listing.items.set_index("file")["labels"].map(tuple)
    assert labels.pop("images/cut.dcm") == ()
    assert set(labels) == {("HAND",), ("KNEE",), ("CHEST",)}
    notes = " ".join(listing.notes)
    for reason in ("DICOMDIR", "resource fork", "not pictures, by ending"):
        assert reason in notes


def test_dicom_files_without_a_body_part_are_left_out_and_counted(dicom_folder: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    for table in ("train.csv", "metadata.csv", "truth.csv"):
        (dicom_folder / table).unlink()
    files = sorted((dicom_folder / "images").rglob("*.dcm"))
    for file in files[:4]:
        dataset = pydicom.dcmread(file)
        dataset.BodyPartExamined = ""
        dataset.save_as(file)
    listing = open_source(dicom_folder)
    assert len(listing.items) == 26
    assert "D002: 4 DICOM files have no BodyPartExamined and are ignored" in listing.notes


def test_every_frame_is_an_image_where_asked(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from radiographs.pixels import load_pixels
    from radiographs.preprocess import Preprocessing

    from tests.radiographs.test_dicom import PICTURE, twin

    two = np.stack([PICTURE, PICTURE[::-1]])
    for name, part in (("a", "HAND"), ("b", "KNEE")):
        (tmp_path / f"{name}.dcm").write_bytes(twin(two, NumberOfFrames="2", BodyPartExamined=part))
    assert open_source(tmp_path, NAMED).items["image_id"].tolist() == ["a.dcm", "b.dcm"]
    listing = open_source(tmp_path, Hints(keep_identifiers=True, frames="each"))
    assert listing.items["image_id"].tolist() == ["a.dcm#0", "a.dcm#1", "b.dcm#0", "b.dcm#1"]
    pixels = load_pixels(listing, Preprocessing(side=64), tmp_path / "cache", workers=1)
    assert not (pixels.images[0] == pixels.images[1]).all()
    assert (pixels.images[0] == pixels.images[2]).all()


def test_mura_is_labelled_and_grouped_by_its_paths(tmp_path: Path) -> None:
    for split, part, patient in (("train", "XR_ELBOW", "patient00011"), ("valid", "XR_WRIST", "patient11185")):
        for image in (1, 2):
            picture(tmp_path / f"MURA-v1.1/{split}/{part}/{patient}/study1_negative/image{image}.png")
    picture(tmp_path / "MURA-v1.1/other.png")
    listing = open_source(tmp_path / "MURA-v1.1")
    assert (listing.card.name, listing.layout) == ("mura", "paths")
    assert listing.items["labels"].tolist() == [["Elbow"], ["Elbow"], ["Wrist"], ["Wrist"]]
    assert listing.items["group"].nunique() == 2
    assert "D002: 1 images have another kind of path and are ignored" in listing.notes


def test_a_manifest_is_compared_with_its_files(tmp_path: Path, phantom_folder: Path) -> None:
    import shutil

    from radiographs.pixels import load_pixels
    from radiographs.preprocess import Preprocessing

    folder = shutil.copytree(phantom_folder, tmp_path / "data")
    first = load_pixels(open_source(folder, NAMED), Preprocessing(side=64), tmp_path / "cache", workers=2)
    first.manifest.to_parquet(folder / "manifest.parquet")
    listing = open_source(folder / "manifest.parquet", NAMED)
    assert listing.items["group"].tolist() == open_source(folder, NAMED).items["group"].tolist()
    changed = folder / listing.items["file"].iloc[3]
    Image.fromarray(np.full((80, 80), 9, np.uint8)).save(changed)
    again = load_pixels(listing, Preprocessing(side=64), tmp_path / "cache", workers=2)
    excluded = again.manifest[again.manifest["status"] == "excluded"]
    assert excluded["image_id"].tolist() == [listing.items["image_id"].iloc[3]]
    assert "was changed since its manifest was written" in excluded["reason"].iloc[0]


def test_files_outside_are_read_only_where_allowed(tmp_path: Path) -> None:
    from radiographs.pixels import load_pixels
    from radiographs.preprocess import Preprocessing

    picture(tmp_path / "elsewhere/a.png", 10)
    for name in ("x", "y"):
        picture(tmp_path / f"data/{name}/1.png", 30)
    (tmp_path / "data/labels.csv").write_text("file,label\nx/1.png,x\ny/1.png,y\n../elsewhere/a.png,x\n")
    with pytest.raises(SourceError, match=r"row 4: is not a path inside"):
        open_source(tmp_path / "data")
    listing = open_source(tmp_path / "data", Hints(keep_identifiers=True, allow_outside=True))
    assert (load_pixels(listing, Preprocessing(side=64), tmp_path / "c", workers=1).manifest["status"] == "ok").all()
    (tmp_path / "data/labels.csv").write_text("file,label\nx/1.png,x\ny/1.png,y\nlink/a.png,x\n")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    manifest = load_pixels(
        open_source(tmp_path / "data", NAMED), Preprocessing(side=64), tmp_path / "c", workers=1
    ).manifest
    assert manifest.set_index("file").loc["link/a.png", "reason"] == "leads outside the data folder (--allow-outside)"


def test_special_files_are_never_opened(tmp_path: Path) -> None:
    import os
    import socket

    picture(tmp_path / "data/x/a.png")
    picture(tmp_path / "data/y/b.png")
    os.mkfifo(tmp_path / "data/x/pipe.png")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "data/y/socket.png"))
    listing = open_source(tmp_path / "data", NAMED)
    server.close()
    assert listing.items["file"].tolist() == ["x/a.png", "y/b.png"]
    assert "D002: 2 files skipped: not a regular file" in listing.notes


def test_what_a_file_is_its_content_says_whatever_its_ending(tmp_path: Path) -> None:
    import io

    from PIL import Image

    for k, name in enumerate(("a/1.mpo", "a/2.jfif", "a/3", "a/4.img", "b/5.tiff", "b/6.gif", "b/7.txt")):
        buffer = io.BytesIO()
        kind = ("MPO", "JPEG", "PNG", "TIFF")[k % 4]
        Image.new("L", (70, 80), k * 9).save(buffer, kind, **({"save_all": True} if kind == "MPO" else {}))
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(buffer.getvalue())
    (tmp_path / "b/6.png~").write_bytes((tmp_path / "a/3").read_bytes())
    (tmp_path / "b/8.png.bak").write_bytes((tmp_path / "a/3").read_bytes())
    (tmp_path / "b/9.gif").write_bytes(b"GIF89a" + bytes(200))
    (tmp_path / "b/notes.txt").write_text("nothing")
    listing = open_source(tmp_path, Hints(keep_identifiers=True))
    assert len(listing.items) == 7
    notes = "; ".join(listing.notes)
    assert "1 file" in notes
    assert "skipped: not pictures, by ending and content" in notes
    assert "skipped: backups, and partial files" in notes
