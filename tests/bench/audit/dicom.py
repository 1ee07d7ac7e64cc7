"""DICOM files written on the spot, and a model that reads its answer off their pixels."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from radiographs.preprocess import Preprocessing

from bench.audit.audit import AuditOutcome, audit

CLASSES = ("Hand", "Wrist", "Knee", "Ankle", "Lumbar Spine", "Thoracic Spine", "Others")
SIDE = 32
NOT_SURE, OUT_OF_DISTRIBUTION = (
    200,
    240,
)  # grey levels from which on the model is not sure, or the image is unlike all others


def shows(*names: str, not_sure: bool = False, out_of_distribution: bool = False) -> np.ndarray:
    """Pixels of an image on which the model sees these: a bit of the grey level for each class."""
    level = sum(1 << CLASSES.index(name) for name in names)
    picture = np.full((SIDE, SIDE), 8, np.uint8)
    picture[0, :] = level
    picture[1, :] = OUT_OF_DISTRIBUTION if out_of_distribution else NOT_SURE if not_sure else 0
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

    def predict(self, images: np.ndarray) -> SimpleNamespace:
        self.blocks.append(len(images))
        seen = (images[:, 0, 0, None] >> np.arange(len(self.classes)) & 1).astype(bool)  # (n, n_classes)
        flag = images[:, 1, 0]
        absent = np.where(flag == NOT_SURE, 0.2, 0.02)[:, None]
        probability = np.where(seen, 0.97, absent)
        decision = SimpleNamespace(labels=seen, confidence=probability.max(axis=1), sure=flag != NOT_SURE)
        return SimpleNamespace(
            probability=probability, decision=decision, ood_score=np.where(flag == OUT_OF_DISTRIBUTION, 2.0, 0.3)
        )


def write_dicom(path: Path, pixels: np.ndarray, exam: str = "ACC-1", **entries: object) -> None:
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


def run(tree: Path, out: Path, **options: object) -> tuple[AuditOutcome, pd.DataFrame, pd.DataFrame]:
    outcome = audit(Stub(), tree, out, **options)
    exams, images = (
        pd.read_csv(out / name, dtype=str, keep_default_na=False) for name in ("worklist.csv", "images.csv")
    )
    return outcome, exams.set_index("exam"), images.set_index("file")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
