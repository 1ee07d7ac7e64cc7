"""DICOM files in unusual envelopes or with plain entries missing show the picture that they hold; what cannot be read is refused by its own reason."""

import io
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from radiographs.dicom import DicomError, is_dicom, read_dicom, read_tags
from radiographs.read import UnreadableImageError, read_picture
from radiographs.registration import read_registration

from tests.radiographs.test_dicom import JPEG_2000, LIMIT, PICTURE, RLE, UNCOMPRESSED, grey, twin

pydicom = pytest.importorskip("pydicom")
IMPLICIT, EXPLICIT, BIG, DEFLATED = UNCOMPRESSED
JPEG, JPEG_LS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80"


def without_preamble(data: bytes, *, meta: bool = False) -> bytes:
    """A file as before PS3.10: its data set alone, or with file meta information but no preamble."""
    length = int.from_bytes(data[140:144], "little")
    return data[132:] if meta else data[144 + length :]


def changed(data: bytes, **entries: object) -> bytes:
    """The file with other entries, None for none at all; written as it is, right or wrong."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in entries.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_files_without_preamble_and_file_meta_information_are_read(tmp_path: Path, syntax: str, bits: int) -> None:
    whole = twin(bits=bits, syntax=syntax, monochrome=1)
    bare = without_preamble(whole)
    assert is_dicom(bare[:132])
    np.testing.assert_array_equal(grey(bare), grey(whole))
    assert read_tags(io.BytesIO(bare)) == read_tags(io.BytesIO(whole))
    assert read_registration(io.BytesIO(bare)) == read_registration(io.BytesIO(whole))
    (tmp_path / "old").write_bytes(bare)
    assert read_picture(tmp_path / "old").tags["patient"] == "P-77"


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, RLE, JPEG_2000])
def test_files_with_file_meta_information_but_no_preamble_are_read(syntax: str) -> None:
    whole = twin(bits=12, syntax=syntax)
    np.testing.assert_array_equal(grey(without_preamble(whole, meta=True)), grey(whole))


def test_compressed_pixels_that_nobody_says_how_are_refused() -> None:
    with pytest.raises(DicomError, match="no file meta information that says how"):
        grey(without_preamble(twin(syntax=RLE)))


@pytest.mark.parametrize(
    "data", [b"\x08\0\x05\0" + bytes(200), b"\x08\0" * 100, bytes(range(256)), b"\x02\0" + b"x" * 300]
)
def test_what_only_begins_like_dicom_is_none(data: bytes) -> None:
    assert not is_dicom(data)


@pytest.mark.parametrize(
    "lacking", ["PhotometricInterpretation", "PixelRepresentation", "HighBit", "SamplesPerPixel", "BitsStored"]
)
def test_a_plain_entry_that_is_missing_is_taken_for_the_usual_and_said(lacking: str) -> None:
    for absent in (None, ""):
        if absent == "" and lacking != "PhotometricInterpretation":
            continue
        image = read_dicom(changed(twin(bits=16), **{lacking: absent}), max_pixels=LIMIT)
        np.testing.assert_array_equal(image.grey, grey(twin(bits=16)))
        assert lacking in "".join(image.remarks) or lacking == "HighBit"


@pytest.mark.parametrize("words", ["monochrome1", "Monochrome1", "MONOCHROME1 ", " monochrome1"])
def test_photometric_interpretation_is_read_in_any_case(words: str) -> None:
    for syntax in (EXPLICIT, RLE):
        image = read_dicom(
            changed(twin(monochrome=1, syntax=syntax), PhotometricInterpretation=words), max_pixels=LIMIT
        )
        np.testing.assert_array_equal(image.grey, PICTURE)
        assert image.tags["photometric"] == "MONOCHROME1"
        assert image.remarks == ()


def colours(syntax: str = EXPLICIT, kind: type = np.uint8, **entries: object) -> bytes:
    """A picture that is redder on one side and bluer on the other."""
    rgb = np.stack([PICTURE, PICTURE[::-1], 255 - PICTURE], axis=2).astype(kind)
    rgb = rgb * (257 if kind is np.uint16 else 1)
    data = pydicom.dcmread(io.BytesIO(twin(syntax=syntax if syntax in UNCOMPRESSED else EXPLICIT)))
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.BitsAllocated = data.BitsStored = 8 * np.dtype(kind).itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelData = rgb.astype(">u2" if kind is np.uint16 and syntax == BIG else rgb.dtype).tobytes()
    if syntax not in UNCOMPRESSED:
        data.compress(syntax)
    for name, value in entries.items():
        delattr(data, name) if value is None else setattr(data, name, value)
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


def brightness(kind: type = np.uint8) -> np.ndarray:
    rgb = np.stack([PICTURE, PICTURE[::-1], 255 - PICTURE], axis=2).astype(np.float64) * (
        257 if kind is np.uint16 else 1
    )
    return np.rint(rgb @ [0.299, 0.587, 0.114])


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, RLE])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colours_keep_their_bits_and_need_no_planar_configuration(syntax: str, kind: type) -> None:
    for entries in ({}, {"PlanarConfiguration": None}):
        found = grey(colours(syntax, kind, **entries))
        assert found.dtype == kind
        assert np.abs(found - brightness(kind)).max() <= 1


def test_colours_without_a_photometric_interpretation_are_rgb_where_nothing_is_compressed() -> None:
    image = read_dicom(colours(PhotometricInterpretation=None), max_pixels=LIMIT)
    assert np.abs(image.grey - brightness()).max() <= 1
    assert "PhotometricInterpretation (assumed RGB)" in image.remarks[0]


def table(descriptor: list[int], entries: np.ndarray) -> object:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.LUTDescriptor = descriptor
    item.add_new("LUTData", "OW", entries.tobytes() + b"\0" * (entries.nbytes % 2))
    return Sequence([item])


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
def test_empty_look_up_tables_are_as_good_as_none(name: str) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    nothing = Dataset()
    nothing.LUTExplanation = "NORMAL"
    for empty in (Sequence(), Sequence([Dataset()]), Sequence([nothing])):
        np.testing.assert_array_equal(grey(twin(**{name: empty})), PICTURE)
        window = {"WindowCenter": "100.5", "WindowWidth": "101"}
        np.testing.assert_array_equal(grey(twin(**{name: empty}, **window)), grey(twin(**window)))


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("monochrome", [1, 2])
def test_look_up_tables_of_any_depth_are_applied(name: str, bits: int, monochrome: int) -> None:
    stored = (PICTURE.astype(np.int64) << 4) | 9  # 12 bits
    curve = np.rint((np.arange(4096) / 4095) ** 2 * (2**bits - 1)).astype("<u2")
    data = twin(stored >> 4 << 0, bits=12)
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset.PhotometricInterpretation = f"MONOCHROME{monochrome}"
    setattr(dataset, name, table([4096, 0, bits], curve))
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    expected = curve[stored].astype(np.int64)
    np.testing.assert_array_equal(grey(buffer.getvalue()), expected if monochrome == 2 else 2**bits - 1 - expected)


def test_a_table_of_bytes_a_shifted_one_and_one_that_is_short() -> None:
    curve = (np.arange(256)[::-1]).astype(np.uint8)
    np.testing.assert_array_equal(grey(twin(VOILUTSequence=table([256, 0, 8], curve))), 255 - PICTURE)
    part = np.arange(100, 201, dtype="<u2")  # of values from 50 on
    expected = np.clip(PICTURE.astype(int) - 50, 0, 100) + 100
    np.testing.assert_array_equal(grey(twin(VOILUTSequence=table([101, 50, 16], part))), expected)
    with pytest.raises(DicomError, match="its look-up table holds 101 of 256 entries"):
        grey(twin(VOILUTSequence=table([256, 0, 16], part)))


def palette(depth: int, entries: np.ndarray, syntax: str = EXPLICIT) -> bytes:
    data = pydicom.dcmread(io.BytesIO(twin(syntax=syntax)))
    data.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        keyword = f"{colour}PaletteColorLookupTableDescriptor"
        data.add_new(keyword, "US", [256, 0, depth])
        raw = entries.astype(entries.dtype.newbyteorder(">" if syntax == BIG else "<")).tobytes()
        data.add_new(f"{colour}PaletteColorLookupTableData", "OW", raw)
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG])
def test_palettes_are_read_with_the_bits_that_they_hold(syntax: str) -> None:
    ramp = np.arange(256)
    np.testing.assert_array_equal(grey(palette(16, (ramp * 257).astype(np.uint16), syntax)), PICTURE * 257.0)
    np.testing.assert_array_equal(
        grey(palette(16, ramp.astype(np.uint16), syntax)), PICTURE
    )  # says 16 bits and holds 8
    np.testing.assert_array_equal(grey(palette(8, ramp.astype(np.uint16), syntax)), PICTURE)
    np.testing.assert_array_equal(grey(palette(8, ramp.astype(np.uint8))), PICTURE)
    np.testing.assert_array_equal(grey(palette(16, ramp.astype(np.uint8))), PICTURE)


def encapsulated(stream: bytes, syntax: str, shape: tuple[int, int]) -> bytes:
    """Compressed pixels as they are, in one fragment."""
    from pydicom.encaps import encapsulate

    data = pydicom.dcmread(io.BytesIO(twin()))
    data.Rows, data.Columns = shape
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([stream])
    data["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()


def streams() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """Compressed pictures and their heights and widths."""
    from pydicom.data import get_testdata_file
    from pydicom.encaps import get_frame

    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "JPEG", quality=95)
    jpeg_2000 = pydicom.dcmread(io.BytesIO(twin(syntax=JPEG_2000)))
    jpeg_ls = pydicom.dcmread(get_testdata_file("JPEGLSNearLossless_08.dcm", download=False))
    return {
        JPEG: (buffer.getvalue(), PICTURE.shape),
        JPEG_2000: (get_frame(jpeg_2000.PixelData, 0, number_of_frames=1), PICTURE.shape),
        JPEG_LS: (get_frame(jpeg_ls.PixelData, 0, number_of_frames=1), (jpeg_ls.Rows, jpeg_ls.Columns)),
    }


@pytest.mark.parametrize("syntax", [JPEG, JPEG_2000, JPEG_LS])
@pytest.mark.parametrize("after", [b"\0" * 65, b"\0" * 100_000, b"\xff" * 300, bytes(range(256)) * 9])
def test_what_follows_the_end_of_a_compressed_picture_does_not_matter(syntax: str, after: bytes) -> None:
    stream, shape = streams()[syntax]
    stream = stream[: stream.rfind(b"\xff\xd9") + 2]
    alone = encapsulated(stream, syntax, shape)
    np.testing.assert_array_equal(grey(encapsulated(stream + after, syntax, shape)), grey(alone))
    if syntax != JPEG_LS:
        assert np.abs(grey(alone).astype(int) - PICTURE).max() <= 8
    with pytest.raises(DicomError, match=r"no end|cannot be decoded"):
        grey(encapsulated(stream[: len(stream) * 2 // 3] + after.replace(b"\xff", b"\0"), syntax, shape))


def test_a_compressed_picture_of_another_size_is_refused_before_it_is_decoded() -> None:
    for syntax, (stream, (height, width)) in streams().items():
        with pytest.raises(DicomError, match=f"{width} x {height}, its header says {width} x 30"):
            grey(encapsulated(stream, syntax, (30, width)))


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [
        ("1.2.840.113619.5.2", "a private transfer syntax that is not read here (1.2.840.113619.5.2)"),
        ("1.3.46.670589.33.1.4.1", "a private transfer syntax"),
        ("1.2.840.10008.1.2.4.100", "a transfer syntax that is not read here (MPEG2 Main Profile / Main Level)"),
        ("1.2.840.10008.1.2.4.110", "a transfer syntax that is not read here"),
    ],
)
def test_transfer_syntaxes_that_nobody_here_reads_are_refused_by_their_name(syntax: str, kind: str) -> None:
    length = len(EXPLICIT) + len(EXPLICIT) % 2
    whole = twin()
    place = whole.index(b"\x02\0\x10\0UI")
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    data = whole[: place + 6] + len(uid).to_bytes(2, "little") + uid + whole[place + 8 + length :]
    with pytest.raises(DicomError, match=re.escape(kind)):
        grey(data)
    assert read_tags(io.BytesIO(data)) == read_tags(io.BytesIO(whole))


def bomb(megabytes: int, *, header: bytes | None = None) -> bytes:
    """A small deflated file that inflates to much more than its header speaks of."""
    whole = twin(syntax=DEFLATED)
    length = int.from_bytes(whole[140:144], "little")
    meta, packed = whole[: 144 + length], whole[144 + length :]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = header if header is not None else zlib.decompress(packed, -zlib.MAX_WBITS)
    parts = [packer.compress(content), *(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()]
    return meta + b"".join(parts)


def test_a_deflated_file_inflates_to_what_its_header_needs_and_no_further(tmp_path: Path) -> None:
    import tracemalloc

    (tmp_path / "bomb.dcm").write_bytes(bomb(400))
    assert (tmp_path / "bomb.dcm").stat().st_size < 500_000
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match=r"bomb\.dcm: inflates to more than"):
        read_picture(tmp_path / "bomb.dcm")
    with (tmp_path / "bomb.dcm").open("rb") as stream:
        assert read_tags(stream) == read_tags(io.BytesIO(twin()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120_000_000


def test_a_deflated_file_without_a_header_or_with_a_lying_one_is_refused() -> None:
    with pytest.raises(DicomError, match=r"over the limit|inflates to more|holds no picture"):
        grey(bomb(200, header=b""))
    with pytest.raises(DicomError, match="cannot be inflated"):
        grey(twin(syntax=DEFLATED)[:400] + bytes(300))


@pytest.mark.parametrize("size", [(500, 700), (3000, 2500)])
def test_large_deflated_files_are_read_as_before(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    np.testing.assert_array_equal(grey(twin(values, syntax=DEFLATED)), values)
    two = np.stack([values, values[::-1]])
    np.testing.assert_array_equal(
        read_dicom(twin(two, syntax=DEFLATED, bits=16, NumberOfFrames=2), max_pixels=LIMIT, frame=1).grey >> 8,
        values[::-1],
    )


def test_more_frames_than_the_header_speaks_of_are_said() -> None:
    two = np.stack([PICTURE, PICTURE[::-1]])
    image = read_dicom(twin(two), max_pixels=LIMIT)
    np.testing.assert_array_equal(image.grey, PICTURE)
    assert image.remarks == ("its pixels would fill 2 frames, its header states 1",)


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm"])
def test_a_jpeg_of_a_rare_kind_is_read_outside_of_dicom_too(tmp_path: Path, name: str) -> None:
    from pydicom.data import get_testdata_file
    from pydicom.encaps import get_frame

    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    (tmp_path / "x.jpg").write_bytes(stream)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.jpg").grey, dataset.pixel_array)
    (tmp_path / "x.jpg").write_bytes(stream[: len(stream) // 2])
    with pytest.raises(UnreadableImageError, match=r"x\.jpg: damaged or truncated"):
        read_picture(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(stream)
    with pytest.raises(UnreadableImageError, match="over the limit of 9 pixels"):
        read_picture(tmp_path / "x.jpg", max_pixels=9)
