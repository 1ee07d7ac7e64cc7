"""Regions against the whole pictures that they stand for."""

import numpy as np
import pytest
from radiographs.phantom.rays import Camera, Matter, cast, line_integrals
from radiographs.phantom.regions import Region, cut_out, joined
from radiographs.phantom.solids import ellipsoid, rotation, tube

SHAPE = (9, 14)


def spots(seed: int) -> np.ndarray:
    out = np.zeros(SHAPE, bool)
    rng = np.random.default_rng(seed)
    out[2:7, rng.integers(1, 5) : rng.integers(8, 13)] = True
    return out & (rng.random(SHAPE) < 0.5)


def region(mask: np.ndarray) -> Region:
    found = cut_out(mask)
    assert found is not None
    return found


def test_a_region_is_the_smallest_rectangle_and_gives_the_picture_back() -> None:
    mask = spots(0)
    found = region(mask)
    for edge in (found.mask[0], found.mask[-1], found.mask[:, 0], found.mask[:, -1]):
        assert edge.any()
    np.testing.assert_array_equal(found.whole(SHAPE), mask)
    assert cut_out(np.zeros(SHAPE, bool)) is None


@pytest.mark.parametrize("quarters", range(-1, 5))
def test_turning_is_what_rot90_does_to_the_picture(quarters: int) -> None:
    turned = np.rot90(spots(1), quarters)
    np.testing.assert_array_equal(region(spots(1)).turned(quarters, SHAPE).whole(turned.shape), turned)


def test_moving_joining_and_cutting_are_what_they_are_for_pictures() -> None:
    one, other = spots(2), spots(3)
    np.testing.assert_array_equal(joined(region(one), region(other)).whole(SHAPE), one | other)
    np.testing.assert_array_equal(region(one).moved(1, -1).whole(SHAPE), np.roll(one, (1, -1), (0, 1)))
    inner = region(one).within(other)
    assert inner is not None
    np.testing.assert_array_equal(inner.whole(SHAPE), one & other)
    assert region(one).within(~one) is None


def test_the_shadow_of_a_named_thing_is_where_its_own_line_integral_is_long() -> None:
    hollow = [[ellipsoid((-20, 0, 0), (30, 14, 14))], [ellipsoid((-20, 0, 0), (28, 12, 12))]]
    path = np.array([[10.0, -40, 0], [20, 0, 10], [15, 40, -5]])
    everything = [*hollow, tube(path, np.array([0.0, 9, 0])), [ellipsoid((200, 0, 0), (5, 5, 5))]]
    pieces = [piece for union in everything for piece in union]

    def matter(unions: list, weights: list[float]) -> Matter:
        chosen = [piece for union in unions for piece in union]
        stacked = {k: np.array([getattr(p, k) for p in chosen]) for k in ("placement", "profile", "planes", "box")}
        return Matter(
            **stacked,
            starts=np.cumsum([0, *map(len, unions)]),
            members=np.arange(len(chosen)),
            weights=np.array(weights),
        )

    assert len(pieces) > 4
    view = np.eye(4)
    view[:3, :3] = rotation(20, 30, 10)
    camera = Camera(view, 100, 90, 1.0, 800.0)
    whole = matter(everything, [0.02, -0.02, 0.05, 0.1])
    integrals, shadows = cast(whole, camera, {"shell": [0, 1], "rod": [2], "far away": [3]})
    np.testing.assert_array_equal(integrals, line_integrals(whole, camera))
    assert set(shadows) == {"shell", "rod"}
    shell = line_integrals(matter(everything[:2], [1, -1]), camera)
    rod = line_integrals(matter(everything[2:3], [1]), camera)
    np.testing.assert_array_equal(shadows["shell"].whole(shell.shape), shell > 0.5)
    np.testing.assert_array_equal(shadows["rod"].whole(rod.shape), rod > 0.5)
    assert 100 < shadows["rod"].mask.sum() < 5000
