"""Line integrals against an oracle that steps along each ray and asks of every point whether it is inside."""

from __future__ import annotations

import numpy as np
import pytest
from radiographs.phantom.rays import Camera, Matter, line_integrals
from radiographs.phantom.solids import Piece, ellipsoid, rotation, tube

SIZE, PIXEL, DISTANCE = 12, 6.0, 500.0
STEPS = np.linspace(-90, 90, 6001)


def matter(*unions: list[Piece], weights: list[float] | None = None) -> Matter:
    pieces = [piece for union in unions for piece in union]
    return Matter(
        placement=np.array([p.placement for p in pieces]),
        profile=np.array([p.profile for p in pieces]),
        planes=np.array([p.planes for p in pieces]),
        box=np.array([p.box for p in pieces]),
        starts=np.cumsum([0, *map(len, unions)]),
        members=np.arange(len(pieces)),
        weights=np.array(weights or [1.0] * len(unions)),
    )


def inside(piece: Piece, points: np.ndarray) -> np.ndarray:
    """Whether points (n, 3) of the body lie in a piece, by its definition."""
    local = np.linalg.solve(piece.placement, np.c_[points, np.ones(len(points))].T)
    u1, u2, u3 = local[:3]
    p, q, s = piece.profile
    return (u1**2 + u2**2 <= p + q * u3 + s * u3**2) & (piece.planes @ local >= 0).all(axis=0)


def stepped(union: list[Piece], camera: Camera) -> np.ndarray:
    """Length (rows, columns) of each ray inside a union, in steps of 0.03 mm."""
    x, y = camera.axes()
    to_body = np.linalg.inv(camera.view)
    out = np.empty((camera.rows, camera.columns))
    for r in range(camera.rows):
        for c in range(camera.columns):
            shrink = 1 - STEPS / camera.distance
            ray = np.stack([x[c] * shrink, y[r] * shrink, STEPS], axis=1)
            hit = np.zeros(len(ray), bool)
            for piece in union:
                hit |= inside(piece, ray @ to_body[:3, :3].T + to_body[:3, 3])
            out[r, c] = np.linalg.norm(ray[1] - ray[0]) * hit.sum()
    return out


def tilted(seed: int) -> Camera:
    view = np.eye(4)
    view[:3, :3] = rotation(*np.random.default_rng(seed).uniform(-180, 180, 3))
    return Camera(view, SIZE, SIZE, PIXEL, DISTANCE)


BENT = np.array([[-25.0, -10, 0], [-5, 5, 10], [15, 0, -5], [28, 12, 0]])
BODIES = {
    "an ellipsoid": [ellipsoid((3, -4, 5), (12, 20, 28), (20, 40, 60))],
    "a cut ellipsoid": [ellipsoid((0, 0, 0), (25, 25, 15), cuts=[(1, 0.5, 0, -5), (0, -1, 0.3, -8)])],
    "a tapered tube": tube(np.array([[0.0, -25, 0], [5, 25, 8]]), np.array([18.0, 6])),
    "a waisted tube": tube(np.array([[0.0, -28, 0], [0, 0, 0], [0, 28, 0]]), np.array([20.0, 8, 18]), (1.2, 0.7)),
    "a bent tube with rounded ends": tube(BENT, np.array([0.0, 9, 7, 0])),
    "a ball and a tube that overlap": [ellipsoid((0, 0, 0), (14, 14, 14)), *tube(BENT, np.array([6.0, 9, 7, 6]))],
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", BODIES)
def test_the_integral_is_the_length_that_stepping_along_the_ray_gives(name: str, seed: int) -> None:
    camera = tilted(seed)
    found, expected = line_integrals(matter(BODIES[name]), camera), stepped(BODIES[name], camera)
    assert expected.max() > 10
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_a_ray_along_a_waisted_tube_leaves_it_and_enters_it_again() -> None:
    body = tube(np.array([[0.0, 0, -40], [0, 0, 0], [0, 0, 40]]), np.array([20.0, 5, 20]), side=(0, 1, 0))
    camera = Camera(np.eye(4), 9, 9, 4.0, DISTANCE)
    found, expected = line_integrals(matter(body), camera), stepped(body, camera)
    assert found[4, 7] < found[4, 4] == pytest.approx(80, abs=0.1)  # beside the waist there are two stretches
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_overlap_counts_once_in_a_union_and_twice_in_two() -> None:
    ball, core = ellipsoid((0, 0, 0), (10, 10, 10)), ellipsoid((0, 0, 0), (6, 6, 6))
    camera = Camera(np.eye(4), 1, 1, 1.0, DISTANCE)
    assert line_integrals(matter([ball, core]), camera)[0, 0] == pytest.approx(20, abs=1e-3)
    assert line_integrals(matter([ball], [core]), camera)[0, 0] == pytest.approx(32, abs=1e-3)
    assert line_integrals(matter([ball], [core], weights=[1, -1]), camera)[0, 0] == pytest.approx(8, abs=1e-3)


def test_what_is_wider_than_the_vector_unit_is_no_different() -> None:
    body = BODIES["a ball and a tube that overlap"]
    narrow = Camera(np.eye(4), 1, 33, 2.0, DISTANCE)
    wide = Camera(np.eye(4), 1, 33 * 21, 2.0 / 21, DISTANCE)
    np.testing.assert_allclose(
        line_integrals(matter(body), wide)[:, 10::21], line_integrals(matter(body), narrow), atol=1e-3
    )


def test_a_nearer_body_casts_a_larger_shadow() -> None:
    camera = Camera(np.eye(4), 1, 201, 0.5, DISTANCE)
    shadows = [(line_integrals(matter([ellipsoid((0, 0, z), (10, 10, 10))]), camera) > 0).sum() for z in (-50, 0, 50)]
    assert shadows == sorted(shadows)
    assert shadows[1] * 0.5 == pytest.approx(20, abs=1)


def test_without_matter_there_is_nothing_to_integrate() -> None:
    aside = matter([ellipsoid((900, 0, 0), (10, 10, 10))])
    assert not line_integrals(aside, Camera(np.eye(4), 8, 8, 1.0, DISTANCE)).any()
