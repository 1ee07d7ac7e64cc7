"""Reading pictures: every mode on purpose, every damaged file refused in one line."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from radiographs.read import UnreadableImageError, read_picture

RAMP = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)


def written(tmp_path: Path, image: Image.Image, name: str, **options) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    for name in ("x.png", "x.tiff"):
        found = read_picture(written(tmp_path, Image.fromarray(RAMP), name)).grey
        assert found.dtype == np.uint16
        assert (found == RAMP).all()


def test_eight_bits_are_read_as_they_are(tmp_path: Path) -> None:
    eight = (RAMP >> 8).astype(np.uint8)
    assert (read_picture(written(tmp_path, Image.fromarray(eight), "x.png")).grey == eight).all()


def test_colour_becomes_luma_and_transparency_is_black(tmp_path: Path) -> None:
    green = Image.new("RGB", (4, 4), (0, 200, 0))
    assert (read_picture(written(tmp_path, green, "g.png")).grey == round(0.587 * 200)).all()
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    assert (read_picture(written(tmp_path, clear, "c.png")).grey == 0).all()
    palette = Image.new("RGB", (4, 4), (90, 90, 90)).quantize(4)
    assert (read_picture(written(tmp_path, palette, "p.png")).grey == 90).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat([[10, 200]], 8, axis=0).astype(np.uint8).repeat(8, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(written(tmp_path, image, "r.jpg", exif=exif)).grey.shape == (16, 8)


def test_floating_point_tiffs_are_kept_and_nan_is_refused(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32) - 1000
    assert (read_picture(written(tmp_path, Image.fromarray(values), "f.tiff")).grey == values).all()
    values[3, 3] = np.nan
    with pytest.raises(UnreadableImageError, match=r"n\.tiff: has NaN"):
        read_picture(written(tmp_path, Image.fromarray(values), "n.tiff"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
def test_a_file_cut_anywhere_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray((RAMP >> 8).astype(np.uint8)).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix))
    whole = buffer.getvalue()
    for length in np.linspace(0, len(whole) * 0.95, 15).astype(int):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableImageError, match="cut") as error:
            read_picture(path)
        assert "\n" not in str(error.value)


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(UnreadableImageError, match=r"page\.png: not a PNG, JPEG, TIFF or DICOM picture"):
        read_picture(tmp_path / "page.png")
    with pytest.raises(UnreadableImageError, match=r"gone\.png: cannot be opened"):
        read_picture(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        read_picture(tmp_path / "pipe.png")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, Image.new("1", (20_000, 20_000)), "bomb.png")
    assert path.stat().st_size < 100_000
    with pytest.raises(UnreadableImageError, match=r"bomb\.png"):
        read_picture(path)
