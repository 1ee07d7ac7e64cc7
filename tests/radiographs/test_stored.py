"""Which bits of a DICOM file's cells count, and which pixels are padding: held against pictures whose values are known."""

import io

import numpy as np
import pytest
from radiographs.dicom import read_dicom
from radiographs.preprocess import Preprocessing, to_uint8
from radiographs.read import read_bytes

from tests.radiographs.test_dicom import LIMIT, RLE

pydicom = pytest.importorskip("pydicom")

RAMP = (np.add.outer(np.arange(60) * 31, np.arange(80) * 17) % 3000 + 500).astype(np.int64)  # (60, 80), 12 bits
BACKGROUND = np.zeros(RAMP.shape, bool)
BACKGROUND[:, :30] = True


def dicom(cells: np.ndarray, *, syntax: str = "1.2.840.10008.1.2.1", **entries: object) -> bytes:
    """A file with just these cells, and a header that says what it is told."""
    from pydicom.dataset import Dataset, FileMetaDataset

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.Modality, data.SamplesPerPixel, data.PhotometricInterpretation = "DX", 1, "MONOCHROME2"
    data.Rows, data.Columns = cells.shape[:2]
    width = 8 * cells.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit = width, width, width - 1
    data.PixelRepresentation = int(cells.dtype.kind == "i")
    for name, value in entries.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    raw = cells.astype(cells.dtype.newbyteorder("<")).tobytes()
    data.add_new("PixelData", "OB" if width == 8 else "OW", raw + b"\0" * (len(raw) % 2))
    if syntax == RLE:
        data.compress(RLE)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def grey(cells: np.ndarray, **entries: object) -> np.ndarray:
    return read_dicom(dicom(cells, **entries), max_pixels=LIMIT).grey


def remarks(cells: np.ndarray, **entries: object) -> str:
    return "; ".join(read_dicom(dicom(cells, **entries), max_pixels=LIMIT).remarks)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLE])
