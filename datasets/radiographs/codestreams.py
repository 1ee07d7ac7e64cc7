"""Checks of a compressed picture by its markers, before decoding: whether it is whole, of the size in its header, and not built to take hours.

JPEG (ISO/IEC 10918-1), JPEG-LS (14495-1) and JPEG 2000 (15444-1) begin with FF D8 or FF 4F, name their size in one marker and end in FF D9,
two bytes that their coded data cannot hold.
"""

from __future__ import annotations

MAX_SCANS = 100  # encoders write about ten; each one covers the whole picture
_END = b"\xff\xd9"
_START_OF_SCAN = b"\xff\xda"
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})  # markers with the size: SOF of JPEG and JPEG-LS
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers that no length follows


def is_whole(data: bytes) -> bool:
    """Whether the end of the coded data is there; what follows it, padding or not, does not matter."""
    return _END in data[max(data.find(_START_OF_SCAN), 0) if data.startswith(_JPEG) else 0 :]


def too_many_scans(data: bytes) -> int:
    """Return the number of scans of a JPEG picture if it is implausibly large, else 0."""
    scans = data.count(_START_OF_SCAN) if data.startswith(_JPEG) else 0
    return scans if scans > MAX_SCANS else 0


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height that coded data give; None where they do not begin with markers known here."""
    if data.startswith(_JPEG_2000) and len(data) >= 24:
        right, bottom, left, top = (int.from_bytes(data[k : k + 4], "big") for k in (8, 12, 16, 20))
        return right - left, bottom - top
    place = len(_JPEG) if data.startswith(_JPEG) else len(data)
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            return int.from_bytes(data[place + 7 : place + 9], "big"), int.from_bytes(
                data[place + 5 : place + 7], "big"
            )
        alone = marker in _ALONE or marker == 0xFF
        place += 1 if marker == 0xFF else 2 if alone else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
