"""A copy of a DICOM file with another BodyPartExamined and a new instance UID; every other byte of the data set is the same.

The file is not parsed and rewritten, which would change whatever the writer's library writes differently: the few
bytes that change are found by traversing the elements (PS3.5, 7.1) and replaced. An instance with another attribute is another instance,
so it gets another SOP Instance UID, made from a UUID after PS3.5, annex B.2 (2.25. and the UUID as a number). The UUID is name-based, of
the old UID and the term, so that the same correction gives the same instance again.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from typing import Any

from radiographs.dicom import DicomError, quiet_pydicom
from radiographs.elements import LONG, META, PIXELS, Element, TransferSyntax, only, outline, value_of

SOP_INSTANCE, BODY_PART, META_INSTANCE = (0x0008, 0x0018), (0x0018, 0x0015), (0x0002, 0x0003)
_BODY_PART = 0x00180015  # as in pydicom
_FRAGILE = {
    (0x0008, 0x0001): "has a length-to-end element, from before DICOM",
    (0x4FFE, 0x0001): "is digitally signed, which a change would break",
    (0xFFFA, 0xFFFA): "is digitally signed, which a change would break",
}


def with_body_part(data: bytes, term: str) -> bytes:
    """Copy a DICOM file's bytes with another BodyPartExamined.

    Parameters
    ----------
    data : bytes
        The whole file.
    term : str
        A code string (CS): at most 16 capitals, figures, blanks and underscores.

    Raises
    ------
    DicomError
        If it cannot be done safely; the message says why and holds nothing of the header.
    """
    if not (term and len(term) <= 16 and all(c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _" for c in term)):
        raise DicomError("the term is not a code string of up to 16 characters (PS3.5, 6.2)")
    meta, elements, encoding = outline(data)
    _refuse_fragile([element.tag for element in elements])
    instance = only(elements, SOP_INSTANCE)
    uid = new_instance_uid(value_of(data, instance), term)
    changes = [
        _replaced(instance, _even(uid, b"\0"), encoding),
        _body_part(data, elements, _even(term, b" "), encoding),
    ]
    of_meta = [_replaced(only(meta, META_INSTANCE), _even(uid, b"\0"), META)]
    lengths = [*_group_lengths(elements, changes, encoding), *_group_lengths(meta, of_meta, META)]
    copy = _applied(data, [*of_meta, *changes, *lengths])
    _check(data, copy, term, uid)
    return copy


def new_instance_uid(old: str, term: str) -> str:
    """UID of the copy: of the old UID and the term, so that it is the same every time."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{old}/BodyPartExamined={term}').int}"


def _refuse_fragile(tags: list[tuple[int, int]]) -> None:
    """Refuse what a change would break."""
    if tags != sorted(set(tags)):
        raise DicomError("its elements are not in order, or repeated: the place of a new one is unclear")
    for tag, reason in _FRAGILE.items():
        if tag in tags:
            raise DicomError(reason)


@dataclass(frozen=True)
class _Change:
    """A replacement of bytes in one group."""

    group: int
    start: int
    end: int
    new: bytes


def _body_part(data: bytes, elements: list[Element], value: bytes, encoding: TransferSyntax) -> _Change:
    """Replace BodyPartExamined, or insert it."""
    present = next((element for element in elements if element.tag == BODY_PART), None)
    if present is not None:
        if present.vr not in (b"", b"CS"):
            raise DicomError("has a BodyPartExamined that is not a code string")
        return _replaced(present, value, encoding)
    place = next((element.start for element in elements if element.tag > BODY_PART), len(data))
    tag = b"".join(part.to_bytes(2, encoding.order) for part in BODY_PART)
    vr, size = (b"", 4) if encoding.implicit else (b"CS", 2)
    return _Change(BODY_PART[0], place, place, tag + vr + len(value).to_bytes(size, encoding.order) + value)


def _replaced(element: Element, value: bytes, encoding: TransferSyntax) -> _Change:
    """Give an element another value: its length field and what follows."""
    size = 4 if encoding.implicit or element.vr in LONG else 2
    length = len(value).to_bytes(size, encoding.order)
    return _Change(element.tag[0], element.value - size, element.end, length + value)


def _group_lengths(elements: list[Element], changes: list[_Change], encoding: TransferSyntax) -> list[_Change]:
    """Group lengths, required in the file meta information and retired elsewhere, of the groups that change."""
    corrected = []
    for group in {change.group for change in changes}:
        members = [element for element in elements if element.tag[0] == group]
        if members and members[0].tag[1] == 0:
            if members[0].end - members[0].value != 4:
                raise DicomError("has a group length that is damaged")
            grown = sum(len(c.new) - (c.end - c.start) for c in changes if c.group == group)
            length = members[-1].end - members[0].end + grown
            corrected.append(_Change(group, members[0].value, members[0].end, length.to_bytes(4, encoding.order)))
    return corrected


def _applied(data: bytes, changes: list[_Change]) -> bytes:
    pieces, place = [], 0
    for change in sorted(changes, key=lambda change: change.start):
        pieces += [data[place : change.start], change.new]
        place = change.end
    return b"".join([*pieces, data[place:]])


def _check(data: bytes, copy: bytes, term: str, uid: str) -> None:
    """Verify both with pydicom, an independent reader: the copy has the right values and the same pixels."""
    try:
        before, after = (quiet_pydicom().dcmread(io.BytesIO(each)) for each in (data, copy))
        said = (str(after.BodyPartExamined), str(after.SOPInstanceUID), str(after.file_meta.MediaStorageSOPInstanceUID))
        same = {*before.keys(), _BODY_PART} == {*after.keys()} and _pixels(before) == _pixels(after)
    except Exception as error:  # noqa: BLE001 - whatever the error, such a copy is not released
        raise DicomError(f"cannot be read back ({type(error).__name__})") from None
    if said != (term, uid, uid) or not same:
        raise DicomError("cannot be read back as it was written")


def _pixels(dataset: Any) -> Any:
    return dataset.get_item(PIXELS).value if PIXELS in dataset else None


def _even(value: str, padding: bytes) -> bytes:
    return value.encode() + padding * (len(value) % 2)