@pytest.mark.parametrize("bits", [7, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("at_the_top", [False, True])
def test_values_are_the_bits_below_the_high_bit(bits: int, at_the_top: bool, syntax: str) -> None:
    allocated = 8 if bits <= 8 else 16
    values = RAMP >> max(0, 12 - bits) << max(0, bits - 12)
    high = allocated - 1 if at_the_top else bits - 1
    cells = (values << (high + 1 - bits)).astype(f"u{allocated // 8}")
    found = grey(cells, BitsStored=bits, HighBit=high, syntax=syntax)
    np.testing.assert_array_equal(found, values)
    assert remarks(cells, BitsStored=bits, HighBit=high, syntax=syntax) == ""


@pytest.mark.parametrize("sign_carried_up", [True, False])
@pytest.mark.parametrize(("bits", "high"), [(8, 7), (10, 9), (12, 11), (14, 13), (12, 15), (10, 11), (16, 15)])
def test_signed_values_keep_their_sign_whatever_stands_above_them(bits: int, high: int, sign_carried_up: bool) -> None:
    values = (RAMP - 2000) >> max(0, 12 - bits)
    cells = (values << (high + 1 - bits)).astype(np.int16)
    if not sign_carried_up:
        cells = (cells.view(np.uint16) & np.uint16((1 << (high + 1)) - 1)).view(np.int16)
    np.testing.assert_array_equal(grey(cells, BitsStored=bits, HighBit=high), values)
    assert remarks(cells, BitsStored=bits, HighBit=high) == ""


@pytest.mark.parametrize("bits", [8, 10, 11])
def test_values_that_need_more_bits_than_the_header_says_do_not_wrap_round(bits: int) -> None:
    for cells in (RAMP.astype(np.uint16), np.random.default_rng(0).integers(0, 4096, RAMP.shape, np.uint16)):
        np.testing.assert_array_equal(grey(cells, BitsStored=bits, HighBit=bits - 1), cells)
        assert f"need more than the {bits} bits" in remarks(cells, BitsStored=bits, HighBit=bits - 1)
    signed = (RAMP - 2000).astype(np.int16)
    np.testing.assert_array_equal(grey(signed, BitsStored=bits, HighBit=bits - 1), signed)
    turned = grey(RAMP.astype(np.uint16), BitsStored=bits, HighBit=bits - 1, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(turned, RAMP.max() - RAMP)


def test_a_high_bit_that_would_leave_out_used_bits_leaves_out_none() -> None:
    cells = RAMP.astype(np.uint16)  # the lower 12 bits
    np.testing.assert_array_equal(grey(cells, BitsStored=12, HighBit=15), cells)
    assert "HighBit 15" in remarks(cells, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(grey(cells, BitsStored=12, HighBit=3), cells)
    assert "HighBit 3 contradicts BitsStored 12" in remarks(cells, BitsStored=12, HighBit=3)


def letters() -> np.ndarray:
    """Where an overlay writes."""
    marks = np.zeros(RAMP.shape, bool)
    marks[5:12, 10:40:3] = True
    return marks


@pytest.mark.parametrize("bit", [12, 15, 0])
def test_overlays_in_unused_bits_are_left_alone(bit: int) -> None:
    """PS3.3, C.9.2 before 2004."""
    values = RAMP if bit else RAMP << 4
    cells = (values | (letters() << bit)).astype(np.uint16)
    entries = {"BitsStored": 12, "HighBit": 11 if bit else 15}
    data = pydicom.dcmread(io.BytesIO(dicom(cells, **entries)))
    data.add_new(0x60000100, "US", 16)
    data.add_new(0x60000102, "US", bit)
    buffer = io.BytesIO()
    data.save_as(buffer)
    image = read_dicom(buffer.getvalue(), max_pixels=LIMIT)
    np.testing.assert_array_equal(image.grey, RAMP)
    assert image.remarks == ()


def test_bits_above_that_look_like_letters_are_left_out_with_a_remark() -> None:
    """An overlay whose description an anonymiser removed."""
    smooth = np.add.outer(np.arange(60) * 20, np.arange(80) * 15)
    cells = (smooth | letters() << 15).astype(np.uint16)
    np.testing.assert_array_equal(grey(cells, BitsStored=12, HighBit=11), smooth)
    assert "look like an overlay" in remarks(cells, BitsStored=12, HighBit=11)


PADDED = [
    ("MONOCHROME2", np.uint16, 0, {}),
    ("MONOCHROME2", np.uint16, 4095, {}),
    ("MONOCHROME1", np.uint16, 0, {}),
    ("MONOCHROME1", np.uint16, 4095, {}),
    ("MONOCHROME2", np.uint16, 63536, {}),  # in bits that BitsStored leaves out
    ("MONOCHROME2", np.int16, -2000, {}),
    ("MONOCHROME2", np.int16, -32768, {}),
    ("MONOCHROME2", np.uint16, 0, {"RescaleSlope": "2", "RescaleIntercept": "-1024"}),
    ("MONOCHROME2", np.uint16, 4095, {"RescaleSlope": "-1", "RescaleIntercept": "0"}),
    ("MONOCHROME2", np.uint16, 4095, {"WindowCenter": "9000", "WindowWidth": "10"}),  # beside all values
    ("MONOCHROME2", np.uint16, 4095, {"WindowCenter": "4000", "WindowWidth": "10"}),  # shows the padding alone
]


def twins(photometric: str, kind: type, padding: int, more: dict) -> tuple[bytes, bytes]:
    """A file with padding on its left, and one of the picture beside it alone."""
    values = RAMP if kind is np.uint16 else RAMP - 1000
    cells = np.where(BACKGROUND, padding, values).astype(kind)
    signed = kind is np.int16
    facts = {
        "PhotometricInterpretation": photometric,
        "BitsStored": 16 if signed else 12,
        "HighBit": 15 if signed else 11,
    }
    tag = {"PixelPaddingValue": padding}
    return dicom(cells, **facts, **more, **tag), dicom(cells[:, 30:], **facts, **more)


@pytest.mark.parametrize(("photometric", "kind", "padding", "more"), PADDED)
def test_padding_is_black_and_does_not_set_the_window(photometric: str, kind: type, padding: int, more: dict) -> None:
    whole, alone = (read_bytes(data, "x") for data in twins(photometric, kind, padding, more))
    shown = to_uint8(whole.grey, whole.padding)
    np.testing.assert_array_equal(shown[:, 30:], to_uint8(alone.grey))
    assert (shown[:, :30] == 0).all()
    assert not whole.remarks


def test_a_range_of_padding_is_padding_in_either_order() -> None:
    noise = np.random.default_rng(0).integers(3700, 4000, RAMP.shape)
    cells = np.where(BACKGROUND, noise, RAMP).astype(np.uint16)
    expected = to_uint8(grey(cells[:, 30:]))
    for first, last in ((3700, 4000), (4000, 3700)):
        picture = read_bytes(dicom(cells, PixelPaddingValue=first, PixelPaddingRangeLimit=last), "x")
        shown = to_uint8(picture.grey, picture.padding)
        np.testing.assert_array_equal(shown[:, 30:], expected)
        assert (shown[:, :30] == 0).all()
    lone = read_bytes(dicom(cells, PixelPaddingRangeLimit=4000), "x")  # without a value it says nothing
    np.testing.assert_array_equal(lone.grey, cells)


def test_a_padding_value_that_is_signed_and_written_as_unsigned_is_understood() -> None:
    cells = np.where(BACKGROUND, -2000, RAMP - 1000).astype(np.int16)
    data = dicom(cells, PixelPaddingValue=-2000)
    wrong = data.replace(b"\x28\0\x20\x01SS", b"\x28\0\x20\x01US")
    assert wrong != data
    picture = read_bytes(wrong, "x")
    np.testing.assert_array_equal(to_uint8(picture.grey, picture.padding)[:, 30:], to_uint8(grey(cells[:, 30:])))


def test_with_a_window_padding_is_black_and_nothing_else_changes() -> None:
    window = {"WindowCenter": "2048", "WindowWidth": "2000"}
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        for padding in (0, 4095):
            cells = np.where(BACKGROUND, padding, RAMP).astype(np.uint16)
            facts = {"PhotometricInterpretation": photometric, "BitsStored": 12, "HighBit": 11, **window}
            picture = read_bytes(dicom(cells, PixelPaddingValue=padding, **facts), "x")
            without = read_bytes(dicom(cells, **facts), "x")
            assert picture.padding is None
            np.testing.assert_array_equal(picture.grey[:, 30:], without.grey[:, 30:])
            assert (picture.grey[:, :30] == 0).all()


def test_a_padding_value_that_nothing_or_everything_has_changes_nothing() -> None:
    np.testing.assert_array_equal(grey(RAMP.astype(np.uint16), PixelPaddingValue=9), RAMP)
    blank = np.full(RAMP.shape, 9, np.uint16)
    np.testing.assert_array_equal(grey(blank, PixelPaddingValue=9), blank)


def test_padding_goes_through_the_shared_preprocessing() -> None:
    whole, alone = (read_bytes(data, "x") for data in twins("MONOCHROME2", np.uint16, 4095, {}))
    settings = Preprocessing(side=64, crop=False, shape="stretch")
    right = settings.apply(np.pad(to_uint8(alone.grey), ((0, 0), (30, 0))).astype(np.float32))
    left = settings.apply(whole.grey, whole.padding)
    assert np.abs(left.astype(int) - right).max() <= 1
