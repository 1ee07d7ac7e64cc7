"""Layouts recognise themselves; wrong tables are refused by row and column."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from radiographs.cards import CardError, known_cards, read_card
from radiographs.sources import Hints, SourceError, limited, open_source


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
    listing = open_source(table, Hints(label="part", group="person", separator="|"))
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
    with pytest.raises(SourceError, match=r"t\.csv: row 3: .* is not a path inside"):
        open_source(tmp_path / "t.csv")


def test_an_image_that_stands_twice_is_refused_by_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,label\na.png,x\nb.png,x\na.png,y\n")
    with pytest.raises(SourceError, match=r"row 4: 'a\.png' stands in an earlier row"):
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
    assert open_source(tmp_path / "data").items["file"].tolist() == ["x/a.png", "y/b.png"]


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
