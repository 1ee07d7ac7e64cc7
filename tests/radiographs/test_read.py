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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_shows_the_same_picture(tmp_path: Path, orientation: int) -> None:
    shown = np.zeros((16, 24), np.uint8)
    shown[:4, :12] = 200  # a bar at the top left
    stored = {
        1: shown, 2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1], 5: shown.T,
        6: np.rot90(shown), 7: shown[::-1, ::-1].T, 8: np.rot90(shown, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = written(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), "x.png", exif=exif)
    assert (read_picture(path).grey == shown).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_tiffs_in_which_zero_is_white_are_turned_around(tmp_path: Path, kind: type) -> None:
    import tifffile

    values = (RAMP >> 8).astype(kind) if kind is not np.uint16 else RAMP
    tifffile.imwrite(tmp_path / "white.tif", values, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "black.tif", values, photometric="minisblack")
    white, black = (read_picture(tmp_path / f"{name}.tif").grey for name in ("white", "black"))
    np.testing.assert_array_equal(black, values)
    peak = np.iinfo(kind).max if kind is not np.float32 else values.max() + values.min()
    np.testing.assert_array_equal(white, peak - values)


def test_modes_that_pillow_would_convert_wrongly_are_converted_on_purpose(tmp_path: Path) -> None:
    import tifffile

    grey = (RAMP >> 8).astype(np.uint8)
    cmyk = Image.merge("CMYK", [Image.new("L", (64, 48), 0)] * 3 + [Image.fromarray(255 - grey)])
    assert np.abs(read_picture(written(tmp_path, cmyk, "c.tiff")).grey.astype(int) - grey).max() <= 1
    both = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (64, 48), 128)])
    assert np.abs(read_picture(written(tmp_path, both, "la.png")).grey - grey * (128 / 255)).max() <= 1
    assert (read_picture(written(tmp_path, Image.fromarray(grey > 99), "bw.png")).grey == (grey > 99) * 255).all()
    tifffile.imwrite(tmp_path / "rgb16.tif", np.stack([RAMP] * 3, axis=2), photometric="rgb")
    deep = read_picture(tmp_path / "rgb16.tif").grey
    assert np.corrcoef(deep.ravel(), RAMP.ravel())[0, 1] > 0.9999
    tifffile.imwrite(tmp_path / "double.tif", RAMP.astype(np.float64) / 7)
    np.testing.assert_allclose(read_picture(tmp_path / "double.tif").grey, RAMP / 7, rtol=1e-6)


def test_colour_is_noticed(tmp_path: Path) -> None:
    assert read_picture(written(tmp_path, Image.new("RGB", (40, 40), (10, 200, 10)), "g.png")).coloured == 1
    assert read_picture(written(tmp_path, Image.new("RGB", (40, 40), (90, 90, 90)), "n.png")).coloured == 0


def test_the_name_does_not_decide_what_a_file_is(tmp_path: Path) -> None:
    grey = (RAMP >> 8).astype(np.uint8)
    path = written(tmp_path, Image.fromarray(grey), "x.png")
    for name in ("x.jpg", "x.tif", "x.dcm", "x"):
        path = path.rename(tmp_path / name)
        assert (read_picture(path).grey == grey).all()


def test_random_damage_is_refused_or_used_but_never_a_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("png", "jpeg", "tiff"):
        buffer = io.BytesIO()
        Image.fromarray((RAMP >> 8).astype(np.uint8)).save(buffer, suffix)
        for _ in range(60):
            data = bytearray(buffer.getvalue())
            for place in rng.integers(len(data), size=3):
                data[place] = int(rng.integers(256))
            (tmp_path / "x").write_bytes(bytes(data))
            try:
                picture = read_picture(tmp_path / "x", "x")
            except UnreadableImageError as error:
                message = str(error)
            else:
                message = "x: used" if np.isfinite(picture.grey).all() else ""
            assert message.startswith("x: ")
            assert "\n" not in message
