"""Detection of DICOM files: the letters DICM after a preamble (PS3.10, 7.1) or, in exports older than that, elements from its first byte on."""

from __future__ import annotations

from typing import Literal

PREAMBLE = 128  # bytes before the four letters DICM
_FIRST_GROUPS = (0x0002, 0x0008)  # file meta information, and what every data set begins with
_LONGEST = 1 << 20  # bytes of one of the first elements
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_LENGTH_OF_32_BITS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # PS3.5, 7.1.2


class DicomError(ValueError):
    """A DICOM file that must not be used; the message says why without quoting its header."""


def is_dicom(data: bytes) -> bool:
    """Whether a file's first bytes are those of a DICOM file, whatever its preamble holds (some have a TIFF header there)."""
    return has_preamble(data) or begins_with_elements(data)


def has_preamble(data: bytes) -> bool:
    """Whether a file has the letters DICM where PS3.10 requires them."""
    return data[PREAMBLE : PREAMBLE + 4] == b"DICM"


def begins_with_elements(data: bytes) -> bool:
    """Whether a file begins with two or more elements in order, in a VR and byte order of the standard, without any preamble."""
    head = data[: PREAMBLE + 4]
    kinds: tuple[tuple[Literal["little", "big"], int], ...] = (("little", 1), ("big", 1), ("little", 0))
    return any(_elements(head, order, explicit) >= 2 for order, explicit in kinds)


def _elements(head: bytes, order: Literal["little", "big"], explicit: int) -> int:
    """Count the sound headers of elements, one behind the other, that the first bytes hold; 0 where one is not sound."""
    place, last, n = 0, (0, 0), 0
    while place + 12 <= len(head):
        tag = int.from_bytes(head[place : place + 2], order), int.from_bytes(head[place + 2 : place + 4], order)
        vr = head[place + 4 : place + 6]
        start, size = (8, 4) if not explicit else (12, 4) if vr in _LENGTH_OF_32_BITS else (8, 2)
        length = int.from_bytes(head[place + start - size : place + start], order)
        in_place = tag > last and (n > 0 or tag[0] in _FIRST_GROUPS)
        if not in_place or (explicit and vr not in _VRS):
            return 0
        if length % 2 or length > _LONGEST:
            return n + 1 if explicit and length == 0xFFFFFFFF and vr in (b"SQ", b"UN") else 0
        place, last, n = place + start + length, tag, n + 1
    return n
