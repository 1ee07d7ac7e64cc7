"""The worklist of a tree: which exams are listed, what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from bench.audit import images as audit_images
from bench.audit.audit import audit
from bench.commands import audit as audit_command
from bench.errors import UserError
from tests.bench.audit.dicom import Stub, digests, run, shows, write_dicom

pydicom = pytest.importorskip("pydicom")
SECRETS = ("ACC-", "PATIENT-7", "CANARY", "Handaufnahme", "1.2.826.")


def test_exams_that_do_not_fit_are_listed_worst_first_in_words(tree: Path, tmp_path: Path) -> None:
    outcome, exams, _ = run(tree, tmp_path / "out")
    assert list(exams.index[:2]) == ["ACC-1", "ACC-2"]
    assert (
        exams["summary"]["ACC-1"]
        == "registered as knee (BodyPartExamined, description of the exam); 2 of 3 images look like Ankle (0.97)"
    )
    assert (
        exams["summary"]["ACC-2"] == "registered as hand, wrist (BodyPartExamined); 1 of 1 image looks like Hand (0.97)"
    )
    expected = {
        "ACC-3": "set apart",
        "ACC-4": "fits",
        "ACC-5": "part not seen",
        "ACC-6": "not judged",
        "ACC-7": "not judged",
    }
    assert exams["status"].to_dict() == {"ACC-1": "does not fit", "ACC-2": "does not fit"} | expected
    assert exams["not_seen"]["ACC-5"] == "wrist"
    assert (outcome.exams, outcome.listed, outcome.images) == (7, 2, 12)
    assert outcome.counts == {
        "judged": 6,
        "not sure": 1,
        "out of distribution": 1,
        "unregistered": 1,
        "no class": 0,
        "failed": 3,
    }


def test_what_cannot_be_compared_has_its_reason(tree: Path, tmp_path: Path) -> None:
    _, _, images = run(tree, tmp_path / "out")
    reasons = images["reason"][images["status"] == "failed"].to_dict()
    assert reasons["g/ct.dcm"] == "not a radiograph (modality CT)"
    assert reasons["g/picture.png"] == "not a DICOM file"
    assert "truncated" in reasons["g/cut.dcm"]
    assert images["mismatch"]["c/1.dcm"] == ""


def test_pseudonyms_keep_names_and_texts_out_of_every_file(tree: Path, tmp_path: Path) -> None:
    audit(Stub(), tree, tmp_path / "plain", json=True)
    audit(Stub(), tree, tmp_path / "coded", json=True, pseudonyms=True)
    plain, coded = (
        "".join(path.read_text("utf-8") for path in sorted((tmp_path / each).iterdir())) for each in ("plain", "coded")
    )
    assert [secret in plain for secret in SECRETS] == [True, False, False, True, True]  # patients are in neither
    assert not [secret for secret in (*SECRETS, "a/1.dcm", "ct.dcm", *digests(tree).values()) if secret in coded]
    assert "exam-00001" in coded
    assert "image-000001" in coded
    assert "registered as knee" in coded


def test_the_page_has_the_pictures_of_the_evidence(tree: Path, tmp_path: Path) -> None:
    audit(Stub(), tree, tmp_path / "out")
    page = (tmp_path / "out/audit.html").read_text("utf-8")
    gallery = json.loads(page.split("GALLERY = ")[1].split(";")[0])
    assert [entry[0] for entry in gallery["images"]] == ["a/1.dcm", "a/2.dcm", "b/1", "c/1.dcm", "c/2.dcm"]


@pytest.mark.parametrize("block", [1, 2, 256])
def test_blocks_and_threads_change_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(audit_images, "BLOCK", block)
    monkeypatch.setattr(audit_images, "_AHEAD", 3)
    model, counts = Stub(), []
    audit(Stub(), tree, tmp_path / "one", json=True)

    class Counting:
        def __enter__(self) -> object:
            return counts.append

        def __exit__(self, *_: object) -> None: ...

    audit(model, tree, tmp_path / "three", json=True, workers=3, counting=lambda *_: Counting())
    assert digests(tmp_path / "one") == digests(tmp_path / "three")
    assert max(model.blocks) <= block
    assert counts == sorted(counts)
    assert counts[-1] == 12
    files = pd.read_csv(tmp_path / "three/images.csv")["file"]
    assert list(files) == sorted(files)


def test_two_patients_with_one_accession_number_are_two_exams(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write_dicom(tree / "1", shows("Hand"), "7", BodyPartExamined="HAND")
    write_dicom(tree / "2", shows("Hand"), "7", BodyPartExamined="HAND", PatientID="OTHER")
    write_dicom(tree / "3", shows("Hand"), "", BodyPartExamined="HAND", StudyInstanceUID="1.9")
    _, exams, _ = run(tree, tmp_path / "out")
    assert set(exams.index) == {"7", "7 (patient 2)", "1.9"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "tree/audit"}, "--out .*is inside the tree, which is never written to"),
        ({"write_tags": "tree/new"}, "--write-tags .*is inside the tree"),
        ({"write_tags": "full"}, "exists already and is not empty"),
        ({"write_tags": "logged"}, "its log .*logged-retagged.csv exists already"),
        ({"threshold": 0.0}, "--threshold 0.0: give more than 0, at most 1"),
        ({"threshold": 1.5}, "--threshold 1.5"),
        ({"tree": "nowhere"}, "is not a folder"),
        ({"tree": "void"}, "holds no DICOM files"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_anything_is_read(
    tree: Path, tmp_path: Path, change: dict, message: str
) -> None:
    (tmp_path / "void").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    (tmp_path / "logged-retagged.csv").write_text("")
    options = {name: tmp_path / value if isinstance(value, str) else value for name, value in change.items()}
    before = digests(tmp_path)
    with pytest.raises(UserError, match=message):
        audit(Stub(), **({"tree": tree, "out": tmp_path / "out"} | options))
    assert digests(tmp_path) == before


def test_the_command_prints_what_was_found(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.inference.model

    monkeypatch.setattr(bench.inference.model, "load_model", lambda _, **__: Stub())
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(audit_command.audit)
    result = CliRunner().invoke(app, ["model", str(tree), "--write-tags", "new", "--json"])
    assert result.exit_code == 0, result.output
    assert "2 of 7 exams do not fit their registration" in result.output
    assert "3 corrected copies in new, 0 refused" in result.output
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == [
        "audit.html",
        "audit.json",
        "images.csv",
        "worklist.csv",
    ]


def test_a_file_that_takes_too_long_costs_its_own_row_and_no_other(tree: Path, tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate

    from tests.bench.made import endless_jpeg

    data = pydicom.dcmread(tree / "a/1.dcm")
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    data.Rows = data.Columns = 9000
    data.PixelData = encapsulate([endless_jpeg()])
    data["PixelData"].is_undefined_length = True
    data.save_as(tree / "a/4.dcm")
    *_, before = run(tree, tmp_path / "whole")
    *_, images = run(tree, tmp_path / "cut", seconds=2)
    row = images.loc["a/4.dcm"]
    assert row["reason"] == "took longer than 2 seconds"
    assert row["exam"] == "ACC-1"
    others = [table.drop("a/4.dcm")["status"].tolist() for table in (before, images)]
    assert others[0] == others[1]
