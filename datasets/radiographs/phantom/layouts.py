"""What a folder of phantoms looks like: as Kaggle gives UNIFESP, as a table of 16-bit PNGs, or as a tree of DICOM files.

Every layout has truth.csv: what is really on each image, beside the label it was registered under.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from radiographs.phantom.regions import Region
from radiographs.phantom.views import PARTS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LAYOUTS = ("unifesp", "png", "dicom")
_DICOM_PARTS = (
    "ABDOMEN", "ANKLE", "CSPINE", "CHEST", "CLAVICLE", "ELBOW", "FOOT", "FINGER", "FOREARM", "HAND", "HIP", "KNEE",
    "LEG", "LSPINE", "", "PELVIS", "SHOULDER", "SINUS", "SKULL", "THIGH", "TSPINE", "WRIST",
)  # fmt: skip  # defined terms of PS3.16, annex L, in the order of PARTS
_DX = "1.2.840.10008.5.1.4.1.1.1.1"  # Digital X-Ray Image Storage, for presentation
_ROOT = "2.25.307117434239166953173386170041836414712"  # of this writer
_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_BITS = (8, 12, 16)
_PNG = (  # noise hardly shrinks: one cheap filter and run lengths are twice as fast as the default, and no larger
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG),
)


@dataclass(frozen=True)
class Record:
    """What is known of one image.

    Parameters
    ----------
    index : int
        Place in the data set.
    uid, study, patient : str
        Identifiers: two DICOM UIDs, and P000017.
    registered, shown : tuple of int
        Numbers of the parts of the label, and of what is really to be seen.
    views, laterality, age, extras, fracture, device, inverted : str, and bool for the last
        How and of whom it was made.
    duplicate_of : str
        uid of the image that this one nearly repeats ("": none).
    monochrome, bits : int
        For DICOM: 1 or 2, and bits per pixel.
    """

    index: int
    uid: str
    study: str
    patient: str
    registered: tuple[int, ...]
    shown: tuple[int, ...]
    views: str
    laterality: str
    age: str
    extras: str
    fracture: str
    device: str
    inverted: bool
    duplicate_of: str
    monochrome: int
    bits: int
    rows: int
    columns: int

    @property
    def target(self) -> str:
        """The label as Kaggle writes it: numbers, each followed by a blank."""
        return "".join(f"{part} " for part in self.registered)


def image_path(layout: str, record: Record) -> str:
    """Where an image lies in the folder."""
    return {
        "unifesp": f"images/train/{record.uid}-c.png",
        "png": f"images/{record.uid}.png",
        "dicom": f"images/{record.patient}/{record.study}/{record.uid}-c.dcm",
    }[layout]


def encode(layout: str, record: Record, grey: np.ndarray) -> bytes:
    """Return the file's bytes of grey levels (h, w) float32 in [0, 1]."""
    if layout == "dicom":
        return _dicom(record, grey)
    depth = 255 if layout == "unifesp" else 65535
    pixels = np.rint(depth * np.clip(grey, 0, 1)).astype(np.uint8 if layout == "unifesp" else np.uint16)
    ok, data = cv2.imencode(".png", pixels, _PNG)
    if not ok:
        raise OSError(f"{record.uid}: OpenCV could not write a PNG")
    return data.tobytes()


def write_masks(path: Path, bones: dict[str, Region], shape: tuple[int, ...]) -> None:
    """Write the bones of one image.

    `names` (n,); `shape` of the image (2,); `windows` (n, 4), top, left, rows and columns of the rectangle around each bone; `bits`,
    the pixels of one rectangle after the other, as `numpy.packbits` makes them.
    """
    regions = [bones[name] for name in sorted(bones)]
    windows = np.array([(r.top, r.left, *r.mask.shape) for r in regions], np.int32).reshape(-1, 4)
    pixels = np.concatenate([r.mask.ravel() for r in regions]) if regions else np.zeros(0, bool)
    np.savez_compressed(
        path, names=np.array(sorted(bones), dtype="U"), shape=np.array(shape), windows=windows, bits=np.packbits(pixels)
    )


def read_masks(path: Path) -> dict[str, np.ndarray]:
    """Return (h, w) bool of each bone by name, from a file of `write_masks`."""
    with np.load(path, allow_pickle=False) as file:
        windows, shape = file["windows"], tuple(file["shape"].tolist())
        sizes = windows[:, 2].astype(np.int64) * windows[:, 3]
        pixels = np.split(np.unpackbits(file["bits"], count=int(sizes.sum())).astype(bool), np.cumsum(sizes)[:-1])
        regions = [Region(w[0], w[1], p.reshape(w[2:])) for w, p in zip(windows.tolist(), pixels, strict=False)]
        return {name: region.whole(shape) for name, region in zip(file["names"].tolist(), regions, strict=True)}


