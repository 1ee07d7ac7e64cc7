"""DICOM files as a viewer shows them: twins of one picture in every guise give the same array, broken ones one line."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from radiographs.dicom import DicomError, DicomImage, is_dicom, read_dicom, read_tags
from radiographs.preprocess import to_uint8
from radiographs.read import UnreadableImageError, read_picture

pydicom = pytest.importorskip("pydicom")

LIMIT = 100_000_000
PICTURE = (np.add.outer(np.arange(60) * 3, np.arange(80)) % 256).astype(np.uint8)  # (60, 80), from 0 to 255
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
RLE, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"
BUNDLED = sorted(p for p in (Path(pydicom.__file__).parent / "data/test_files").rglob("*") if p.is_file())


def twin(
    values: np.ndarray = PICTURE,
    *,
    bits: int = 8,
    monochrome: int = 2,
    signed: bool = False,
    syntax: str = "1.2.840.10008.1.2.1",
    **entries: object,
) -> bytes:
    """The picture as a DICOM file whose stored values fill `bits` bits."""
    from pydicom.dataset import Dataset, FileMetaDataset

    shown = filled(values, bits)
    stored = shown if monochrome == 2 else 2**bits - 1 - shown
    if signed:
        stored = stored - 2 ** (bits - 1)
    width = 8 if bits == 8 else 16
    kind = {(8, False): "u1", (8, True): "i1", (16, False): "u2", (16, True): "i2"}[width, signed]
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax if syntax in UNCOMPRESSED else UNCOMPRESSED[1]
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.Modality, data.PatientID, data.PatientName, data.BodyPartExamined = "DX", "P-77", "CANARY^NAME", "HAND"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, f"MONOCHROME{monochrome}"
    data.Rows, data.Columns = values.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = width, bits, bits - 1, int(signed)
    for name, value in entries.items():
        setattr(data, name, value)
    big = syntax == UNCOMPRESSED[2]
    raw = stored.astype((">" if big else "<") + kind).tobytes()
    data.add_new("PixelData", "OB" if width == 8 else "OW", raw + b"\0" * (len(raw) % 2))
    if syntax not in UNCOMPRESSED:
        data.compress(syntax)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def filled(values: np.ndarray, bits: int) -> np.ndarray:
    """Values of 8 bits as the upper ones of so many."""
    return values.astype(np.int64) << (bits - 8)


def grey(data: bytes) -> np.ndarray:
    return read_dicom(data, max_pixels=LIMIT).grey


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, RLE, JPEG_2000])
@pytest.mark.parametrize("monochrome", [1, 2])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_twins_of_one_picture_give_the_same_array(bits: int, monochrome: int, syntax: str) -> None:
    found = grey(twin(bits=bits, monochrome=monochrome, syntax=syntax))
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(found, filled(PICTURE, bits))
    np.testing.assert_array_equal(to_uint8(found), to_uint8(PICTURE))


@pytest.mark.parametrize("monochrome", [1, 2])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_signed_twins_and_full_windows_change_nothing_that_is_seen(bits: int, monochrome: int) -> None:
    guises = {
        "signed": twin(bits=bits, monochrome=monochrome, signed=True),
        "window": twin(bits=bits, monochrome=monochrome, WindowCenter=str(2 ** (bits - 1)), WindowWidth=str(2**bits)),
        "windows": twin(
            bits=bits, monochrome=monochrome, WindowCenter=[str(2 ** (bits - 1)), "3"], WindowWidth=[str(2**bits), "2"]
        ),
        "rescaled": twin(bits=bits, monochrome=monochrome, RescaleSlope="2", RescaleIntercept="-1024"),
        "no window": twin(bits=bits, monochrome=monochrome, WindowCenter="50", WindowWidth="0"),
        "exact": twin(
            bits=bits,
            monochrome=monochrome,
            WindowCenter=str((2**bits - 1) / 2),
            WindowWidth=str(2**bits - 1),
            VOILUTFunction="LINEAR_EXACT",
        ),
    }
    for name, data in guises.items():
        np.testing.assert_array_equal(to_uint8(grey(data)), to_uint8(PICTURE), err_msg=name)


def test_inversion_is_asked_for_once_whoever_asks() -> None:
    for entries in ({"monochrome": 1}, {"monochrome": 1, "PresentationLUTShape": "INVERSE"}):
        np.testing.assert_array_equal(grey(twin(**entries)), PICTURE)
    np.testing.assert_array_equal(grey(twin(PresentationLUTShape="INVERSE")), 255 - PICTURE)
    np.testing.assert_array_equal(grey(twin(PresentationLUTShape="IDENTITY")), PICTURE)


def test_a_narrow_window_clips_and_is_applied_before_the_inversion() -> None:
    shown = grey(twin(WindowCenter="100.5", WindowWidth="101"))
    np.testing.assert_allclose(shown, ((PICTURE - 50.0) / 100).clip(0, 1) * 255, atol=1e-4)
    turned = grey(twin(monochrome=1, WindowCenter="155.5", WindowWidth="101"))
    np.testing.assert_allclose(turned, ((PICTURE - 50.0) / 100).clip(0, 1) * 255, atol=1e-4)


def test_a_window_agrees_with_pydicom() -> None:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        for entries in ({}, {"RescaleSlope": "0.5", "RescaleIntercept": "7"}):
            data = twin(bits=12, WindowCenter="1000", WindowWidth="900", VOILUTFunction=function, **entries)
            dataset = pydicom.dcmread(io.BytesIO(data))
            theirs = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
            np.testing.assert_allclose(grey(data), theirs, atol=0.01)


def test_a_window_beside_all_values_is_not_used() -> None:
    np.testing.assert_array_equal(grey(twin(WindowCenter="9000", WindowWidth="10")), PICTURE)


def test_look_up_tables_are_applied() -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.add_new("LUTData", "OW", (np.arange(256) ** 2).astype("<u2").tobytes())
    squares = PICTURE.astype(np.int64) ** 2
    np.testing.assert_array_equal(grey(twin(VOILUTSequence=Sequence([table]))), squares)
    np.testing.assert_array_equal(grey(twin(ModalityLUTSequence=Sequence([table]))), squares)
    np.testing.assert_array_equal(
        grey(twin(VOILUTSequence=Sequence([table]), PresentationLUTShape="INVERSE")), 65535 - squares
    )


def test_frames_are_named_and_counted() -> None:
    two = np.stack([PICTURE, PICTURE[::-1]])
    data = twin(two, NumberOfFrames="2")
    first = read_dicom(data, max_pixels=LIMIT)
    assert first.frames == 2
    np.testing.assert_array_equal(first.grey, PICTURE)
    np.testing.assert_array_equal(read_dicom(data, max_pixels=LIMIT, frame=1).grey, PICTURE[::-1])
    with pytest.raises(DicomError, match="has 2 frames, not frame 2"):
        read_dicom(data, max_pixels=LIMIT, frame=2)


def attempted(data: bytes) -> tuple[DicomImage | None, str]:
    """The image, or why there is none."""
    try:
        return read_dicom(data, max_pixels=LIMIT), ""
    except DicomError as error:
        return None, str(error)


def test_only_the_named_entries_are_kept() -> None:
    image = read_dicom(twin(), max_pixels=LIMIT)
    assert image.tags["patient"] == "P-77"
    assert image.tags["body_part"] == "HAND"
    assert image.tags["photometric"] == "MONOCHROME2"
    assert "CANARY" not in str(image.tags)
    assert read_tags(io.BytesIO(twin())) == (image.tags, 1)
    assert read_tags(io.BytesIO(b"PNG")) is None


def test_a_header_is_read_no_further_than_its_pixels() -> None:
    class Counting(io.BytesIO):
        last = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.last = max(self.last, self.tell())
            return data

    stream = Counting(twin(np.zeros((2000, 2000), np.uint8), bits=16, NumberOfFrames="1", ImageLaterality="L"))
    tags, frames = read_tags(stream) or ({}, 0)
    assert (tags["patient"], tags["laterality"], frames) == ("P-77", "L", 1)
    assert stream.last < 20_000


def test_the_limit_holds_before_anything_is_decoded() -> None:
    with pytest.raises(DicomError, match=r"80 x 60 x 1 frames is over the limit of 4,799 pixels"):
        read_dicom(twin(), max_pixels=4799)
    lie = twin(Rows=60_000, Columns=60_000)
    with pytest.raises(DicomError, match="over the limit"):
        read_dicom(lie, max_pixels=LIMIT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Rows": 0}, "its header gives 0 x 80"),
        ({"Rows": 61}, r"truncated: 4,800 of 4,880 bytes of pixels"),
        ({"SamplesPerPixel": 7}, "of 7 values"),
        ({"BitsAllocated": 13}, "its pixels cannot be decoded|truncated"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "its pixels cannot be decoded"),
    ],
)
def test_a_header_that_lies_is_refused(change: dict, message: str) -> None:
    with pytest.raises(DicomError, match=message):
        read_dicom(twin(**change), max_pixels=LIMIT)


@pytest.mark.parametrize("syntax", [UNCOMPRESSED[1], RLE, JPEG_2000])
def test_a_file_cut_anywhere_is_refused_in_one_line_without_its_header(tmp_path: Path, syntax: str) -> None:
    whole = twin(bits=16, syntax=syntax)
    for length in np.linspace(0, len(whole) - 200, 25).astype(int):
        path = tmp_path / "cut.dcm"
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableImageError, match=r"^cut\.dcm: ") as error:
            read_picture(path, "cut.dcm")
        assert "\n" not in str(error.value)
        assert "CANARY" not in str(error.value)


def test_bytes_changed_at_random_are_used_or_refused_but_never_a_crash() -> None:
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for syntax in (UNCOMPRESSED[1], RLE, JPEG_2000):
            whole = bytearray(twin(bits=12, syntax=syntax))
            for _ in range(150):
                damaged = bytearray(whole)
                for place in rng.integers(132, 900, size=4):
                    damaged[place] = int(rng.integers(256))
                image, error = attempted(bytes(damaged))
                assert "CANARY" not in error
                assert error or np.isfinite(image.grey).all()


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_every_file_of_pydicoms_own_is_used_or_refused(path: Path) -> None:
    data = path.read_bytes()
    if not is_dicom(data):
        return
    image, error = attempted(data)
    assert "\n" not in error
    if not error:
        dataset = pydicom.dcmread(path)
        assert image.grey.shape == (dataset.Rows, dataset.Columns)
        assert image.grey.dtype in (np.uint8, np.uint16, np.float32)


def test_a_tiff_header_in_the_preamble_does_not_hide_a_dicom_file(tmp_path: Path) -> None:
    data = b"II*\0" + twin()[4:]
    (tmp_path / "x.tif").write_bytes(data)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.tif").grey, PICTURE)
