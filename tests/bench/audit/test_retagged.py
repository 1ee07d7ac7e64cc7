"""Copies with a corrected BodyPartExamined, and the log beside them; the tree itself is never changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.audit.audit import audit
from tests.bench.audit.dicom import Stub, digests, shows, write_dicom

pydicom = pytest.importorskip("pydicom")


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
    write_dicom(tree / "region.dcm", shows("Hand"), "ACC-1", BodyPartExamined="KNEE", AnatomicRegionSequence=[region])
    write_dicom(tree / "rest.dcm", shows("Others"), "ACC-2", BodyPartExamined="KNEE")
    write_dicom(tree / "several.dcm", shows("Hand", "Ankle"), "ACC-3", BodyPartExamined="KNEE")
    write_dicom(tree / "spine.dcm", shows("Lumbar Spine", "Thoracic Spine"), "ACC-4", BodyPartExamined="KNEE")
    write_dicom(tree / "without.dcm", shows("Hand"), "ACC-5", StudyDescription="Knee")
    write_dicom(tree / "right.dcm", shows("Hand"), "ACC-6", StudyDescription="Knee", BodyPartExamined="HAND")
    write_dicom(tree / "odd.dcm", shows("Hand"), "ACC-7", StudyDescription="Knee", BodyPartExamined="LOCALTERM")
    outcome = audit(Stub(), tree, tmp_path / "out", write_tags=tmp_path / "new")
    log = pd.read_csv(tmp_path / "new-retagged.csv", dtype=str, keep_default_na=False).set_index("source")
    assert "AnatomicRegionSequence" in log["reason"]["region.dcm"]
    assert log["reason"]["rest.dcm"] == "the standard has no term for just: Others"
    assert log["reason"]["several.dcm"] == "the standard has no term for just: Hand, Ankle"
    assert log["new_part"].to_dict() == {
        "region.dcm": "",
        "rest.dcm": "",
        "several.dcm": "",
        "spine.dcm": "TLSPINE",
        "without.dcm": "HAND",
    }
    assert (outcome.listed, outcome.copied, outcome.refused) == (7, 2, 3)


def test_what_is_registered_as_it_looks_is_neither_listed_nor_corrected(tmp_path: Path) -> None:
    class Doubtful(Stub):
        def predict(self, images: np.ndarray) -> SimpleNamespace:
            prediction = super().predict(images)
            prediction.probability = prediction.probability * 0.48  # its answers are less probable than not
            return prediction

    tree = tmp_path / "tree"
    write_dicom(tree / "same.dcm", shows("Wrist"), "ACC-1", BodyPartExamined="WRIST")
    write_dicom(tree / "small.dcm", shows("Wrist"), "ACC-2", BodyPartExamined="Wrist ")
    write_dicom(tree / "words.dcm", shows("Wrist"), "ACC-3", BodyPartExamined="HANDGELENK")
    write_dicom(tree / "other.dcm", shows("Wrist"), "ACC-4", BodyPartExamined="KNEE")
    write_dicom(tree / "order.dcm", shows("Wrist"), "ACC-5", BodyPartExamined="WRIST", StudyDescription="Knee")
    outcome = audit(Doubtful(), tree, tmp_path / "out", write_tags=tmp_path / "new")
    exams = pd.read_csv(tmp_path / "out/worklist.csv", keep_default_na=False).set_index("exam")
    assert exams["status"].to_dict() == dict.fromkeys(("ACC-1", "ACC-2", "ACC-3"), "fits") | dict.fromkeys(
        ("ACC-4", "ACC-5"), "does not fit"
    )
    log = pd.read_csv(tmp_path / "new-retagged.csv", dtype=str, keep_default_na=False)
    assert log[["source", "old_part", "new_part"]].to_numpy().tolist() == [["other.dcm", "KNEE", "WRIST"]]
    assert set(digests(tmp_path / "new")) == {"other.dcm"}
    assert outcome.listed == 2
