"""A corrected copy differs from its file in the body part and the instance UID, and in nothing else, however the file is written."""

import io
import itertools
import re
import uuid
from pathlib import Path

import numpy as np
import pytest
from radiographs.dicom import DicomError, is_dicom
from radiographs.elements import outline
from radiographs.retag import new_instance_uid, with_body_part

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402 - skipped where it is not installed
from pydicom.sequence import Sequence  # noqa: E402

IMPLICIT, EXPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
RLE, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"
BUNDLED = sorted(p for p in (Path(pydicom.__file__).parent / "data/test_files").rglob("*") if p.is_file())
CHANGED = {"MediaStorageSOPInstanceUID", "FileMetaInformationGroupLength", "SOPInstanceUID", "BodyPartExamined"}


def radiograph(
    syntax: str = EXPLICIT, body_part: str | None = "HAND", uid: str = "1.2.3.45", **entries: object
) -> bytes:
    """A small file with what makes walking over it hard: sequences of both kinds, in one another, private and odd elements."""
    pixels = np.arange(4096, dtype=">u2" if syntax == BIG else "<u2").reshape(64, 64)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax if syntax in (IMPLICIT, EXPLICIT, BIG, DEFLATED) else EXPLICIT
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
    data.Modality, data.PatientName, data.StudyDescription = "DX", "A^B", "Hand"
    inner = Dataset()
    inner.BodyPartExamined, inner.ReferencedSOPInstanceUID = "WRIST", uid
    outer = Dataset()
    outer.CodeValue = "85562004"
    outer.add_new((0x0008, 0x2220), "SQ", Sequence([inner, inner]))
    data.add_new((0x0008, 0x2218), "SQ", Sequence([outer]))
    data.add_new((0x0008, 0x1140), "SQ", Sequence([inner]))
    data["ReferencedImageSequence"].is_undefined_length = True
    data.ReferencedImageSequence[0].is_undefined_length_sequence_item = True
    data.private_block(0x0019, "XRAYBENCH", create=True).add_new(0x01, "UN", b"\x01\x02\x03\x04")
    if body_part is not None:
        data.BodyPartExamined = body_part
    data.KVP = "70"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.add_new("PixelData", "OW", pixels.tobytes())
    for keyword, value in entries.items():
        setattr(data, keyword, value)
    if syntax in (RLE, JPEG_2000):
        data.compress(syntax, generate_instance_uid=False)
    data.add_new((0xFFFC, 0xFFFC), "OB", b"\0" * 4)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def raw(data: bytes) -> dict[str, object]:
    """Every element's bytes as pydicom, which is not the code under test, finds them."""
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    found = {}
    for part in (dataset.file_meta, dataset):
        for tag in part.keys():  # noqa: SIM118 - iterating over a data set would decode its elements
            item = part.get_item(tag)
            found[pydicom.datadict.keyword_for_tag(tag) or str(tag)] = (
                item.value if isinstance(item.value, bytes) else str(item.value)
            )
    return found


def others(data: bytes) -> dict[str, object]:
    return {name: value for name, value in raw(data).items() if name not in CHANGED and not name.endswith("0000)")}


def segments(data: bytes) -> bytes:
    """All bytes but those of the elements that change."""
    meta, elements, _ = outline(data)
    tags = {(0x0002, 0x0000), (0x0002, 0x0003), (0x0008, 0x0000), (0x0018, 0x0000), (0x0008, 0x0018), (0x0018, 0x0015)}
    kept = [data[e.start : e.end] for e in (*meta, *elements) if e.tag not in tags]
    return data[:132] + b"".join(kept)


def check_copy(data: bytes, copy: bytes, term: str) -> None:
    before, after = (pydicom.dcmread(io.BytesIO(each), force=True) for each in (data, copy))
    assert others(copy) == others(data)
    assert segments(copy) == segments(data)
    assert after.BodyPartExamined == term
    assert (
        after.SOPInstanceUID
        == after.file_meta.MediaStorageSOPInstanceUID
        == new_instance_uid(before.SOPInstanceUID, term)
    )
    assert list(after.keys()) == sorted(after.keys())


@pytest.mark.parametrize("term", ["KNEE", "ANKLE", "ABDOMENPELVIS123"])
@pytest.mark.parametrize("body_part", ["HAND", "", None])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, RLE, JPEG_2000])
def test_nothing_changes_but_the_body_part_and_the_instance(syntax: str, body_part: str | None, term: str) -> None:
    data = radiograph(syntax, body_part)
    copy = with_body_part(data, term)
    check_copy(data, copy, term)
    before, after = (pydicom.dcmread(io.BytesIO(each)) for each in (data, copy))
    np.testing.assert_array_equal(before.pixel_array, after.pixel_array)
    assert after.ReferencedImageSequence[0].BodyPartExamined == "WRIST"
    assert len(copy) % 2 == 0


@pytest.mark.parametrize("uid", ["1.2", "1.2.3", "1.2.3.45.678", "1." + "2" * 62])
def test_any_length_of_the_old_uid_leaves_the_lengths_right(uid: str) -> None:
    data = radiograph(uid=uid)
    copy = with_body_part(data, "KNEE")
    check_copy(data, copy, "KNEE")
    meta, elements, _ = outline(copy)
    said = int.from_bytes(copy[meta[0].value : meta[0].end], "little")
    assert said == meta[-1].end - meta[0].end
    assert elements[0].start == meta[-1].end
    assert elements[-1].end == len(copy)


