"""Names of patients, their numbers, UIDs, EXIF entries and file names appear nowhere but where the user asked for them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

Command = Callable[..., Any]
CANARY = "CANARY77"


@pytest.fixture
def dicom_tree(tmp_path: Path) -> Path:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    rng, root = np.random.default_rng(0), tmp_path / "hospital"
    for k in range(24):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.7777777.{k}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, f"1.2.7777777.{k}"
        image.PatientName, image.PatientID = f"{CANARY}^NAME{k // 2}", f"{CANARY}-{k // 2}"
        image.StudyInstanceUID, image.SeriesInstanceUID = f"1.2.7777777.8.{k}", f"1.2.7777777.9.{k}"
        image.AccessionNumber, image.InstitutionName = f"{CANARY}A", f"{CANARY}I"
        image.BodyPartExamined = "HAND" if k % 4 < 2 else "KNEE"
        image.Modality, image.PhotometricInterpretation, image.SamplesPerPixel = "CR", "MONOCHROME2", 1
        image.Rows = image.Columns = 64
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
        image.PixelData = (rng.integers(0, 4096, (64, 64)) // (1 + 3 * (k % 4 < 2))).astype("<u2").tobytes()
        place = root / f"{CANARY}_{k // 2}" / f"{CANARY}_{k}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(place, image, enforce_file_format=True)
    (root / f"{CANARY}_0" / f"{CANARY}_broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + CANARY.encode() * 9)
    return root


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    rng, root = np.random.default_rng(0), tmp_path / "clinic"
    for k in range(24):
        picture = Image.fromarray(rng.integers(0, 255 if k % 2 else 90, (64, 64), np.uint8))
        exif = picture.getexif()
        exif[0x010E], exif[0x9C9B] = f"{CANARY} description", f"{CANARY}".encode("utf-16-le")
        place = root / ("hand", "knee")[k % 2] / f"{CANARY}_{k}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place, exif=exif, comment=CANARY.encode())
    (root / "hand" / f"{CANARY}_torn.jpg").write_bytes(place.read_bytes()[:300])
    return root


def appearances(folder: Path, but: Path) -> list[str]:
    """Files below a folder in which, or in whose names, the canary or a UID stands; tables are unpacked."""
    found = []
    for path in folder.rglob("*"):
        if path.is_relative_to(but) or not path.is_file():
            continue
        text = str(path.relative_to(folder)).encode() + path.read_bytes()
        if path.suffix == ".parquet":
            text += pd.read_parquet(path).to_csv().encode()
        if any(word in text for word in (CANARY.encode(), CANARY.encode("utf-16-le"), b"7777777")):
            found.append(str(path.relative_to(folder)))
    return found


@pytest.mark.parametrize("source", ["dicom_tree", "folders"])
def test_no_identifier_reaches_an_output(
    bench_command: Command, source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(source)
    commands = [
        ("data", "check", data, "--json", "check.json", "--html", "check.html"),
        ("splits", data, "--folds", 2, "--out", "splits.json"),
        ("run", "prior", "hog-svm", "--data", data, "--folds", 2, "--out", "run"),
        ("run", "prior", "--data", data, "--splits", "splits.json", "--out", "again"),
        ("report", "run", "--html", "--csv", "--md", "--latex"),
        ("run", "prior", "--data", data, "--folds", 90, "--out", "refused"),
        ("cite", "run"),
    ]
    for command in commands:
        done = bench_command(*command)
        expected = {"check.json": 1, "refused": 2}  # the broken file is an error of the data; 90 folds are too many
        assert done.returncode == next((code for word, code in expected.items() if word in command), 0), done.stdout
        said = done.stdout + done.stderr
        assert CANARY not in said, said
        assert "7777777" not in said
    assert appearances(tmp_path, data) == []
    manifest = pd.read_parquet(tmp_path / "run/manifest.parquet")
    assert manifest["image_id"].is_unique
    assert (manifest["status"] == "ok").sum() == 24
    assert manifest.loc[manifest["status"] == "excluded", "image_id"].tolist() == ["unread-000001"]
    if source == "dicom_tree":
        assert manifest.loc[manifest["status"] == "ok", "group"].nunique() == 12
        assert json.loads((tmp_path / "run/run.json").read_text())["data"]["n_groups"] == 12


def test_who_asks_for_names_gets_them(bench_command: Command, folders: Path, tmp_path: Path) -> None:
    done = bench_command("run", "prior", "--data", folders, "--folds", 2, "--out", "run", "--keep-identifiers")
    assert f"excluded: hand/{CANARY}_torn.jpg: damaged or truncated" in done.stdout
    assert f"hand/{CANARY}_0.jpg" in set(pd.read_parquet(tmp_path / "run/manifest.parquet")["image_id"])


def test_names_are_the_same_wherever_the_files_are(bench_command: Command, folders: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folders, tmp_path / "copy")
    for data, out in ((folders, "one"), (tmp_path / "copy", "two")):
        assert bench_command("run", "prior", "--data", data, "--folds", 2, "--out", out).returncode == 0
    one, two = (pd.read_parquet(tmp_path / out / "splits.parquet") for out in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
