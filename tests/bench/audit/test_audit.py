"""An audit of DICOM files written on the spot, by a model that reads its answer off the pixels."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import typer
from radiographs.preprocess import Preprocessing
from radiographs.registration import Registration
from typer.testing import CliRunner

from bench.audit import images as audit_images
from bench.audit.audit import AuditOutcome, audit
from bench.audit.mismatch import judge
from bench.commands import audit as audit_command
from bench.errors import UserError

pydicom = pytest.importorskip("pydicom")

CLASSES = ("Hand", "Wrist", "Knee", "Ankle", "Lumbar Spine", "Thoracic Spine", "Others")
SIDE = 32
NOT_SURE, STRANGE = 200, 240  # grey levels from which on the model is not sure, and has never seen the like
SECRETS = ("ACC-", "PATIENT-7", "CANARY", "Handaufnahme", "1.2.826.")


def shows(*names: str, not_sure: bool = False, strange: bool = False) -> np.ndarray:
    """Pixels of an image on which the model sees these: a bit of the grey level for each class."""
    level = sum(1 << CLASSES.index(name) for name in names)
    picture = np.full((SIDE, SIDE), 8, np.uint8)
    picture[0, :] = level
    picture[1, :] = STRANGE if strange else NOT_SURE if not_sure else 0
    return picture


@dataclass
class Stub:
    """Answers what `shows` wrote, with 0.97; where it is not sure, every other class is possible too."""

    task: str = "multilabel"
    name: str = "stub"
    classes: tuple[str, ...] = CLASSES
    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(side=SIDE, crop=False, normalise=False))
    blocks: list[int] = field(default_factory=list)

    @property
    def rule(self) -> SimpleNamespace:
        return SimpleNamespace(task=self.task, calibrated=lambda probability: probability)

    def look(self, images: np.ndarray) -> SimpleNamespace:
        self.blocks.append(len(images))
        seen = (images[:, 0, 0, None] >> np.arange(len(self.classes)) & 1).astype(bool)  # (n, n_classes)
        flag = images[:, 1, 0]
        absent = np.where(flag == NOT_SURE, 0.2, 0.02)[:, None]
        probability = np.where(seen, 0.97, absent)
        decision = SimpleNamespace(labels=seen, confidence=probability.max(axis=1), sure=flag != NOT_SURE)
        return SimpleNamespace(
            probability=probability, decision=decision, strangeness=np.where(flag == STRANGE, 2.0, 0.3)
        )


def write(path: Path, pixels: np.ndarray, exam: str = "ACC-1", **entries: object) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset

    number = int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:6], "big")
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.826.{number}"
    data.Modality, data.PatientID, data.PatientName = "DX", "PATIENT-7", "CANARY^NAME"
    data.AccessionNumber, data.StudyInstanceUID, data.SeriesInstanceUID = exam, "1.2.826.1", "1.2.826.2"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    for keyword, value in entries.items():
        setattr(data, keyword, value)
    data.add_new("PixelData", "OB", pixels.tobytes())
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six exams and what a hospital's tree has beside them."""
    root = tmp_path / "tree"
    knee = {"StudyDescription": "Knie li. 2 Ebenen", "BodyPartExamined": "KNEE"}
    write(root / "a/1.dcm", shows("Ankle"), "ACC-1", **knee)
    write(root / "a/2.dcm", shows("Ankle"), "ACC-1", **knee)
    write(root / "a/3.dcm", shows("Knee"), "ACC-1", **knee)
    write(
        root / "b/1",
        shows("Hand"),
        "ACC-2",
        StudyDescription="Handaufnahme Hand",
        BodyPartExamined="WRIST",
        SeriesInstanceUID="1.2.826.3",
    )
    write(root / "c/1.dcm", shows("Knee", not_sure=True), "ACC-3", BodyPartExamined="HAND")
    write(root / "c/2.dcm", shows("Knee", strange=True), "ACC-3", BodyPartExamined="HAND")
    write(
        root / "d/1.dcm", shows("Lumbar Spine"), "ACC-4", StudyDescription="RX COLUNA LOMBAR", BodyPartExamined="SPINE"
    )
    write(root / "e/1.dcm", shows("Hand"), "ACC-5", StudyDescription="hand and wrist")
    write(root / "f/1.dcm", shows("Knee"), "ACC-6", StudyDescription="Polytrauma")
    write(root / "g/ct.dcm", shows("Knee"), "ACC-7", Modality="CT", BodyPartExamined="CHEST")
    (root / "g/cut.dcm").write_bytes((root / "a/1.dcm").read_bytes()[:900])
    (root / "g/picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "g/notes.txt").write_text("nothing")
    return root


def run(tree: Path, out: Path, **options: object) -> tuple[AuditOutcome, pd.DataFrame, pd.DataFrame]:
    outcome = audit(Stub(), tree, out, **options)
    exams, images = (
        pd.read_csv(out / name, dtype=str, keep_default_na=False) for name in ("worklist.csv", "images.csv")
    )
    return outcome, exams.set_index("exam"), images.set_index("file")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_exams_that_do_not_fit_are_listed_worst_first_in_words(tree: Path, tmp_path: Path) -> None:
    outcome, exams, _ = run(tree, tmp_path / "out")
    assert list(exams.index[:2]) == ["ACC-1", "ACC-2"]
    assert (
        exams["in_words"]["ACC-1"]
        == "registered as knee (BodyPartExamined, description of the exam); 2 of 3 images look like Ankle (0.97)"
    )
    assert (
        exams["in_words"]["ACC-2"]
        == "registered as hand, wrist (BodyPartExamined); 1 of 1 image looks like Hand (0.97)"
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
    assert outcome.counts == {"judged": 6, "not sure": 1, "strange": 1, "unregistered": 1, "no class": 0, "failed": 3}


def test_what_cannot_be_compared_has_its_reason(tree: Path, tmp_path: Path) -> None:
    _, _, images = run(tree, tmp_path / "out")
    reasons = images["reason"][images["status"] == "failed"].to_dict()
    assert reasons["g/ct.dcm"] == "no radiograph (modality CT)"
    assert reasons["g/picture.png"] == "no DICOM file"
    assert "truncated" in reasons["g/cut.dcm"]
    assert images["misfit"]["c/1.dcm"] == ""


@pytest.mark.parametrize("json_too", [False, True])
def test_the_tree_is_never_changed(tree: Path, tmp_path: Path, json_too: bool) -> None:
    before, times = digests(tree), {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    audit(Stub(), tree, tmp_path / "out", write_tags=tmp_path / "new", json=json_too)
    assert digests(tree) == before
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == times
    assert (tmp_path / "out/audit.json").exists() == json_too


def test_files_that_may_only_be_read_are_enough(tree: Path, tmp_path: Path) -> None:
    for path in tree.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert audit(Stub(), tree, tmp_path / "out", write_tags=tmp_path / "new").copied == 3
    finally:
        for path in tree.rglob("*"):
            path.chmod(0o755)


def test_copies_have_the_part_that_is_seen_and_the_log_says_what_was_done(tree: Path, tmp_path: Path) -> None:
    outcome = audit(Stub(), tree, tmp_path / "out", write_tags=tmp_path / "new")
    log = pd.read_csv(tmp_path / "new-retagged.csv", dtype=str, keep_default_na=False).set_index("source")
    assert (outcome.copied, outcome.refused) == (3, 0)
    assert outcome.written[-1] == tmp_path / "new-retagged.csv"
    assert set(digests(tmp_path / "new")) == {"a/1.dcm", "a/2.dcm", "b/1"}  # what goes to an archive, and nothing else
    assert log["new_part"].to_dict() == {"a/1.dcm": "ANKLE", "a/2.dcm": "ANKLE", "b/1": "HAND"}
    assert log["old_part"].to_dict() == {"a/1.dcm": "KNEE", "a/2.dcm": "KNEE", "b/1": "WRIST"}
    assert log["whole_series"].to_dict() == {"a/1.dcm": "no", "a/2.dcm": "no", "b/1": "yes"}
    for source, row in log.iterrows():
        old, new = pydicom.dcmread(tree / source), pydicom.dcmread(tmp_path / "new" / row["copy"])
        assert (new.BodyPartExamined, new.SOPInstanceUID, old.SOPInstanceUID) == (
            row["new_part"],
            row["new_uid"],
            row["old_uid"],
        )
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID != old.SOPInstanceUID
        new.BodyPartExamined, new.SOPInstanceUID = old.BodyPartExamined, old.SOPInstanceUID
        assert new == old
        assert digests(tree)[source] == row["sha256_source"]
        assert digests(tmp_path / "new")[row["copy"]] == row["sha256_copy"]


def test_copies_are_refused_where_they_would_guess_or_contradict(tmp_path: Path) -> None:
    region = pydicom.Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "72696002", "SCT", "Knee"
    tree = tmp_path / "tree"
    write(tree / "region.dcm", shows("Hand"), "ACC-1", BodyPartExamined="KNEE", AnatomicRegionSequence=[region])
    write(tree / "rest.dcm", shows("Others"), "ACC-2", BodyPartExamined="KNEE")
    write(tree / "several.dcm", shows("Hand", "Ankle"), "ACC-3", BodyPartExamined="KNEE")
    write(tree / "spine.dcm", shows("Lumbar Spine", "Thoracic Spine"), "ACC-4", BodyPartExamined="KNEE")
    write(tree / "without.dcm", shows("Hand"), "ACC-5", StudyDescription="Knee")
    write(tree / "right.dcm", shows("Hand"), "ACC-6", StudyDescription="Knee", BodyPartExamined="HAND")
    write(tree / "odd.dcm", shows("Hand"), "ACC-7", StudyDescription="Knee", BodyPartExamined="LOCALTERM")
    outcome = audit(Stub(), tree, tmp_path / "out", write_tags=tmp_path / "new")
    log = pd.read_csv(tmp_path / "new-retagged.csv", dtype=str, keep_default_na=False).set_index("source")
    assert "AnatomicRegionSequence" in log["reason"]["region.dcm"]
    assert log["reason"]["rest.dcm"] == "no term of the standard says just: Others"
    assert log["reason"]["several.dcm"] == "no term of the standard says just: Hand, Ankle"
    assert log["new_part"].to_dict() == {
        "region.dcm": "",
        "rest.dcm": "",
        "several.dcm": "",
        "spine.dcm": "TLSPINE",
        "without.dcm": "HAND",
    }
    assert (outcome.listed, outcome.copied, outcome.refused) == (7, 2, 3)


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
    album = json.loads(page.split("ALBUM = ")[1].split(";")[0])
    assert [entry[0] for entry in album["images"]] == ["a/1.dcm", "a/2.dcm", "b/1", "c/1.dcm", "c/2.dcm"]


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
    write(tree / "1", shows("Hand"), "7", BodyPartExamined="HAND")
    write(tree / "2", shows("Hand"), "7", BodyPartExamined="HAND", PatientID="OTHER")
    write(tree / "3", shows("Hand"), "", BodyPartExamined="HAND", StudyInstanceUID="1.9")
    _, exams, _ = run(tree, tmp_path / "out")
    assert set(exams.index) == {"7", "7 (patient 2)", "1.9"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "tree/audit"}, "--out .*lies in the tree, which is never written to"),
        ({"write_tags": "tree/new"}, "--write-tags .*lies in the tree"),
        ({"write_tags": "full"}, "is there already and not empty"),
        ({"write_tags": "logged"}, "its log .*logged-retagged.csv is there"),
        ({"threshold": 0.0}, "--threshold 0.0: give more than 0, at most 1"),
        ({"threshold": 1.5}, "--threshold 1.5"),
        ({"tree": "nowhere"}, "is no folder"),
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


def judged(registration: Registration, probability: dict[str, float], **options: object) -> dict:
    values = np.array([probability.get(name, 0.0) for name in CLASSES])
    settings = {
        "confidence": values.max(),
        "sure": True,
        "strangeness": 0.1,
        "several": True,
        "threshold": 0.5,
    } | options
    return judge(registration, CLASSES, values, values >= 0.5, **settings)


def test_the_misfit_is_one_minus_the_largest_probability_that_fits() -> None:
    spine = Registration(body_part="SPINE")
    found = judged(spine, {"Lumbar Spine": 0.3, "Thoracic Spine": 0.45, "Knee": 0.6})
    assert found["misfit"] == pytest.approx(0.55)
    assert (found["predicted"], found["contradicted"], found["registered"]) == ("Knee", "BodyPartExamined", "spine")
    one_label = judged(spine, {"Lumbar Spine": 0.3, "Thoracic Spine": 0.45, "Knee": 0.25}, several=False)
    assert one_label["misfit"] == pytest.approx(0.25)
    assert one_label["predicted"] == "Thoracic Spine"


def test_the_worst_entry_of_the_header_counts() -> None:
    found = judged(
        Registration(body_part="HAND", study_description="Knee", view="MORTISE"),
        {"Knee": 0.9, "Hand": 0.2, "Ankle": 0.6},
    )
    assert found["misfit"] == pytest.approx(0.8)
    assert found["misfit_body_part"] == pytest.approx(0.8)
    assert found["contradicted"] == "BodyPartExamined"
    assert found["predicted"] == "Knee; Ankle"


@pytest.mark.parametrize("several", [True, False])
def test_an_answer_that_fits_is_no_misfit_however_improbable(*, several: bool) -> None:
    wrist = Registration(body_part="WRIST", study_description="Wrist")
    found = judged(wrist, {"Wrist": 0.47, "Hand": 0.3}, several=several)
    assert (found["status"], found["predicted"], found["contradicted"]) == ("judged", "Wrist", "")
    assert found["misfit"] == pytest.approx(0.53)
    assert judged(wrist, {"Wrist": 0.3, "Hand": 0.47}, several=several)["contradicted"] != ""
    hardly = judged(wrist, {"Wrist": 0.08, "Hand": 0.07}, several=several, sure=False)
    assert (hardly["status"], hardly["contradicted"]) == ("not sure", "")
    region = judged(Registration(body_part="SPINE"), {"Lumbar Spine": 0.4, "Thoracic Spine": 0.05}, several=several)
    assert region["contradicted"] == ""


def test_what_is_registered_as_it_looks_is_neither_listed_nor_corrected(tmp_path: Path) -> None:
    class Doubtful(Stub):
        def look(self, images: np.ndarray) -> SimpleNamespace:
            look = super().look(images)
            look.probability = look.probability * 0.48  # its answers are less probable than not
            return look

    tree = tmp_path / "tree"
    write(tree / "same.dcm", shows("Wrist"), "ACC-1", BodyPartExamined="WRIST")
    write(tree / "small.dcm", shows("Wrist"), "ACC-2", BodyPartExamined="Wrist ")
    write(tree / "words.dcm", shows("Wrist"), "ACC-3", BodyPartExamined="HANDGELENK")
    write(tree / "other.dcm", shows("Wrist"), "ACC-4", BodyPartExamined="KNEE")
    write(tree / "order.dcm", shows("Wrist"), "ACC-5", BodyPartExamined="WRIST", StudyDescription="Knee")
    outcome = audit(Doubtful(), tree, tmp_path / "out", write_tags=tmp_path / "new")
    exams = pd.read_csv(tmp_path / "out/worklist.csv", keep_default_na=False).set_index("exam")
    assert exams["status"].to_dict() == dict.fromkeys(("ACC-1", "ACC-2", "ACC-3"), "fits") | dict.fromkeys(
        ("ACC-4", "ACC-5"), "does not fit"
    )
    log = pd.read_csv(tmp_path / "new-retagged.csv", dtype=str, keep_default_na=False)
    assert log[["source", "old_part", "new_part"]].to_numpy().tolist() == [["other.dcm", "KNEE", "WRIST"]]
    assert set(digests(tmp_path / "new")) == {"other.dcm"}
    assert outcome.listed == 2


@pytest.mark.parametrize(
    ("registration", "options", "status"),
    [
        (Registration(), {}, "unregistered"),
        (Registration(body_part="CHEST"), {}, "judged"),  # the class for the rest fits
        (Registration(body_part="KNEE"), {"sure": False}, "not sure"),
        (Registration(body_part="KNEE"), {"sure": False, "strangeness": 1.01}, "strange"),
        (Registration(body_part="KNEE"), {"strangeness": 1.0}, "judged"),
    ],
)
def test_who_is_judged(registration: Registration, options: dict, status: str) -> None:
    found = judged(registration, {"Knee": 0.9}, **options)
    assert found["status"] == status
    assert np.isnan(found["misfit"]) == (status != "judged")


def test_a_part_that_the_model_has_no_class_for_is_not_judged() -> None:
    found = judge(Registration(body_part="CHEST"), ("Hand", "Knee"), np.array([0.9, 0.1]), np.array([True, False]),
                  confidence=0.9, sure=True, strangeness=0.0, several=True, threshold=0.5)  # fmt: skip
    assert found["status"] == "no class"


def test_the_command_prints_what_was_found(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.inference.model

    monkeypatch.setattr(bench.inference.model, "load_model", lambda _: Stub())
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


def test_an_image_that_hardly_can_be_what_it_is_registered_as_is_judged_though_the_model_is_not_sure() -> None:
    registration = Registration(body_part="HAND")
    statuses = []
    for of_hand in (0.3, 0.05):
        probability = np.array([of_hand, 0.1, 0.4, 0.4, 0.05, 0.05, 0.05])
        row = judge(
            registration,
            CLASSES,
            probability,
            probability >= 0.4,
            confidence=0.4,
            sure=False,
            strangeness=0.3,
            several=True,
            threshold=0.5,
        )
        statuses.append(row["status"])
    assert statuses == ["not sure", "judged"]


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
