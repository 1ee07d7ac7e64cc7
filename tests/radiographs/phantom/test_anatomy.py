"""Tables of anatomy and views: complete, consistent, and of human size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from radiographs.phantom.anatomy import extras, fractures, read_body
from radiographs.phantom.pose import Patient, broken, matter, segment_moves
from radiographs.phantom.rays import Camera, line_integrals
from radiographs.phantom.views import PARTS, View, plates

VIEWS = {view.name: view for plate in plates() for view in plate.views}
SOMEBODY = Patient(seed=0, size=np.ones(3), fat=1.0, density=1.0, right=False)


def test_every_named_part_has_plates_and_every_label_is_a_part() -> None:
    assert {plate.parts[0] for plate in plates()} == {*PARTS}
    assert all(part in PARTS for plate in plates() for part in plate.parts)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_names_joints_and_aims_at_a_segment_that_its_tables_have(view: View) -> None:
    body = read_body(view.tables, both=view.both)
    assert {*view.pose} <= {*body.joints}
    assert body.number(view.at) >= 0


def test_at_rest_no_segment_moves_and_a_turned_hip_carries_the_foot() -> None:
    leg = read_body(("leg",), both=False)
    np.testing.assert_allclose(segment_moves(leg, {}), np.broadcast_to(np.eye(4), (len(leg.segments), 4, 4)))
    moves = segment_moves(leg, {"thigh": [-90, 0, 0]})
    foot = moves[leg.number("foot")] @ [88, -860, 0, 1]
    assert foot[2] == pytest.approx(860, abs=1)  # in front, as high as the hip
    assert foot[1] == pytest.approx(0, abs=1)


def test_the_right_side_is_the_mirror_image_of_the_left() -> None:
    legs = read_body(("leg",), both=True)
    moves = segment_moves(legs, {"thigh": [10, 20, 30], "shank": [25, 0, 0]})
    everything = matter(legs, SOMEBODY, moves, 50)
    view = np.eye(4)
    view[1, 3] = 430
    image = line_integrals(everything, Camera(view, 60, 80, 6.0, 1e6))
    varied = np.abs(image - image[:, ::-1])  # each bone differs a little, the flesh does not
    assert np.median(varied[image > 0]) < 0.02
    assert image.max() > 2


def test_an_adult_is_of_human_size() -> None:
    body = read_body(("trunk", "head", "arm", "leg"), both=True)
    places = body.placement[:, :3, 3]
    assert 1500 < np.ptp(places[:, 1]) < 1800
    assert 350 < np.ptp(places[:, 0]) < 650


def test_bone_is_inside_the_body_and_adds_attenuation() -> None:
    body = read_body(("leg",), both=False)
    everything = matter(body, SOMEBODY, segment_moves(body, {}), 50)
    view = np.eye(4)
    view[:2, 3] = -90, 610
    image = line_integrals(everything, Camera(view, 40, 40, 4.0, 1e6))
    row = image[20]
    assert row[0] == row[-1] == 0  # air on both sides of the lower leg
    assert row.max() > 1.3 * np.median(row[row > 0])


def test_a_patient_has_the_same_bones_twice_and_another_has_others() -> None:
    body = read_body(("arm",), both=False)
    rest = segment_moves(body, {})
    first, again, other = (
        matter(body, Patient(seed, np.ones(3), 1.0, 1.0, right=False), rest, 40).placement for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("bone", fractures())
def test_a_fracture_takes_away_little_and_moves_what_is_below(bone: str) -> None:
    fracture = fractures()[bone]
    body = read_body((fracture.table, "trunk") if fracture.table == "arm" else (fracture.table,), both=False)
    split = broken(body, fracture, seed=1)
    assert len(split.placement) > len(body.placement)
    view = np.eye(4)
    view[:3, 3] = -fracture.at
    camera = Camera(view, 160, 160, 0.5, 1e5)
    whole, parted = (line_integrals(matter(b, SOMEBODY, segment_moves(b, {}), 50), camera) for b in (body, split))
    assert np.abs(whole - parted).max() > 0.1
    assert parted.sum() == pytest.approx(whole.sum(), rel=0.1)


@pytest.mark.parametrize("name", extras())
def test_an_extra_is_seen(name: str) -> None:
    tables = ("trunk", "head", "arm", "leg")
    view = np.eye(4)
    camera = Camera(view, 960, 360, 2, 1e5)
    bare, wearing = (
        line_integrals(matter(b, SOMEBODY, segment_moves(b, {}), 50), camera)
        for b in (read_body(tables, both=True), read_body(tables, both=True, extra=(name,)))
    )
    assert (wearing - bare).max() > 0.05
    assert (wearing - bare).min() > -0.2


def test_more_fat_leaves_no_gap_in_the_skin() -> None:
    body = read_body(("trunk", "arm", "leg"), both=True)
    view = np.eye(4)
    view[1, 3] = -200
    camera = Camera(view, 350, 200, 2, 1100)
    thin, fat = (
        line_integrals(matter(body, replace(SOMEBODY, fat=f), segment_moves(body, {}), 50), camera) for f in (1, 1.2)
    )
    assert (fat - thin).min() > -0.05
