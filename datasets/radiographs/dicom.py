"""Reading one DICOM file into grey levels as a viewer would show them, larger being brighter.

Order of operations after DICOM PS3.4, annex N.2: stored values (`radiographs.stored`), then modality LUT or rescale, VOI LUT or window, and
last the inversion required by MONOCHROME1 or a presentation LUT shape INVERSE, once (`radiographs.shown`). Overlays are ignored. What
a plain header lacks is assumed to be the usual and reported in a remark. Of the header only `TAGS` are kept.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from radiographs.codestreams import is_whole, size_of, too_many_scans
from radiographs.entries import number, text
from radiographs.parse import parsed, quiet_pydicom
from radiographs.part10 import PREAMBLE, DicomError, is_dicom
from radiographs.shown import as_shown

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "PREAMBLE",
    "TAGS",
    "DicomError",
    "DicomImage",
    "is_dicom",
    "kept_tags",
    "quiet_pydicom",
    "read_dicom",
    "read_tags",
]

TAGS = {
    "instance": "SOPInstanceUID",
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "accession": "AccessionNumber",
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "laterality": "Laterality",
    "modality": "Modality",
    "photometric": "PhotometricInterpretation",
}
_OTHER_NAMES = {"laterality": "ImageLaterality"}  # where newer objects keep it
_CODED = ("body_part", "view", "laterality", "modality", "photometric")  # code strings; the others are identifiers
_CODE = re.compile(
    r"[A-Z0-9 _./-]{1,16}"
)  # PS3.5, 6.2, and what devices write besides; damage makes entries run into each other
_LONGEST_IDENTIFIER = 64
_WITHOUT_PICTURES = ("PR", "SR", "KO", "DOC", "AU", "ECG", "HD", "REG", "FID", "PLAN", "RTSTRUCT", "RTPLAN", "RTRECORD")
_NEVER_ZERO = ("BitsAllocated", "BitsStored")
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class DicomImage:
    """Grey levels and the header entries that were kept.

    Attributes
    ----------
    grey : array (h, w)
        uint8 or uint16 where no LUT, rescale or window applies, else float32; larger is brighter.
    tags : dict of str
        By the names of `TAGS`; empty where the header has none.
    mode : str
        Such as "DICOM MONOCHROME1 12 bit".
    frames : int
        Number of frames of the file; one was read.
    padding : array (h, w) of bool, or None
        Pixels that only fill the rectangle, which must not influence the grey levels of a picture without a window.
    remarks : tuple of str
        Notes for the user: where the header contradicts the pixels, and what was assumed.
    """

    grey: np.ndarray
    tags: dict[str, str]
    mode: str
    frames: int
    padding: np.ndarray | None = None
    remarks: tuple[str, ...] = ()


def read_dicom(data: bytes, *, max_pixels: int, frame: int = 0) -> DicomImage:
    """Decode one frame.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Rows × columns × frames above which nothing is decoded.
    frame : int
        From 0.

    Raises
    ------
    DicomError
        If the file is damaged, is not an image, is larger than the limit, or needs a decoder that is not installed.
    ModuleNotFoundError
        If pydicom is not installed.
    """
    dataset = parsed(io.BytesIO(data), max_pixels=max_pixels)
    remarks = [_guarded(lambda: _complete(dataset), "its header is damaged")]
    frames = _guarded(lambda: _checked(dataset, max_pixels, frame), "its header is damaged")
    remarks.append(_excess(dataset, frames))
    cells = _guarded(lambda: _cells(dataset, frame), "its pixels cannot be decoded")
    shown = _guarded(lambda: as_shown(cells, dataset), "its look-up tables are wrong")
    if shown.grey.size == 0 or not np.isfinite(shown.grey).all():
        raise DicomError("has NaN or infinite values")
    tags = kept_tags(dataset)
    mode = f"DICOM {tags['photometric'] or 'unknown'} {number(dataset, 'BitsStored')} bit"
    remarks.append(shown.remark)
    return DicomImage(
        np.ascontiguousarray(shown.grey), tags, mode, frames, shown.padding, tuple(each for each in remarks if each)
    )


def read_tags(stream: BinaryIO) -> tuple[dict[str, str], int] | None:
    """Read `TAGS` and the number of frames of an open file, no further than its pixels; None if it is not DICOM.

    Objects that are declared not to be pictures have 0 frames: presentation states, structured reports, key objects and the like.

    Raises
    ------
    DicomError, ModuleNotFoundError
        As `read_dicom`.
    """
    if not is_dicom(stream.read(PREAMBLE + 4)):
        return None
    stream.seek(0)
    wanted = [*TAGS.values(), *_OTHER_NAMES.values(), "NumberOfFrames", "Rows", "SOPClassUID"]
    dataset = parsed(stream, wanted=wanted)
    return kept_tags(dataset), 0 if _is_no_picture(dataset) else max(number(dataset, "NumberOfFrames", 1), 1)


def _is_no_picture(dataset: Dataset) -> bool:
    """Whether a header without rows is of a class of objects that have none; a header that lost its rows is damaged, which is different."""
    from pydicom.uid import UID

    if "Rows" in dataset:
        return False
    name = UID(text(dataset, "SOPClassUID")).name  # the UID itself for one that pydicom does not know
    return ("Storage" in name and "Image" not in name) or text(dataset, "Modality").upper() in _WITHOUT_PICTURES


def kept_tags(dataset: Dataset) -> dict[str, str]:
    """Return the entries of `TAGS` as text; empty where they are not code strings, or too long for an identifier."""
    texts = {name: text(dataset, keyword) for name, keyword in TAGS.items()}
    texts |= {name: texts[name] or text(dataset, keyword) for name, keyword in _OTHER_NAMES.items()}
    codes = {
        name: value.upper() if _CODE.fullmatch(value.upper()) else "" for name, value in texts.items() if name in _CODED
    }
    return {name: value if len(value) <= _LONGEST_IDENTIFIER else "" for name, value in texts.items()} | codes


def _complete(dataset: Dataset) -> str:
    """Fill in missing entries of a header where the rest leaves no doubt; return what was assumed."""
    photometric = "".join(text(dataset, "PhotometricInterpretation").upper().split(" "))
    samples = number(dataset, "SamplesPerPixel") or (3 if photometric.startswith(("RGB", "YBR")) else 1)
    palette = "RedPaletteColorLookupTableDescriptor" in dataset
    native = not _is_encapsulated(dataset)
    usual: dict[str, Any] = {}
    if not photometric and (samples == 1 or native):
        usual["PhotometricInterpretation"] = "RGB" if samples > 1 else "PALETTE COLOR" if palette else "MONOCHROME2"
    elif photometric:
        dataset.PhotometricInterpretation = "PALETTE COLOR" if photometric == "PALETTECOLOR" else photometric
    usual["SamplesPerPixel"] = samples
    if "PixelData" in dataset:
        stored = number(dataset, "BitsStored") or number(dataset, "BitsAllocated")
        usual |= {"BitsAllocated": 8 if stored <= 8 else 16, "BitsStored": stored, "PixelRepresentation": 0}
    if samples > 1:
        usual["PlanarConfiguration"] = 0
    lacking = {keyword: value for keyword, value in usual.items() if _is_lacking(dataset, keyword)}
    for keyword, value in lacking.items():
        setattr(dataset, keyword, value)
    said = ", ".join(f"{keyword} (assumed {value})" for keyword, value in lacking.items())
    return f"its header lacks {said}" if said else ""


def _is_lacking(dataset: Dataset, keyword: str) -> bool:
    return dataset.get(keyword, None) in (None, "") or (keyword in _NEVER_ZERO and not number(dataset, keyword, 1))


def _is_encapsulated(dataset: Dataset) -> bool:
    return "PixelData" in dataset and dataset["PixelData"].is_undefined_length


def _checked(dataset: Dataset, max_pixels: int, frame: int) -> int:
    """Return the number of frames of a file whose header is sound and whose pixel data are whole."""
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DicomError(f"holds no picture ({kept_tags(dataset)['modality'] or 'no modality'})")
    rows, columns = number(dataset, "Rows"), number(dataset, "Columns")
    frames, samples = max(number(dataset, "NumberOfFrames", 1), 1), number(dataset, "SamplesPerPixel", 1)
    if rows < 1 or columns < 1 or samples not in (1, 3, 4):
        raise DicomError(f"its header gives {rows} x {columns} pixels of {samples} values")
    if rows * columns * frames > max_pixels:
        raise DicomError(f"{columns} x {rows} x {frames} frames is over the limit of {max_pixels:,} pixels")
    if not 0 <= frame < frames:
        raise DicomError(f"has {frames} {'frame' if frames == 1 else 'frames'}, not frame {frame}")
    _check_syntax(dataset)
    _check_whole(dataset, rows, columns, frames, frame)
    return frames


def _check_syntax(dataset: Dataset) -> None:
    """Refuse unsupported compression, by name: private, video, and newer than the libraries."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        get_decoder(syntax)
    except NotImplementedError:
        name = syntax.name if _UID.fullmatch(str(syntax)) else "no UID"
        kind = "a private transfer syntax" if syntax.is_private else "a transfer syntax"
        raise DicomError(
            f"its pixels are written in {kind} that is not read here ({name}): convert it to a standard one, for example with dcmconv"
        ) from None


