"""The data set of a DICOM file, whatever its envelope: deflated, without preamble, without file meta information.

A deflated file is inflated no further than its own header can need. The encoding of a file without file meta information is told by its
first element, as pydicom does; what compressed its pixels cannot be told, so only uncompressed ones are used.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from radiographs.part10 import PREAMBLE, DicomError, has_preamble

if TYPE_CHECKING:
    from pydicom import Dataset

_DEFLATED, _EXPLICIT, _IMPLICIT, _BIG_ENDIAN = (
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
)
_HEADER = 1 << 24  # bytes that a header, and what follows the pixels, may have where they are deflated
_BYTES_PER_PIXEL = 8
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@cache
def quiet_pydicom() -> Any:
    """Import pydicom, quiet about odd values: its warnings would print what the header holds."""
    import pydicom
    import pydicom.config

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    return pydicom


def parsed(stream: BinaryIO, *, wanted: Sequence[str] | None = None, max_pixels: int | None = None) -> Dataset:
    """Parse an open DICOM file.

    Parameters
    ----------
    wanted : sequence of str, optional
        Keywords of entries, of which no more than these are read and nothing from the pixels on; None: the whole file.
    max_pixels : int, optional
        Rows × columns × frames that a deflated file may hold.

    Raises
    ------
    DicomError
        If the header is damaged, or a deflated file holds more than its header speaks of; the message holds nothing of it.
    ModuleNotFoundError
        If pydicom is not installed.
    """
    pydicom = quiet_pydicom()
    stream = _inflated(stream, max_pixels, header_only=wanted is not None)
    # pydicom raises these and more on damaged headers, with values of the header in the message: the kind is all that is told.
    try:
        dataset = pydicom.dcmread(stream, stop_before_pixels=wanted is not None, specific_tags=wanted, force=True)
        _name_encoding(dataset)
    except DicomError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a damaged header does to the parser, the file is refused
        raise DicomError(f"damaged DICOM header ({type(error).__name__})") from None
    return dataset


def _name_encoding(dataset: Dataset) -> None:
    """Give a file without transfer syntax the one that it was read with; its pixels then must be uncompressed."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = dataset.file_meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    if meta.get("TransferSyntaxUID"):
        return
    if any(keyword in dataset and dataset[keyword].is_undefined_length for keyword in _PIXELS):
        raise DicomError("its pixels are compressed, and it has no file meta information that says how")
    implicit, little = dataset.original_encoding
    meta.TransferSyntaxUID = UID(_IMPLICIT if implicit else _EXPLICIT if little else _BIG_ENDIAN)


def _inflated(stream: BinaryIO, max_pixels: int | None, *, header_only: bool) -> BinaryIO:
    """Give the file as it is or, where it is deflated (PS3.5, A.5), as explicit VR little endian."""
    start = stream.tell()
    head = stream.read(1 << 12)
    place = _end_of_meta(head)
    stream.seek(start)
    if not place or _syntax(head[:place]) != _DEFLATED:
        return stream
    packed = stream.read(place + _HEADER if header_only else -1)[place:]
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(packed, _HEADER)
        if not header_only and unpacker.unconsumed_tail:
            more = _needed(content, max_pixels) + _HEADER
            content += unpacker.decompress(unpacker.unconsumed_tail, more)
            if unpacker.unconsumed_tail and not unpacker.eof:
                raise DicomError(f"inflates to more than the {more + _HEADER:,} bytes that its header needs")
    except zlib.error:
        raise DicomError("damaged: its deflated part cannot be inflated") from None
    return io.BytesIO(_envelope() + content)


def _needed(content: bytes, max_pixels: int | None) -> int:
    """Bytes of pixels according to a header's first bytes."""
    keywords = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")
    try:
        header = quiet_pydicom().dcmread(
            io.BytesIO(_envelope() + content), stop_before_pixels=True, specific_tags=list(keywords)
        )
        rows, columns, frames, samples, bits = (int(header.get(keyword) or 1) for keyword in keywords)
    except Exception as error:  # noqa: BLE001 - as above
        raise DicomError(f"damaged DICOM header ({type(error).__name__})") from None
    pixels = rows * columns * frames
    if max_pixels is not None and pixels > max_pixels:
        raise DicomError(f"{columns} x {rows} x {frames} frames is over the limit of {max_pixels:,} pixels")
    needed = pixels * samples * (bits + 7) // 8
    return needed if max_pixels is None else min(needed, max_pixels * _BYTES_PER_PIXEL)


def _envelope() -> bytes:
    """Preamble and file meta information of a file in explicit VR little endian."""
    uid = _EXPLICIT.encode() + b"\0" * (len(_EXPLICIT) % 2)
    return bytes(PREAMBLE) + b"DICM" + b"\x02\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid


def _end_of_meta(head: bytes) -> int:
    """Where the file meta information ends, which is in explicit VR little endian (PS3.10, 7.1); 0 where there is none."""
    start = place = PREAMBLE + 4 if has_preamble(head) else 0
    while head[place : place + 2] == b"\x02\0" and place + 12 <= len(head):
        long = head[place + 4 : place + 6] in (b"OB", b"UN", b"OW", b"SQ", b"UT")
        size = int.from_bytes(head[place + 8 : place + 12] if long else head[place + 6 : place + 8], "little")
        place += size + (12 if long else 8)
    return place if place > start else 0


def _syntax(meta: bytes) -> str:
    """Transfer syntax UID of file meta information."""
    _, found, rest = meta.partition(b"\x02\0\x10\0UI")
    return rest[2 : 2 + int.from_bytes(rest[:2], "little")].strip(b"\0 ").decode("ascii", "replace") if found else ""