@pytest.mark.parametrize(("syntax", "order"), [(IMPLICIT, "little"), (EXPLICIT, "little"), (BIG, "big")])
@pytest.mark.parametrize("body_part", ["HAND", None])
def test_retired_group_lengths_stay_right(syntax: str, order: str, body_part: str | None) -> None:
    data = with_group_lengths(radiograph(syntax, body_part), order, implicit=syntax == IMPLICIT)
    copy = with_body_part(data, "LOWERLEG")
    assert segments(copy) == segments(data)
    for group in (0x0008, 0x0018):
        assert said_length(copy, group, order) == true_length(copy, group)
        assert said_length(copy, group, order) != said_length(data, group, order)


def with_group_lengths(data: bytes, order: str, *, implicit: bool) -> bytes:
    for group in (0x0018, 0x0008):
        elements = [element for element in outline(data)[1] if element.tag[0] == group]
        length = (elements[-1].end - elements[0].start).to_bytes(4, order)
        header = (
            group.to_bytes(2, order)
            + b"\0\0"
            + ((4).to_bytes(4, order) if implicit else b"UL" + (4).to_bytes(2, order))
        )
        data = data[: elements[0].start] + header + length + data[elements[0].start :]
    return data


def said_length(data: bytes, group: int, order: str) -> int:
    element = next(element for element in outline(data)[1] if element.tag == (group, 0))
    return int.from_bytes(data[element.value : element.end], order)


def true_length(data: bytes, group: int) -> int:
    elements = [element for element in outline(data)[1] if element.tag[0] == group]
    return elements[-1].end - elements[0].end


def test_the_new_uid_is_the_standards_and_the_same_every_time() -> None:
    data = radiograph()
    assert with_body_part(data, "KNEE") == with_body_part(data, "KNEE")
    uids = [new_instance_uid(old, term) for old, term in itertools.product(("1.2", "1.3"), ("KNEE", "HAND"))]
    assert len(set(uids)) == 4
    for uid in uids:
        assert re.fullmatch(r"2\.25\.[1-9][0-9]*", uid)
        assert len(uid) <= 64
        assert uuid.UUID(int=int(uid[5:])).version == 5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (radiograph(DEFLATED), "is deflated"),
        (b"\x89PNG" + b"\0" * 200, "not a DICOM file with a preamble"),
        (radiograph()[:-3], "is truncated"),
        (radiograph()[:401], "is truncated"),
        (radiograph() + b"\0\0\0", "is truncated"),
        (radiograph(DigitalSignaturesSequence=[Dataset()]), "is digitally signed"),
        (radiograph(LengthToEnd=7), "length-to-end"),
        (radiograph().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0"), "is not in the standard"),
        (radiograph().replace(b"\x18\0\x15\0CS", b"\x18\0\x15\0SH"), "not a code string"),
        (radiograph().replace(b"\x02\0\x03\0UI", b"\x02\0\x04\0UI"), r"\(0002,0003\)"),
    ],
    ids=[
        "deflated",
        "png",
        "cut",
        "cut more",
        "rubbish behind",
        "signed",
        "ancient",
        "private syntax",
        "other VR",
        "no UID in the meta",
    ],
)
def test_what_cannot_be_done_safely_is_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(DicomError, match=reason) as error:
        with_body_part(data, "KNEE")
    assert "\n" not in str(error.value)


def test_elements_out_of_order_or_twice_are_refused() -> None:
    data = radiograph()
    _, elements, _ = outline(data)
    kvp = next(element for element in elements if element.tag == (0x0018, 0x0060))
    for place in (elements[0].start, kvp.start):
        with pytest.raises(DicomError, match="not in order, or repeated"):
            with_body_part(data[:place] + data[kvp.start : kvp.end] + data[place:], "KNEE")


@pytest.mark.parametrize("term", ["", "Knee", "A" * 17, "KNEE\\HAND", "KNÉE"])
def test_a_term_that_is_no_code_string_is_refused(term: str) -> None:
    with pytest.raises(DicomError, match="not a code string"):
        with_body_part(radiograph(), term)


def test_every_file_of_pydicoms_own_is_copied_right_or_refused() -> None:
    copied = 0
    for path in BUNDLED:
        data = path.read_bytes()
        try:
            copy = with_body_part(data, "KNEE")
        except DicomError as error:
            assert "\n" not in str(error), path.name  # noqa: PT017 - most are copied
            continue
        assert is_dicom(data)
        check_copy(data, copy, "KNEE")
        copied += 1
    assert copied >= 60


def test_bytes_changed_at_random_are_copied_right_or_refused() -> None:
    whole = radiograph()
    rng = np.random.default_rng(0)
    outcomes = [outcome(damaged(whole, rng)) for _ in range(300)]
    assert {True, False} == set(outcomes)


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(whole)
    for place in rng.integers(132, len(data), size=3):
        data[place] = int(rng.integers(256))
    return bytes(data)


def outcome(data: bytes) -> bool:
    """Whether a file is copied, and then its other bytes are the same."""
    try:
        copy = with_body_part(data, "KNEE")
    except DicomError:
        return False
    assert segments(copy) == segments(data)
    return True
