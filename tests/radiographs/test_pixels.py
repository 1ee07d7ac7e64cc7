"""The pixel cache: whole, checked, and keyed by what decides the pixels."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from radiographs.pixels import load_pixels, merge_duplicates
from radiographs.preprocess import Preprocessing
from radiographs.read import read_picture
from radiographs.sources import Hints, SourceError, open_source


@pytest.fixture
def folder(tmp_path: Path, phantom_folder: Path) -> Path:
    """A copy of the phantom data with one truncated image."""
    shutil.copytree(phantom_folder, tmp_path / "data")
    victim = sorted((tmp_path / "data/images/train").iterdir())[4]
    victim.write_bytes(victim.read_bytes()[:900])
    return tmp_path / "data"


def test_pixels_are_in_the_order_of_the_usable_rows_for_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    listing = open_source(folder, Hints(keep_identifiers=True))
    one = load_pixels(listing, Preprocessing(), tmp_path / "a", workers=1)
    four = load_pixels(listing, Preprocessing(), tmp_path / "b", workers=4)
    assert one.digest == four.digest
    row = one.usable.iloc[7]
    assert (one.images[7] == Preprocessing().apply(read_picture(folder / row["file"]).grey)).all()


def test_a_truncated_image_is_named_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    pixels = load_pixels(open_source(folder), Preprocessing(), tmp_path / "cache", workers=2)
    excluded = pixels.manifest[pixels.manifest["status"] == "excluded"]
    assert len(excluded) == 1
    assert "damaged or truncated" in excluded["reason"].iloc[0]
    assert len(pixels.images) == 39


def test_a_second_load_comes_from_the_cache_and_a_damaged_cache_is_made_again(folder: Path, tmp_path: Path) -> None:
    listing, cache = open_source(folder), tmp_path / "cache"
    first = load_pixels(listing, Preprocessing(), cache, workers=2)
    assert not first.cached
    assert load_pixels(listing, Preprocessing(), cache, workers=2).cached
    (file,) = cache.glob("pixels/*/pixels.u8")
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    again = load_pixels(listing, Preprocessing(), cache, workers=2)
    assert not again.cached
    assert again.digest == first.digest


def test_other_settings_or_another_file_make_another_cache(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = load_pixels(open_source(folder), Preprocessing(), cache, workers=2)
    assert load_pixels(open_source(folder), Preprocessing(denoise="median"), cache, workers=2).digest != first.digest
    victim = folder / first.usable["file"].iloc[0]
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(victim)
    assert not load_pixels(open_source(folder), Preprocessing(), cache, workers=2).cached


def test_a_folder_without_one_readable_image_is_refused(tmp_path: Path) -> None:
    for name in ("x/a.png", "y/b.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(b"no picture")
    with pytest.raises(SourceError, match="none of the 2 images can be read; the first: not a PNG"):
        load_pixels(open_source(tmp_path / "data"), Preprocessing(), tmp_path / "cache", workers=1)
    assert not list((tmp_path / "cache/pixels").iterdir())


def test_identical_pixels_share_a_group_through_a_chain() -> None:
    manifest = pd.DataFrame(
        {
            "group": ["a", "b", "b", "c", "d", "e"],
            "pixels_sha256": ["1", "1", "2", "2", "3", ""],
            "status": [*["ok"] * 5, "excluded"],
        }
    )
    merged, repeated = merge_duplicates(manifest)
    assert merged["group"].tolist() == ["a", "a", "a", "a", "d", "e"]
    assert repeated == 2


def bad_files(good: Path) -> dict[str, bytes]:
    """Files that must not be used, each broken in its own way."""
    from tests.radiographs.test_dicom import twin

    png = good.read_bytes()
    buffer = io.BytesIO()
    Image.open(good).convert("L").save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    values = np.ones((20, 20), np.float32)
    values[3, 3] = np.inf
    infinite, bomb = io.BytesIO(), io.BytesIO()
    Image.fromarray(values).save(infinite, "TIFF")
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    cuts = {f"cut{k}.png": png[: len(png) * k // 10] for k in range(1, 10)}
    cuts |= {f"cut{k}.jpg": jpeg[: len(jpeg) * k // 10] for k in range(1, 10)}
    dicom = twin(bits=12)
    cuts |= {f"cut{k}.dcm": dicom[: len(dicom) * k // 10] for k in range(1, 10)}
    return cuts | {
        "empty.png": b"",
        "page.png": b"<html>",
        "zeros.png": bytes(5000),
        "infinite.tif": infinite.getvalue(),
        "bomb.png": bomb.getvalue(),
        "lie.dcm": twin(Rows=61),
        "report.dcm": twin(SamplesPerPixel=0),
        "gap.png": png[:2000] + bytes(400) + png[2400:],
    }


def test_bad_files_are_named_one_by_one_and_change_nothing_for_the_good_ones(
    phantom_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pydicom")
    files = sorted(phantom_folder.rglob("*.png"))[:8]
    for name, part in (("clean", []), ("mixed", bad_files(files[0]).items())):
        for k, file in enumerate(files):
            target = tmp_path / name / ("x" if k % 2 else "y") / f"{k}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        for bad, data in part:
            (tmp_path / name / "x" / bad).write_bytes(data)
    clean, mixed = (
        load_pixels(
            open_source(tmp_path / name, Hints(keep_identifiers=True)),
            Preprocessing(),
            tmp_path / f"cache-{name}",
            workers=2,
        )
        for name in ("clean", "mixed")
    )
    excluded = mixed.manifest[mixed.manifest["status"] == "excluded"]
    assert {Path(file).name for file in excluded["file"]} == set(bad_files(files[0]))
    assert all(reason and "\n" not in reason for reason in excluded["reason"])
    assert mixed.usable["image_id"].tolist() == clean.usable["image_id"].tolist()
    np.testing.assert_array_equal(mixed.images, clean.images)


def test_only_its_owner_can_read_what_was_decoded(folder: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_pixels(open_source(folder), Preprocessing(), tmp_path / "cache", workers=2)
    finally:
        os.umask(before)
    (place,) = (tmp_path / "cache" / "pixels").iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    for file in place.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    assert load_pixels(open_source(folder), Preprocessing(), tmp_path / "cache", workers=2).cached


def test_a_file_without_a_picture_does_not_make_fractions_of_frames(folder: Path, tmp_path: Path) -> None:
    manifest = load_pixels(open_source(folder), Preprocessing(), tmp_path / "cache", workers=2).manifest
    assert manifest["frames"].dtype.kind == "i"
    assert set(manifest["frames"]) == {0, 1}
    assert set(manifest["remark"]) == {""}
