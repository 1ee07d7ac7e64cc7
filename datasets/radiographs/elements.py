"""Positions of the elements of a DICOM file, without reading their values (PS3.5, chapter 7).

This is for changing a few bytes of a file and no others; pictures and headers are read by ``radiographs.dicom``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from radiographs.part10 import PREAMBLE, DicomError, has_preamble

Tag = tuple[int, int]
PIXELS = (0x7FE0, 0x0010)
LONG = (
    b"OB",
    b"OD",
    b"OF",
    b"OL",
    b"OV",
    b"OW",
    b"SQ",
    b"SV",
    b"UC",
    b"UN",
    b"UR",
    b"UT",
    b"UV",
)  # lengths of 32 bits: PS3.5, 7.1.2
_SYNTAX = (0x0002, 0x0010)
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
_IMPLICIT, _BIG_ENDIAN, _STANDARD = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2."


@dataclass(frozen=True)
class Element:
    """One element of the outermost level, by its places in the file."""

    tag: Tag
    vr: bytes  # empty in implicit VR
    start: int  # of its header
    value: int
    end: int


@dataclass(frozen=True)
class TransferSyntax:
    """How elements are written in a transfer syntax."""

    implicit: bool
    order: Literal["little", "big"]


META = TransferSyntax(implicit=False, order="little")  # of the file meta information, whatever follows it (PS3.10, 7.1)
_UNKNOWN = TransferSyntax(
    implicit=True, order="little"
)  # inside an unknown sequence of undefined length (PS3.5, 6.2.2)


def outline(data: bytes) -> tuple[list[Element], list[Element], TransferSyntax]:
    """Elements of the file meta information and of the data set, and how the latter is written.

    Raises
    ------
    DicomError
        If it is not a DICOM file, is truncated or damaged, or is written in a way that cannot be traversed.
    """
    if not has_preamble(data):
        raise DicomError("is not a DICOM file with a preamble")
    meta = []
    place = PREAMBLE + 4
    while data[place : place + 2] == b"\x02\0":
        meta.append(_element(data, place, META))
        place = meta[-1].end
    encoding = _encoding(value_of(data, only(meta, _SYNTAX)))
    try:
        elements = list(_walk(data, place, encoding))
    except RecursionError:
        raise DicomError("has sequences in sequences without end") from None
    return meta, elements, encoding


def _encoding(syntax: str) -> TransferSyntax:
    if syntax in _DEFLATED:
        raise DicomError("is deflated: its bytes cannot be kept")
    if syntax == _IMPLICIT:
        return TransferSyntax(implicit=True, order="little")
    if not syntax.startswith(_STANDARD):
        raise DicomError("has a transfer syntax that is not in the standard")
    return TransferSyntax(implicit=False, order="big" if syntax == _BIG_ENDIAN else "little")


def _walk(data: bytes, place: int, encoding: TransferSyntax) -> Iterator[Element]:
    while place < len(data):
        element = _element(data, place, encoding)
        yield element
        place = element.end


def _element(data: bytes, start: int, encoding: TransferSyntax) -> Element:
    """Read the header of one element; one of undefined length is walked through to find its end."""
    tag, vr, value, length = _header(data, start, encoding)
    if length != _UNDEFINED:
        end = value + length
    elif tag == PIXELS or vr in (b"OB", b"OW"):
        end = _after_items(data, value, encoding, items_hold_elements=False)
    else:
        inside = _UNKNOWN if vr == b"UN" else encoding
        end = _after_items(data, value, inside, items_hold_elements=True)
    if end > len(data):
        raise DicomError("is truncated")
    return Element(tag, vr, start, value, end)


def _header(data: bytes, start: int, encoding: TransferSyntax) -> tuple[Tag, bytes, int, int]:
    """Tag, VR, start of the value and its length."""
    if start + 8 > len(data):
        raise DicomError("is truncated")
    tag = _int(data, start, 2, encoding), _int(data, start + 2, 2, encoding)
    if encoding.implicit or tag[0] == 0xFFFE:  # items have no VR
        return tag, b"", start + 8, _int(data, start + 4, 4, encoding)
    vr = data[start + 4 : start + 6]
    if not (vr.isalpha() and vr.isupper()):
        raise DicomError("has elements without VR although its transfer syntax requires one")
    if vr in LONG:
        return tag, vr, start + 12, _int(data, start + 8, 4, encoding)
    return tag, vr, start + 8, _int(data, start + 6, 2, encoding)


def _after_items(data: bytes, place: int, encoding: TransferSyntax, *, items_hold_elements: bool) -> int:
    """End of a sequence of undefined length whose first item begins at `place`."""
    while True:
        tag, _, value, length = _header(data, place, encoding)
        if tag == _SEQUENCE_END:
            return value
        if tag != _ITEM:
            raise DicomError("has a sequence that is damaged")
        if length != _UNDEFINED:
            place = value + length
        elif items_hold_elements:
            place = _after_elements(data, value, encoding)
        else:
            raise DicomError("has pixel data that are damaged")


def _after_elements(data: bytes, place: int, encoding: TransferSyntax) -> int:
    """End of an item of undefined length."""
    while True:
        tag, _, value, _ = _header(data, place, encoding)
        if tag == _ITEM_END:
            return value
        place = _element(data, place, encoding).end


def only(elements: list[Element], tag: Tag) -> Element:
    """Return the element of a tag that must occur exactly once."""
    found = [element for element in elements if element.tag == tag]
    if len(found) != 1:
        raise DicomError(f"has no element ({tag[0]:04X},{tag[1]:04X}), or several")
    return found[0]


def value_of(data: bytes, element: Element) -> str:
    """Text of a UID, which is padded with a zero byte."""
    return data[element.value : element.end].strip(b"\0 ").decode("ascii", "replace")


def _int(data: bytes, place: int, size: int, encoding: TransferSyntax) -> int:
    return int.from_bytes(data[place : place + size], encoding.order)