def _needed(dataset: Dataset, frames: int) -> int:
    """Bytes of uncompressed pixels according to the header."""
    values = number(dataset, "Rows") * number(dataset, "Columns") * number(dataset, "SamplesPerPixel", 1) * frames
    bits = values * number(dataset, "BitsAllocated")
    halved = text(dataset, "PhotometricInterpretation") == "YBR_FULL_422"  # two pixels share their colour
    return bits // 8 * 2 // 3 if halved else (bits + 7) // 8


def _check_whole(dataset: Dataset, rows: int, columns: int, frames: int, frame: int) -> None:
    """Refuse pixel data that end too early, which decoders do not always notice, or that state another size."""
    stored = dataset.get("PixelData", None)
    if stored is None:
        return
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        if len(stored) < (needed := _needed(dataset, frames)):
            raise DicomError(f"truncated: {len(stored):,} of {needed:,} bytes of pixels")
        return
    from pydicom.encaps import get_frame

    encoded = _guarded(lambda: get_frame(stored, frame, number_of_frames=frames), "its compressed pixels are damaged")
    if not encoded:
        raise DicomError("its compressed pixels are empty")
    if not syntax.is_compressed or syntax.name.startswith("RLE"):
        return
    if not is_whole(encoded):
        raise DicomError("truncated: its compressed pixels have no end")
    if scans := too_many_scans(encoded):
        raise DicomError(f"its compressed pixels have {scans:,} scans, which no encoder makes")
    if (size := size_of(encoded)) not in (None, (columns, rows)):
        raise DicomError(f"its compressed pixels are {size[0]} x {size[1]}, its header says {columns} x {rows}")