def write_tables(folder: Path, layout: str, records: list[Record]) -> None:
    """Write the labels in the layout's own way, and truth.csv."""
    table = pd.DataFrame(
        {
            "SOPInstanceUID": [r.uid for r in records],
            "Target": [r.target for r in records],
            "PatientID": [r.patient for r in records],
            "StudyInstanceUID": [r.study for r in records],
            "PhotometricInterpretation": [f"MONOCHROME{r.monochrome if layout == 'dicom' else 2}" for r in records],
            "Rows": [r.rows for r in records],
            "Columns": [r.columns for r in records],
        }
    )
    if layout == "png":
        images = pd.DataFrame(
            {
                "file": [image_path(layout, r) for r in records],
                "labels": ["; ".join(PARTS[part] for part in r.registered) for r in records],
                "patient": table["PatientID"],
            }
        )
        images.to_csv(folder / "images.csv", index=False)
        (folder / "card.toml").write_text(_CARD + "\n[classes]\n" + "".join(f'"{p}" = "{p}"\n' for p in PARTS), "utf-8")
    else:
        table[["SOPInstanceUID", "Target"]].to_csv(folder / "train.csv", index=False)
        table.drop(columns="Target").to_csv(folder / "metadata.csv", index=False)
    truth = pd.DataFrame(
        {
            "file": [image_path(layout, r) for r in records],
            "shown": ["; ".join(PARTS[part] for part in r.shown) for r in records],
            "registered": ["; ".join(PARTS[part] for part in r.registered) for r in records],
            "wrong_label": [int(r.shown != r.registered) for r in records],
            "duplicate_of": [r.duplicate_of for r in records],
            "patient": table["PatientID"],
            "views": [r.views for r in records],
            "laterality": [r.laterality for r in records],
            "age": [r.age for r in records],
            "extras": [r.extras for r in records],
            "fracture": [r.fracture for r in records],
            "device": [r.device for r in records],
            "inverted": [int(r.inverted) for r in records],
        }
    )
    truth.to_csv(folder / "truth.csv", index=False)


_CARD = """name = "phantom"
title = "Phantom radiographs (synthetic)"
synthetic = true
task = "multilabel"
group = "patient"
layout = "table"
table = "images.csv"
licence = "MIT (generated by xraybench)"

[columns]
file = "file"
label = "labels"
group = "patient"
separator = ";"
"""


def _dicom(record: Record, grey: np.ndarray) -> bytes:
    """One DX object, explicit little endian, its pixels as they come from the detector's side: MONOCHROME1 or 2."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    bits = record.bits
    share = np.clip(grey if record.monochrome == 2 else 1 - grey, 0, 1)
    pixels = np.rint(share * (2**bits - 1)).astype("<u1" if bits == 8 else "<u2")
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = UID(_DX)
    data.file_meta.MediaStorageSOPInstanceUID = UID(record.uid)
    data.file_meta.TransferSyntaxUID = UID(_LITTLE_ENDIAN)
    data.file_meta.ImplementationClassUID = UID(_ROOT)
    data.SOPClassUID = _DX
    data.SOPInstanceUID = record.uid
    data.StudyInstanceUID = record.study
    data.SeriesInstanceUID = f"{record.study}.1"
    data.Modality = "DX"
    data.PatientID = record.patient
    data.PatientName = f"PHANTOM^{record.patient}"
    data.PatientComments = "SYNTHETIC: simulated by xraybench, shows no person"
    data.BodyPartExamined = _DICOM_PARTS[record.registered[0]]
    data.ImageLaterality = record.laterality or "U"
    data.AccessionNumber = record.study[-16:]
    data.ImageType = ["DERIVED", "PRIMARY"]
    data.InstanceNumber = 1
    _describe_pixels(data, record, pixels)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _describe_pixels(data: Dataset, record: Record, pixels: np.ndarray) -> None:
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = f"MONOCHROME{record.monochrome}"
    data.PresentationLUTShape = "INVERSE" if record.monochrome == 1 else "IDENTITY"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated = 8 * pixels.itemsize
    data.BitsStored, data.HighBit = record.bits, record.bits - 1
    data.PixelRepresentation = 0
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "US"
    if record.index % 3:  # some devices leave the window to the viewer
        data.WindowCenter, data.WindowWidth = str(2 ** (record.bits - 1)), str(2**record.bits)
    raw = pixels.tobytes()
    data.add_new("PixelData", "OB" if record.bits == 8 else "OW", raw + b"\0" * (len(raw) % 2))


def draw_bits(rng: np.random.Generator) -> tuple[int, int]:
    """Photometric interpretation (1 or 2) and bits per pixel of one image's device."""
    return int(rng.integers(1, 3)), int(rng.choice(_BITS))


def notice(settings: dict[str, object]) -> str:
    """Text of SYNTHETIC.txt."""
    return _NOTICE + json.dumps(settings) + "\n"


_NOTICE = """SYNTHETIC. These radiographs were simulated by xraybench (radiographs.phantom). They show no person.
They are for trying out software and for teaching, not for clinical use, and no result on them says anything about patients.
truth.csv says what is really on each image, which labels are wrong on purpose, and which images nearly repeat another.
What they were made with:
"""
