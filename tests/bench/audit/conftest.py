"""A tree of DICOM files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.audit.dicom import shows, write_dicom


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six exams and what a hospital's tree has beside them."""
    pytest.importorskip("pydicom")
    root = tmp_path / "tree"
    knee = {"StudyDescription": "Knie li. 2 Ebenen", "BodyPartExamined": "KNEE"}
    write_dicom(root / "a/1.dcm", shows("Ankle"), "ACC-1", **knee)
    write_dicom(root / "a/2.dcm", shows("Ankle"), "ACC-1", **knee)
    write_dicom(root / "a/3.dcm", shows("Knee"), "ACC-1", **knee)
    write_dicom(
        root / "b/1",
        shows("Hand"),
        "ACC-2",
        StudyDescription="Handaufnahme Hand",
        BodyPartExamined="WRIST",
        SeriesInstanceUID="1.2.826.3",
    )
    write_dicom(root / "c/1.dcm", shows("Knee", not_sure=True), "ACC-3", BodyPartExamined="HAND")
    write_dicom(root / "c/2.dcm", shows("Knee", out_of_distribution=True), "ACC-3", BodyPartExamined="HAND")
    write_dicom(
        root / "d/1.dcm", shows("Lumbar Spine"), "ACC-4", StudyDescription="RX COLUNA LOMBAR", BodyPartExamined="SPINE"
    )
    write_dicom(root / "e/1.dcm", shows("Hand"), "ACC-5", StudyDescription="hand and wrist")
    write_dicom(root / "f/1.dcm", shows("Knee"), "ACC-6", StudyDescription="Polytrauma")
    write_dicom(root / "g/ct.dcm", shows("Knee"), "ACC-7", Modality="CT", BodyPartExamined="CHEST")
    (root / "g/cut.dcm").write_bytes((root / "a/1.dcm").read_bytes()[:900])
    (root / "g/picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "g/notes.txt").write_text("nothing")
    return root
