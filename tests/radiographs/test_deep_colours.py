"""PNG, TIFF and JPEG files of every depth and with several pictures: what is shown has the bits that the file has, and nothing is dropped unsaid."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from radiographs.read import Picture, UnreadableImageError, frames_of, read_bytes, read_picture

rng = np.random.default_rng(0)
DEEP = rng.integers(0, 65536, (20, 30, 4)).astype(np.uint16)
GREY = DEEP[..., 0]
WEIGHTS = np.array([0.299, 0.587, 0.114])


def png(values: np.ndarray, colour_type: int, depth: int = 16, *, interlaced: bool = False) -> bytes:
    """A PNG file by the specification (third edition), all rows unfiltered."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    big = values.astype(f">u{depth // 8}")
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in big[y::dy, x::dx])
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, **facts: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **facts)
    return buffer.getvalue()


def read(data: bytes, **how: object) -> Picture:
    return read_bytes(data, "x", **how)


def is_near(found: np.ndarray, expected: np.ndarray, kind: type = np.uint16) -> None:
    assert found.dtype == kind
    assert np.abs(found.astype(float) - expected).max() <= 1


@pytest.mark.parametrize("interlaced", [False, True])
def test_png_files_of_16_bits_keep_them_whatever_their_channels(interlaced: bool) -> None:
    np.testing.assert_array_equal(read(png(GREY, 0, interlaced=interlaced)).grey, GREY)
    is_near(read(png(DEEP[..., :3], 2, interlaced=interlaced)).grey, DEEP[..., :3] @ WEIGHTS)
    is_near(read(png(DEEP[..., :2], 4, interlaced=interlaced)).grey, GREY * (DEEP[..., 1] / 65535))
    is_near(read(png(DEEP, 6, interlaced=interlaced)).grey, DEEP[..., :3] @ WEIGHTS * (DEEP[..., 3] / 65535))
    same = np.repeat(np.arange(0, 65536, 109, dtype=np.uint16)[:600].reshape(20, 30, 1), 3, axis=2)
    np.testing.assert_array_equal(read(png(same, 2)).grey, same[..., 0])


def test_png_files_of_8_bits_stay_as_they_were() -> None:
    eight = (DEEP >> 8).astype(np.uint8)
    is_near(read(png(eight[..., :3], 2, 8)).grey, eight[..., :3] @ WEIGHTS, np.uint8)
    is_near(read(png(eight[..., :2], 4, 8)).grey, eight[..., 0] * (eight[..., 1] / 255), np.uint8)


def test_a_damaged_deep_png_is_refused() -> None:
    whole = png(DEEP[..., :3], 2)
    for data in (whole[:-200], whole[:500] + b"\0\0" + whole[502:], png(DEEP[..., :1], 3)):
        with pytest.raises(UnreadableImageError, match=r"^x: "):
            read(data)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_files_of_16_bits_keep_them_in_pixels_and_in_planes(
    compression: str | None, planar: str, order: str
) -> None:
    facts = {"compression": compression, "planarconfig": planar, "byteorder": order, "metadata": None}

    def write(values: np.ndarray, **more: object) -> bytes:
        return tiff(np.moveaxis(values, 2, 0) if planar == "separate" else values, **facts, **more)

    is_near(read(write(DEEP[..., :3], photometric="rgb")).grey, DEEP[..., :3] @ WEIGHTS)
    over = write(DEEP, photometric="rgb", extrasamples=["unassalpha"])
    is_near(read(over).grey, DEEP[..., :3] @ WEIGHTS * (DEEP[..., 3] / 65535))
    is_near(read(write(DEEP, photometric="rgb", extrasamples=["assocalpha"])).grey, DEEP[..., :3] @ WEIGHTS)
    both = write(DEEP[..., :2], photometric="minisblack", extrasamples=["unassalpha"])
    is_near(read(both).grey, GREY * (DEEP[..., 1] / 65535))
    left = 65535.0 - DEEP
    is_near(read(write(DEEP, photometric="separated")).grey, left[..., :3] * left[..., 3:] / 65535 @ WEIGHTS)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_compressed_tiff_files_of_16_bits_are_read_by_whatever_can(compression: int) -> None:
    for values in (DEEP[..., 2::-1], DEEP[..., [2, 1, 0, 3]]):
        done, data = cv2.imencode(".tif", values, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
        assert done
        found = read(data.tobytes()).grey
        opaque = read(tiff(DEEP[..., : values.shape[2]], photometric="rgb")).grey
        assert found.dtype == np.uint16
        if values.shape[2] == 3:
            np.testing.assert_array_equal(found, opaque)


@pytest.mark.parametrize(
    "kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float16, np.float32, np.float64]
)
def test_numbers_of_any_kind_keep_their_sign_and_range(kind: type) -> None:
    if np.dtype(kind).kind == "f":
        values = (GREY / 7 - 3000).astype(kind)
    else:
        facts = np.iinfo(kind)
        values = rng.integers(facts.min, facts.max, GREY.shape, endpoint=True).astype(kind)
    found = read(tiff(values)).grey
    np.testing.assert_allclose(found, values.astype(np.float64), rtol=1e-6)
    white = read(tiff(values, photometric="miniswhite")).grey
    assert np.corrcoef(white.ravel().astype(float), values.ravel().astype(float))[0, 1] < -0.999


@pytest.mark.parametrize("bits", [16, 8])
def test_a_tiff_palette_that_says_16_bits_may_hold_8(bits: int) -> None:
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ramp = np.arange(256, dtype=np.uint16)[::-1] * (257 if bits == 16 else 1)
    data = tiff(index, photometric="palette", colormap=np.stack([ramp] * 3))
    np.testing.assert_array_equal(read(data).grey, 255 - index)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_holds_for_what_pillow_does_not_decode(orientation: int) -> None:
    shown = np.zeros((16, 24), np.uint16)
    shown[:4, :12] = 60_000
    stored = {
        1: shown, 2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1], 5: shown.T,
        6: np.rot90(shown), 7: shown[::-1, ::-1].T, 8: np.rot90(shown, -1),
    }[orientation]  # fmt: skip
    tag = [(274, "H", 1, orientation, True)]
    deep = tiff(np.repeat(stored[..., None], 3, axis=2), photometric="rgb", extratags=tag)
    np.testing.assert_array_equal(read(deep).grey, shown)
    np.testing.assert_array_equal(read(tiff(stored.astype(np.uint32), extratags=tag)).grey, shown)
    np.testing.assert_array_equal(read(tiff(stored, extratags=tag)).grey, shown)


