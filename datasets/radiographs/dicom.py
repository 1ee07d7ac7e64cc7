"""Reading one DICOM file into grey levels as a viewer would show them, larger being brighter.

Order of operations after DICOM PS3.4, annex N.2: stored values, modality LUT or rescale, VOI LUT or window, and last the inversion
that MONOCHROME1 or a presentation LUT shape INVERSE asks for, once. Overlays are left alone. Of the header only `TAGS` are kept.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

PREAMBLE = 128  # bytes before the four letters DICM
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
)  # PS3.5, 6.2, and what devices write beside it; damage makes entries run into each other
_LONGEST_IDENTIFIER = 64
_WITHOUT_PICTURES = ("PR", "SR", "KO", "DOC", "AU", "ECG", "HD", "REG", "FID", "PLAN", "RTSTRUCT", "RTPLAN", "RTRECORD")
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 code streams
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


class DicomError(ValueError):
    """A DICOM file that must not be used; the message says why, in words that hold nothing of its header."""


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
        How many the file has; one was read.
    """

    grey: np.ndarray
    tags: dict[str, str]
    mode: str
    frames: int


def is_dicom(data: bytes) -> bool:
    """Whether a file's first bytes are those of a DICOM file, whatever stands in its preamble (some hold a TIFF header there)."""
    return data[PREAMBLE : PREAMBLE + 4] == b"DICM"


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
        If the file is damaged, is no image, is larger than the limit, or needs a decoder that is not there.
    ModuleNotFoundError
        If pydicom is not installed.
    """
    dataset = _parsed(io.BytesIO(data))
    frames = _guarded(lambda: _checked(dataset, max_pixels, frame), "its header is damaged")
    stored = _guarded(lambda: _pixels(dataset, frame), "its pixels cannot be decoded")
    photometric = kept_tags(dataset)["photometric"]
    grey = _guarded(lambda: _as_shown(stored, dataset, photometric), "its look-up tables are wrong")
    if grey.size == 0 or not np.isfinite(grey).all():
        raise DicomError("has NaN or infinite values")
    mode = f"DICOM {photometric or 'unknown'} {int(dataset.get('BitsStored', 0) or 0)} bit"
    return DicomImage(np.ascontiguousarray(grey), kept_tags(dataset), mode, frames)


def read_tags(stream: BinaryIO) -> tuple[dict[str, str], int] | None:
    """Read `TAGS` and the number of frames of an open file, no further than its pixels; None if it is not DICOM.

    There are 0 frames in what is no picture by its own word: presentation states, structured reports, key objects and their like.

    Raises
    ------
    DicomError, ModuleNotFoundError
        As `read_dicom`.
    """
    if not is_dicom(stream.read(PREAMBLE + 4)):
        return None
    stream.seek(0)
    dataset = _parsed(stream, header_only=True)
    return kept_tags(dataset), 0 if _is_no_picture(dataset) else max(_number(dataset, "NumberOfFrames", 1), 1)


def _is_no_picture(dataset: Dataset) -> bool:
    """Whether a header without rows is of a class of objects that have none; a header that lost its rows is damaged, and another matter."""
    from pydicom.uid import UID

    if "Rows" in dataset:
        return False
    name = UID(_text(dataset, "SOPClassUID")).name  # the UID itself for one that pydicom does not know
    return ("Storage" in name and "Image" not in name) or _text(dataset, "Modality").upper() in _WITHOUT_PICTURES


def kept_tags(dataset: Dataset) -> dict[str, str]:
    """The entries of `TAGS` as text; empty where they are no code string, or too long for an identifier."""
    texts = {name: _text(dataset, keyword) for name, keyword in TAGS.items()}
    texts |= {name: texts[name] or _text(dataset, keyword) for name, keyword in _OTHER_NAMES.items()}
    codes = {
        name: text.upper() if _CODE.fullmatch(text.upper()) else "" for name, text in texts.items() if name in _CODED
    }
    return {name: text if len(text) <= _LONGEST_IDENTIFIER else "" for name, text in texts.items()} | codes


@cache
def quiet_pydicom() -> Any:
    """Import pydicom, quiet about odd values: its warnings would print what the header holds."""
    import pydicom

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    return pydicom


def _parsed(stream: BinaryIO, *, header_only: bool = False) -> Dataset:
    pydicom = quiet_pydicom()
    wanted = [*TAGS.values(), *_OTHER_NAMES.values(), "NumberOfFrames", "Rows", "SOPClassUID"] if header_only else None
    # pydicom raises these and more on damaged headers, with values of the header in the message: the kind is all that is told.
    try:
        return pydicom.dcmread(stream, stop_before_pixels=header_only, specific_tags=wanted)
    except Exception as error:  # noqa: BLE001 - whatever a damaged header does to the parser, the file is refused
        raise DicomError(f"damaged DICOM header ({type(error).__name__})") from None


def _checked(dataset: Dataset, max_pixels: int, frame: int) -> int:
    """Number of frames of a file whose header is sound and whose pixel data are whole."""
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DicomError(f"holds no picture ({kept_tags(dataset)['modality'] or 'no modality'})")
    rows, columns = _number(dataset, "Rows"), _number(dataset, "Columns")
    frames, samples = max(_number(dataset, "NumberOfFrames", 1), 1), _number(dataset, "SamplesPerPixel", 1)
    if rows < 1 or columns < 1 or samples not in (1, 3, 4):
        raise DicomError(f"its header gives {rows} x {columns} pixels of {samples} values")
    if rows * columns * frames > max_pixels:
        raise DicomError(f"{columns} x {rows} x {frames} frames is over the limit of {max_pixels:,} pixels")
    if not 0 <= frame < frames:
        raise DicomError(f"has {frames} frames, no frame {frame}")
    _check_whole(dataset, rows * columns * samples, frames, frame)
    return frames


def _check_whole(dataset: Dataset, values: int, frames: int, frame: int) -> None:
    """Refuse pixel data that end too early, which decoders do not always notice."""
    bits = _number(dataset, "BitsAllocated")
    stored = dataset.get("PixelData", None)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if stored is None or syntax is None:
        return
    if not syntax.is_compressed or syntax.is_deflated:
        photometric = str(dataset.get("PhotometricInterpretation", ""))
        halved = photometric == "YBR_FULL_422"  # two pixels share their colour
        needed = (values * frames * bits + 7) // 8 if not halved else values * frames * bits // 8 * 2 // 3
        if len(stored) < needed:
            raise DicomError(f"truncated: {len(stored):,} of {needed:,} bytes of pixels")
        return
    from pydicom.encaps import get_frame

    encoded = _guarded(lambda: get_frame(stored, frame, number_of_frames=frames), "its compressed pixels are damaged")
    if not encoded:
        raise DicomError("its compressed pixels are empty")
    rle = syntax.name.startswith("RLE")
    if not rle and _END_OF_IMAGE not in encoded[-64:]:
        raise DicomError("truncated: its compressed pixels have no end")


def _pixels(dataset: Dataset, frame: int) -> np.ndarray:
    """Stored values of a frame, (h, w) or (h, w, 3)."""
    from pydicom.pixels import apply_color_lut, pixel_array

    stored = pixel_array(dataset, index=frame)
    if str(dataset.get("PhotometricInterpretation", "")).upper() == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _as_shown(stored: np.ndarray, dataset: Dataset, photometric: str) -> np.ndarray:
    if stored.ndim == 3:
        peak = np.iinfo(stored.dtype).max if stored.dtype.kind in "ui" else 1.0
        return np.rint(stored[..., :3].astype(np.float32) @ _LUMA * (255 / peak)).astype(np.uint8)  # (h, w)
    grey, (low, high) = _through_luts(stored, dataset)
    if photometric == "MONOCHROME1" or str(dataset.get("PresentationLUTShape", "")).upper() == "INVERSE":
        if grey.dtype in (np.uint8, np.uint16):
            return (int(high) - grey.astype(np.int64)).clip(0).astype(grey.dtype)
        grey = low + high - grey
    return grey if grey.dtype in (np.uint8, np.uint16) else grey.astype(np.float32)


def _through_luts(stored: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[float, float]]:
    """Values after modality and VOI transforms, and the range they may have, which is what an inversion turns around."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    ends = np.array(_stored_range(stored, dataset))
    values = stored
    if "ModalityLUTSequence" in dataset:
        values = apply_modality_lut(stored, dataset)
        ends = np.array([0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1])
    elif (slope := _decimal(dataset, "RescaleSlope", 1.0)) and (slope, _decimal(dataset, "RescaleIntercept", 0.0)) != (
        1,
        0,
    ):
        intercept = _decimal(dataset, "RescaleIntercept", 0.0)
        values, ends = stored * slope + intercept, np.sort(ends * slope + intercept)
    if "VOILUTSequence" in dataset:
        shown = apply_voi_lut(values.astype(np.int64) if values.dtype.kind == "f" else values, dataset)
        return shown, (0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    window = _window(dataset)
    if window is not None:
        shown = _windowed(values, *window, ends)
        if np.ptp(shown) > 0 or np.ptp(values) == 0:  # a window beside the values would leave nothing to see
            return shown, (float(ends[0]), float(ends[1]))
    return values, (float(ends[0]), float(ends[1]))


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None where there is none that means anything."""
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR").upper()
    center, width = _decimal(dataset, "WindowCenter", np.nan), _decimal(dataset, "WindowWidth", np.nan)
    sound = np.isfinite([center, width]).all() and (width >= 1 if function == "LINEAR" else width > 0)
    return (center, width, function) if sound else None


def _windowed(values: np.ndarray, center: float, width: float, function: str, ends: np.ndarray) -> np.ndarray:
    """Apply a window after PS3.3, C.11.2.1.2; the output spans the range that the values may have."""
    low, high = float(ends[0]), float(ends[1])
    x = values.astype(np.float64)
    if function == "SIGMOID":
        return (high - low) / (1 + np.exp(-4 * (x - center) / width)) + low
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
        if width == 0:
            return np.where(x <= center, low, high)
    return ((x - center) / width + 0.5).clip(0, 1) * (high - low) + low


def _stored_range(stored: np.ndarray, dataset: Dataset) -> tuple[float, float]:
    if stored.dtype.kind == "f":
        return float(stored.min()), float(stored.max())
    bits = _number(dataset, "BitsStored") or stored.dtype.itemsize * 8
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if _number(dataset, "PixelRepresentation") else (0, 2**bits - 1)
    )
    return float(min(low, stored.min())), float(max(high, stored.max()))


def _guarded(decode: Callable[[], Any], what: str) -> Any:
    """Run a decoder; whatever it does not like becomes one line."""
    try:
        return decode()
    except (DicomError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - decoders raise what they please; one in Rust panics, which is no Exception
        text = " ".join(str(error).split())
        if "missing dependencies" in text:
            raise DicomError("needs a decoder that is not installed: pip install 'xraybench[dicom]'") from None
        raise DicomError(f"{what} ({type(error).__name__})") from None


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword, "")
    except Exception:  # noqa: BLE001 - a value that cannot be read is as good as none
        return ""
    return " ".join("".join(c for c in str(value or "") if c.isprintable()).split())


def _number(dataset: Dataset, keyword: str, default: int = 0) -> int:
    try:
        value = dataset.get(keyword, None)
        return default if value is None or value == "" else int(value)
    except Exception:  # noqa: BLE001 - as above
        return default


def _decimal(dataset: Dataset, keyword: str, default: float) -> float:
    """First value of a decimal entry."""
    try:
        value = dataset.get(keyword, None)
        if value is None or value == "":
            return default
        return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)
    except Exception:  # noqa: BLE001 - as above
        return default
