"""Tables and cards as other programs write them: encodings, separators, marks; and why a file that they name is missing."""

import codecs
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from radiographs.cards import read_card
from radiographs.lookup import Lookup
from radiographs.pixels import load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import Hints, open_source
from radiographs.splits import SplitsError, check_splits, read_splits
from radiographs.tables import read_table
from radiographs.text import encoding_of

NAMED = Hints(keep_identifiers=True)
WORDS = (
    "Mão",
    "Tórax",
    "Fêmur",
    "Crânio",
    "Schädel",
    "Fußgelenk",
    "Pé",
    "ÓRBITA",
    "Schlüsselbein",
    "Côtes",
    "Muñeca",
    "L’épaule",
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_says_the_same_in_every_encoding(tmp_path: Path, encoding: str, separator: str) -> None:
    lines = [separator.join(("file", "label")), *(separator.join((f"{k}.png", word)) for k, word in enumerate(WORDS))]
    (tmp_path / "labels.csv").write_bytes("\r\n".join(lines).encode(encoding))
    table = read_table(tmp_path / "labels.csv")
    assert table["label"].tolist() == list(WORDS)
    guessed = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman"}.get(encoding)
    assert (guessed is None) == ("note" not in table.attrs)
    assert guessed is None or f"was read as {guessed}" in table.attrs["note"]


@pytest.mark.parametrize("word", ["Mão", "Tórax", "Fêmur", "Crânio", "Schädel", "Schlüsselbein", "Côtes"])
def test_one_word_is_enough_to_tell_two_code_pages(word: str) -> None:
    assert encoding_of(f"file,label\n1.png,{word}\n".encode("cp1252")) == "cp1252"
    assert encoding_of(f"file,label\n1.png,{word}\n".encode("mac_roman")) == "mac_roman"


def test_utf_16_without_a_mark_is_told_by_its_zeros() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        assert encoding_of("file,label\n".encode(encoding)) == encoding


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "sep=\t", "sep=|"])
def test_a_first_line_may_name_the_separator(tmp_path: Path, line: str) -> None:
    separator = line.strip('"')[-1]
    (tmp_path / "labels.csv").write_text(f"{line}\nfile{separator}label\na,b.png{separator}Hand\n")
    assert read_table(tmp_path / "labels.csv").to_dict("records") == [{"file": "a,b.png", "label": "Hand"}]


def test_a_card_and_a_suite_may_begin_with_a_mark(tmp_path: Path) -> None:
    from bench.recipes.suite import load_suite

    (tmp_path / "card.toml").write_bytes(codecs.BOM_UTF8 + b'name = "mine"\ntitle = "Mine"\n')
    assert read_card(tmp_path / "card.toml").name == "mine"
    text = b'[models.prior]\nhead = { class = "baselines.prior:Prior" }\n'
    (tmp_path / "mine.toml").write_bytes(codecs.BOM_UTF8 + text)
    assert list(load_suite(str(tmp_path / "mine.toml")).models) == ["prior"]


def test_published_splits_may_be_in_utf_16(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_bytes("image_id;repeat;fold;part\nMão.png;0;0;test\n".encode("utf-16"))
    assert read_splits(tmp_path / "splits.csv").to_dict("records") == [
        {"image_id": "Mão.png", "repeat": 0, "fold": 0, "part": "test"}
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("images/a", "it exists with the ending .PNG"),
        ("images/a.png", "it exists in different upper and lower case"),
        ("a.PNG", "it exists in another folder"),
        ("a", "it exists in another folder, with an ending"),
        ("images\\a.PNG", "it exists with / instead of \\"),
        ("images\\a.png", "it exists in different upper and lower case"),
        ("images/z.png", ""),
    ],
)
def test_a_file_that_is_called_otherwise_is_named_by_what_differs(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.PNG").touch()
    assert Lookup(tmp_path).why_missing(name) == why


def test_the_reason_of_an_absent_file_stands_in_the_manifest_without_any_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("x/one.png", "two.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\nx/one.png,a\ntwo.png,b\none,b\nthree.png,b\n")
    listing = open_source(tmp_path / "labels.csv", NAMED)
    manifest = load_pixels(listing, Preprocessing(), tmp_path / "cache", workers=1).manifest
    absent = "cannot be opened (No such file or directory)"
    assert manifest.set_index("file")["reason"].dropna().to_dict() == {
        "two.png": f"{absent}: it exists in different upper and lower case",
        "one": f"{absent}: it exists in another folder, with an ending",
        "three.png": absent,
    }


def test_splits_that_call_images_by_other_names_say_which_option_helps() -> None:
    ours, theirs = [f"x{k:020x}" for k in range(3)], ["a.png", "b.png", "c.png"]
    rows = {"repeat": 0, "fold": 0, "part": ["train", "valid", "test"]}
    groups = np.array(["1", "2", "3"])
    with pytest.raises(SplitsError, match=r"named by SHA-256: .*give --keep-identifiers"):
        check_splits(pd.DataFrame({"image_id": theirs, **rows}), ours, groups, "published.csv")
    with pytest.raises(SplitsError, match="leave out --keep-identifiers"):
        check_splits(pd.DataFrame({"image_id": ours, **rows}), theirs, groups, "published.csv")
