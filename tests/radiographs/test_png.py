"""Plain grey PNG files are read as Pillow reads them, and nothing else is."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from radiographs.png import plain_grey
from radiographs.read import UnreadableImageError, read_picture

LIMIT = 10**6
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 50), np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    packed: bytes, height: int = 60, width: int = 50, *, extra: bytes = b"", end: bytes = chunk(b"IEND", b"")
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", packed) + end


def rows(image: np.ndarray, kind: int = 0) -> bytes:
    return b"".join(bytes([kind]) + row.tobytes() for row in image)


def saved(image: np.ndarray, mode: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, mode)
    return stream.getvalue()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_every_filter_is_undone_as_pillow_does_it(height: int, width: int, kind: int, seed: int) -> None:
    filtered = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    data = png(zlib.compress(rows(filtered, kind)), height, width)
    np.testing.assert_array_equal(plain_grey(data, LIMIT), np.asarray(Image.open(io.BytesIO(data))))


def test_real_radiographs_are_read_as_pillow_reads_them(shared: Path) -> None:
    for file in sorted((shared / "data" / "unifesp").rglob("*.png"))[::25]:
        found = plain_grey(file.read_bytes(), LIMIT)
        np.testing.assert_array_equal(found, np.asarray(Image.open(file)))


@pytest.mark.parametrize(
    "data",
    [
        saved(np.stack([IMAGE] * 3, axis=2)),
        saved(IMAGE.astype(np.uint16)),
        saved(IMAGE > 100),
        saved(IMAGE, "JPEG"),
        png(zlib.compress(rows(IMAGE)), extra=chunk(b"tRNS", b"\0\7")),
    ],
    ids=["colour", "16 bits", "1 bit", "JPEG", "transparency"],
)
def test_other_kinds_are_left_to_pillow(data: bytes) -> None:
    assert plain_grey(data, LIMIT) is None


WHOLE = zlib.compress(rows(IMAGE))
DAMAGED = {
    "cut stream": png(WHOLE[:-20]),
    "a row too few": png(zlib.compress(rows(IMAGE[:-1]))),
    "a row too many": png(zlib.compress(rows(IMAGE) + bytes(51))),
    "other checksum of the stream": png(WHOLE[:-1] + bytes([WHOLE[-1] ^ 1])),
    "unknown filter": png(zlib.compress(rows(IMAGE, 7))),
    "nothing in it": png(b""),
    "no end": png(WHOLE, end=b""),
    "cut file": png(WHOLE)[:200],
    "flipped bit": png(WHOLE)[:300] + bytes([png(WHOLE)[300] ^ 4]) + png(WHOLE)[301:],
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_not_whole_gives_no_pixels(kind: str) -> None:
    assert plain_grey(DAMAGED[kind], LIMIT) is None


def test_a_bomb_is_not_unpacked() -> None:
    assert plain_grey(png(zlib.compress(bytes(10**8)), 30_000, 30_000), LIMIT) is None


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(DAMAGED["flipped bit"])
    with pytest.raises(UnreadableImageError, match=r"bad\.png: damaged or truncated"):
        read_picture(tmp_path / "bad.png", "bad.png")
