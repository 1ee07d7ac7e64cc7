"""What libraries warn of while they read a file is said of that file, and not on the terminal without its name."""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from radiographs.library_warnings import captured_warnings
from radiographs.read import UnreadableImageError, read_bytes

from tests.radiographs.test_deep_colours import png

Command = Callable[..., Any]
GREY = np.random.default_rng(0).integers(0, 255, (80, 90)).astype(np.uint8)


def with_a_damaged_tag(values: np.ndarray, **facts: object) -> bytes:
    """A TIFF file one of whose tags says that it has a million values."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, extratags=[(65000, "H", 3, (1, 2, 3), True)], metadata=None, **facts)
    data = bytearray(buffer.getvalue())
    start = struct.unpack_from("<I", data, 4)[0]
    for k in range(struct.unpack_from("<H", data, start)[0]):
        if struct.unpack_from("<H", data, start + 2 + 12 * k)[0] == 65000:
            struct.pack_into("<I", data, start + 6 + 12 * k, 10**6)
    return bytes(data)


def odd_files() -> dict[str, tuple[bytes, str]]:
    """Files that libraries warn of, and a word of it."""
    jpeg = io.BytesIO()
    Image.fromarray(GREY).save(jpeg, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0")
    colours = np.stack([GREY.astype(np.uint16) * 200] * 3, axis=2)
    return {
        "exif.jpg": (jpeg.getvalue(), "Corrupt EXIF data"),
        "tag.tif": (with_a_damaged_tag(GREY), "Skipping tag 65000"),
        "deep.tif": (with_a_damaged_tag(colours, photometric="rgb"), "tifffile reports damage"),
    }


@pytest.mark.parametrize("name", ["exif.jpg", "tag.tif", "deep.tif"])
def test_warnings_of_libraries_are_remarks_on_their_file(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, words = odd_files()[name]
    for _ in range(2):  # Python shows a warning once
        assert words in "; ".join(read_bytes(data, name).remarks)
    assert capfd.readouterr() == ("", "")


def test_sound_files_have_no_remarks(capfd: pytest.CaptureFixture[str]) -> None:
    palette = io.BytesIO()
    Image.fromarray(GREY).convert("P").save(palette, "PNG", transparency=bytes(range(256)))
    floats = io.BytesIO()
    tifffile.imwrite(floats, (GREY.astype(np.float32) - 127) * np.float32(2.5e36))
    for data in (palette.getvalue(), floats.getvalue()):
        assert read_bytes(data, "x").remarks == ()
    assert capfd.readouterr() == ("", "")


def test_c_libraries_write_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, GREY, compression="zlib", metadata=None, extratags=[(65001, "H", 1, 7, True)])
    whole = buffer.getvalue()
    deep = png(np.stack([GREY.astype(np.uint16)] * 3, axis=2), 2)
    profile = b"iCCPbad\0\0" + zlib.compress(b"no profile")
    chunk = struct.pack(">I", len(profile) - 4) + profile + struct.pack(">I", zlib.crc32(profile))
    assert read_bytes(whole, "x").grey.shape == GREY.shape
    assert read_bytes(deep[:33] + chunk + deep[33:], "x").grey.dtype == np.uint16
    with pytest.raises(UnreadableImageError):  # its first bytes of deflated data are wrong
        read_bytes(whole.replace(b"\x78\x9c", b"\0\0").replace(b"\x78\x01", b"\0\0").replace(b"\x78\xda", b"\0\0"), "x")
    assert capfd.readouterr() == ("", "")


def test_each_thread_hears_its_own_file() -> None:
    heard: dict[int, list[str]] = {}
    both = threading.Barrier(4)

    def read(k: int) -> None:
        with captured_warnings() as words:
            both.wait()
            for _ in range(50):
                warnings.warn_explicit(f"file {k}", UserWarning, "x.py", 1, module="PIL.x")
            both.wait()
        heard[k] = list(words)

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {k: [f"file {k}"] for k in range(4)}


def test_warnings_of_others_go_where_they_went() -> None:
    with captured_warnings():
        pass
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)


def test_a_check_names_the_files_and_nothing_else_is_printed(bench_command: Command, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for k in range(4):
            Image.fromarray(np.roll(GREY, 9 * k + ord(label), axis=1)).save(tmp_path / f"data/{label}/{k}.png")
    for name, (data, _) in odd_files().items():
        (tmp_path / "data/a" / name).write_bytes(data)
    done = bench_command("data", "check", tmp_path / "data", "--keep-identifiers")
    assert done.stderr == ""
    for name, (_, words) in odd_files().items():
        assert f"a/{name}: " in done.stdout
        assert words in done.stdout
    assert "D006 warning: Files that contradict themselves: 3" in done.stdout
    ran = bench_command("run", "prior", "--data", tmp_path / "data", "--folds", 2, "--out", tmp_path / "run")
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert "D006: 3 files that contradict themselves" in ran.stdout
