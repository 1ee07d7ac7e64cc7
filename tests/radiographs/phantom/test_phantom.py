"""The phantom: right path lengths, right limits, the same bytes from the same seed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from radiographs.phantom import write_folder
from radiographs.phantom.anatomy import parts, rotation
from radiographs.phantom.dataset import DIFFICULTIES, Patient, picture
from radiographs.phantom.physics import ATTENUATION, Exposure, expose
from radiographs.phantom.solids import Capsule, Ellipsoid, Solid, attenuation
from radiographs.read import read_picture


def stepped(inside, x: float, y: float, reach: float = 60, n: int = 240_001) -> float:
    """Length of the ray at (x, y) inside a body, by counting steps."""
    z = np.linspace(-reach, reach, n)
    points = np.stack([np.full(n, x), np.full(n, y), z], axis=1)
    return float(inside(points).mean() * 2 * reach)


@pytest.mark.parametrize("seed", range(6))
def test_a_tapered_capsule_has_the_length_that_counting_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, end = rng.uniform(-12, 12, (2, 3))
    r0, r1 = rng.uniform(3, 12, 2)

    def inside(points: np.ndarray) -> np.ndarray:
        t = np.linspace(0, 1, 401)
        centres, radii = start + t[:, None] * (end - start), r0 + t * (r1 - r0)
        hit = np.zeros(len(points), bool)
        for centre, radius in zip(centres, radii, strict=True):
            hit |= ((points - centre) ** 2).sum(axis=1) <= radius**2
        return hit

    found = attenuation([Solid(1.0, (Capsule(start, end, r0, r1),))], 9, 9, 5.0)
    for r, c in [(4, 4), (3, 5), (5, 3), (2, 4), (6, 6)]:
        assert found[r, c] == pytest.approx(stepped(inside, (c + 0.5 - 4.5) * 5, (r + 0.5 - 4.5) * 5, n=6001), abs=0.1)


def test_an_ellipsoid_has_the_length_that_counting_gives() -> None:
    turn = rotation(20, 35, 50)
    body = Ellipsoid(np.array([2.0, -3.0, 4.0]), np.array([9.0, 14.0, 20.0]), turn)

    def inside(points: np.ndarray) -> np.ndarray:
        return ((((points - body.centre) @ turn) / body.axes) ** 2).sum(axis=1) <= 1

    found = attenuation([Solid(1.0, (body,))], 9, 9, 4.0)
    for r, c in [(4, 4), (3, 4), (5, 6), (2, 3)]:
        assert found[r, c] == pytest.approx(stepped(inside, (c - 4) * 4.0, (r - 4) * 4.0), abs=0.01)


def test_a_union_counts_overlap_once_and_a_hollow_is_taken_off() -> None:
    ball = Ellipsoid(np.zeros(3), np.full(3, 10.0), np.eye(3))
    hole = Ellipsoid(np.zeros(3), np.full(3, 6.0), np.eye(3))
    assert attenuation([Solid(1.0, (ball, hole))], 1, 1, 1.0)[0, 0] == pytest.approx(20, abs=1e-4)
    assert attenuation([Solid(1.0, (ball,)), Solid(-1.0, (hole,))], 1, 1, 1.0)[0, 0] == pytest.approx(8, abs=1e-4)


def test_nothing_in_the_beam_gives_a_flat_field_and_more_matter_is_brighter() -> None:
    exposure = Exposure(photons=1e6, scatter=0, heel=0, angle=0, blur=0.5, electronic=0)
    empty = expose(np.zeros((64, 64), np.float32), exposure, np.random.default_rng(0))
    assert empty.std() < 0.01
    slab = np.zeros((64, 64), np.float32)
    slab[:, 32:] = 50 * ATTENUATION["soft"]
    signal = expose(slab, exposure, np.random.default_rng(0))
    assert signal[:, 40:].mean() - signal[:, :24].mean() == pytest.approx(50 * ATTENUATION["soft"], abs=0.01)


def test_scatter_lowers_the_contrast() -> None:
    slab = np.zeros((64, 64), np.float32)
    slab[16:48, 16:48] = 3.0
    clean, foggy = (expose(slab, Exposure(1e6, share, 0, 0, 0.5, 0), np.random.default_rng(0)) for share in (0, 0.5))
    assert clean[32, 32] - clean[2, 2] == pytest.approx(3.0, abs=0.02)
    assert foggy[32, 32] - foggy[2, 2] < 2.7


@pytest.mark.parametrize("name", list(parts()))
def test_every_part_gives_a_picture_with_bone_and_background(name: str) -> None:
    image = picture(parts()[name], Patient("1", "2", 1.0), 256, DIFFICULTIES["easy"], np.random.default_rng(1))
    assert max(image.shape) == 256
    assert image.std() > 30


def everything(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_the_same_seed_gives_the_same_bytes_with_one_worker_and_with_three(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 9, 5, side=128, workers=1)
    write_folder(tmp_path / "b", 9, 5, side=128, workers=3)
    write_folder(tmp_path / "c", 9, 6, side=128)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert everything(tmp_path / "a").keys() != everything(tmp_path / "c").keys()


def test_an_image_does_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    write_folder(tmp_path / "few", 4, 5, side=128)
    write_folder(tmp_path / "more", 8, 5, side=128)
    few, more = everything(tmp_path / "few/images"), everything(tmp_path / "more/images")
    assert all(more[name] == content for name, content in few.items())


def test_the_folder_is_kaggles_layout_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    done: list[int] = []
    write_folder(tmp_path / "x", 12, 0, side=128, difficulty="hard", progress=done.append)
    assert done == list(range(1, 13))
    train = pd.read_csv(tmp_path / "x/train.csv", dtype=str)
    assert train["Target"].str.fullmatch(r"\d+ ").all()
    assert train["SOPInstanceUID"].str.fullmatch(r"2\.25\.\d{1,39}").all()
    meta = pd.read_csv(tmp_path / "x/metadata.csv", dtype=str).set_index("SOPInstanceUID")
    assert meta["PatientID"].nunique() < 12
    for uid in train["SOPInstanceUID"]:
        image = read_picture(tmp_path / f"x/images/train/{uid}-c.png").grey
        assert (str(image.shape[0]), str(image.shape[1])) == (meta.loc[uid, "Rows"], meta.loc[uid, "Columns"])
    notice = (tmp_path / "x/SYNTHETIC.txt").read_text()
    assert notice.startswith("SYNTHETIC")
    assert json.loads(notice.splitlines()[-1])["difficulty"] == "hard"


def test_size_alone_does_not_tell_the_part(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 60, 0, side=64)
    shapes = pd.read_csv(tmp_path / "x/metadata.csv")[["Rows", "Columns"]].apply(tuple, axis=1)
    labels = pd.read_csv(tmp_path / "x/train.csv")["Target"]
    assert shapes.groupby(labels).nunique().max() > 1


def test_wrong_arguments_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="part 'Tail' has no phantom"):
        write_folder(tmp_path / "x", 3, 0, only=["Tail"])
    with pytest.raises(ValueError, match="difficulty 'absurd' is unknown"):
        write_folder(tmp_path / "x", 3, 0, difficulty="absurd")
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="is there already"):
        write_folder(tmp_path / "there", 3, 0)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