def test_pages_of_a_tiff_are_counted_and_each_can_be_read() -> None:
    pages = rng.integers(0, 255, (3, 20, 30)).astype(np.uint8)
    for stack in (pages, pages.astype(np.uint16) * 200):
        data = tiff(stack, photometric="minisblack")
        for k in range(3):
            picture = read(data, frame=k)
            assert picture.frames == 3
            np.testing.assert_array_equal(picture.grey, stack[k])
        with pytest.raises(UnreadableImageError, match="has 3 frames, not frame 3"):
            read(data, frame=3)
    colours = np.stack([DEEP[..., :3], DEEP[..., 1:]])
    assert read(tiff(colours, photometric="rgb")).frames == 2
    is_near(read(tiff(colours, photometric="rgb"), frame=1).grey, DEEP[..., 1:] @ WEIGHTS)


def test_smaller_copies_of_a_page_are_no_pages(tmp_path: Path) -> None:
    large = rng.integers(0, 255, (64, 64)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        file.write(large, metadata=None)
        file.write(large[::2, ::2], subfiletype=1, metadata=None)
        file.write(large[::4, ::4], subfiletype=1, metadata=None)
    with tifffile.TiffWriter(tmp_path / "q.tif") as file:  # as cameras do
        file.write(large[::4, ::4], subfiletype=1, metadata=None)
        file.write(large, metadata=None)
    for name in ("p.tif", "q.tif"):
        picture = read_picture(tmp_path / name)
        assert picture.frames == frames_of(tmp_path / name) == 1
        np.testing.assert_array_equal(picture.grey, large)


def test_damage_behind_the_first_page_is_said_and_the_page_is_used() -> None:
    pages = rng.integers(0, 255, (2, 20, 30)).astype(np.uint8)
    whole = bytearray(tiff(pages, photometric="minisblack", metadata=None))
    second = int.from_bytes(whole[4:8], "little")
    n = int.from_bytes(whole[second : second + 2], "little")
    follows = int.from_bytes(whole[second + 2 + 12 * n : second + 6 + 12 * n], "little")
    whole[follows : follows + 2] = b"\xff\xff"
    picture = read(bytes(whole))
    np.testing.assert_array_equal(picture.grey, pages[0])
    assert picture.remarks


def test_a_jpeg_of_several_pictures_is_read_and_they_are_counted(tmp_path: Path) -> None:
    first, second = (Image.fromarray((DEEP[..., k] >> 8).astype(np.uint8)) for k in (0, 1))
    first.save(tmp_path / "two.mpo", "MPO", save_all=True, append_images=[second], quality=95)
    picture = read_picture(tmp_path / "two.mpo")
    assert picture.frames == frames_of(tmp_path / "two.mpo") == 2
    buffer = io.BytesIO()
    first.save(buffer, "JPEG", quality=95)
    np.testing.assert_array_equal(picture.grey, read(buffer.getvalue()).grey)
    buffer = io.BytesIO()
    second.save(buffer, "JPEG", quality=95)
    np.testing.assert_array_equal(read_picture(tmp_path / "two.mpo", frame=1).grey, read(buffer.getvalue()).grey)


def test_a_deflated_part_that_inflates_without_end_is_refused() -> None:
    planes = np.zeros((3, 64, 64), np.uint16)
    data = tiff(planes, photometric="rgb", planarconfig="separate", compression="zlib", metadata=None)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        counts = page.tags["StripByteCounts"]
        offsets = page.tags["StripOffsets"]
        kind = "<I" if counts.dtype == 4 else "<H"
        at = [tag.valueoffset for tag in (offsets, counts)]
    packer = zlib.compressobj(9)
    part = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(300)), packer.flush()])
    grown = bytearray(data + part)
    struct.pack_into("<I", grown, at[0], len(data))
    struct.pack_into("<I" if kind == "<I" else "<H", grown, at[1], len(part) if kind == "<I" else 65535)
    if kind == "<H":
        pytest.skip("counts of 16 bits")
    with pytest.raises(UnreadableImageError, match="inflates to more than the picture"):
        read(bytes(grown))