def _excess(dataset: Dataset, frames: int) -> str:
    """Remark on pixel data that hold more pictures than the header states."""
    stored, syntax = dataset.get("PixelData", None), dataset.file_meta.TransferSyntaxUID
    needed = _needed(dataset, frames)
    if stored is None or syntax.is_encapsulated or not needed or len(stored) < needed // frames * (frames + 1):
        return ""
    return f"its pixels would fill {len(stored) * frames // needed} frames, its header states {frames}"


def _cells(dataset: Dataset, frame: int) -> np.ndarray:
    """Return decoded pixel data of a frame, (h, w) or (h, w, 3), at full bit depth."""
    from pydicom.pixels.utils import pixel_array

    cells = pixel_array(dataset, index=frame, correct_unused_bits=False)
    return cells.astype(cells.dtype.newbyteorder("="), copy=False)


def _guarded(decode: Callable[[], Any], what: str) -> Any:
    """Run a decoder; any of its errors becomes one line."""
    try:
        return decode()
    except (DicomError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - decoders raise anything; one in Rust panics, which is not an Exception
        words = " ".join(str(error).split())
        if "missing dependencies" in words:
            raise DicomError("needs a decoder that is not installed: pip install 'xraybench[dicom]'") from None
        raise DicomError(f"{what} ({type(error).__name__})") from None
