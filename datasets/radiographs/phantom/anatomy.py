"""Anatomy as data: one table per body part, in millimetres, read from the TOML files beside this module.

A table has `views` (turns of the body about the x axis in degrees, with their frequency), a `field` (width and height that a picture
shows), `joints` (a pivot, an axis and a range of degrees each) and elements. An element names a material, what it replaces, and
one shape:

    bone       from, to, r = [start, end], waist: a shaft that is thinner in the middle, with a cortical shell
    capsule    from, to, r = [start, end]
    ellipsoid  centre, axes, turn = [about x, y, z in degrees]
    block      the same, as a small bone: a thin cortical shell around cancellous bone
    arc        centre, axes = [x, z], slope (degrees about x), degrees = [from, to], r: a rib
    chain      base, heading (degrees from up, to the right), lengths, r: bones end to end with joint gaps, as in a finger

`share` scales the contrast, for a shape that lies only partly inside what it replaces. `mirror = true` adds the same element at -x. `joint` names the joint that moves the element.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from radiographs.phantom.physics import ATTENUATION
from radiographs.phantom.solids import Capsule, Ellipsoid, Solid

_SHELL = (
    0.68  # inner radius of a shaft as a share of the outer: the cortex of a long bone is a quarter to a third of it
)
_END_SHELL = 0.9  # the cortex thins out towards the joints
_SHELL_MM = 0.9  # cortex of the small bones of wrist and foot
_GAP = 1.5  # mm of cartilage between the bones of a chain
_RIB = 0.55  # share of cortical bone in a rib, which is drawn as one material


@dataclass(frozen=True)
class View:
    """A standard projection: the body turned about its long axis (y) and tilted (x), in degrees."""

    turn: float
    tilt: float
    frequency: float


@dataclass(frozen=True)
class Part:
    """A body part's table."""

    name: str
    number: int  # of the class, as in UNIFESP
    field: tuple[float, float]  # mm
    views: tuple[View, ...]
    joints: dict[str, dict[str, Any]]
    elements: tuple[dict[str, Any], ...]

    def solids(self, rng: np.random.Generator) -> list[Solid]:
        """Return the part's solids with every joint somewhere in its range, and each bone a little different."""
        moves = {name: _joint_move(joint, rng) for name, joint in self.joints.items()}
        flesh, bones = [], []
        for element in self.elements:
            for mirrored in (False, True) if element.get("mirror") else (False,):
                for solid in _build(element, rng):
                    moved = solid if "joint" not in element else solid.moved(*moves[element["joint"]])
                    moved = _mirrored(moved) if mirrored else moved
                    (flesh if moved.contrast == ATTENUATION["soft"] else bones).append(moved)
        outline = Solid(ATTENUATION["soft"], tuple(piece for solid in flesh for piece in solid.pieces))
        return [outline, *bones]  # soft tissue is one solid: where two of its pieces overlap it is not twice as dense


@cache
def parts() -> dict[str, Part]:
    """Return every part that has a table, by name."""
    folder = files("radiographs.phantom").joinpath("tables")
    tables = [
        tomllib.loads(f.read_text(encoding="utf-8"))
        for f in sorted(folder.iterdir(), key=str)
        if f.name.endswith(".toml")
    ]
    return {t["name"]: _part(t) for t in sorted(tables, key=lambda t: t["number"])}


def _part(table: dict[str, Any]) -> Part:
    views = tuple(View(*view) for view in table["views"])
    return Part(
        table["name"], table["number"], tuple(table["field"]), views, table.get("joints", {}), tuple(table["element"])
    )


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation (3, 3) about x, then y, then z, in degrees."""
    out = np.eye(3)
    for axis, degrees in enumerate((x, y, z)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        out = turn @ out
    return out


def _joint_move(joint: dict[str, Any], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rotation about the joint's pivot and the shift that keeps the pivot where it is."""
    angles = [0.0, 0.0, 0.0]
    angles["xyz".index(joint["axis"])] = rng.uniform(*joint["degrees"])
    turn, pivot = rotation(*angles), np.array(joint["pivot"], float)
    return turn, pivot - turn @ pivot


def _build(element: dict[str, Any], rng: np.random.Generator) -> Iterator[Solid]:
    """Yield the solids of one element."""
    material, replaced = element.get("material", "cortical"), element.get("replaces", "soft")
    contrast = (ATTENUATION[material] - (0 if replaced == "nothing" else ATTENUATION[replaced])) * element.get(
        "share", 1
    )
    kind = element["kind"]
    if kind == "bone":
        yield from _bone(
            np.array(element["from"], float),
            np.array(element["to"], float),
            element["r"],
            element.get("waist", 0.7),
            rng,
        )
    elif kind == "chain":
        yield from _chain(element, rng)
    elif kind == "capsule":
        yield Solid(
            contrast,
            (Capsule(np.array(element["from"], float), np.array(element["to"], float), *map(float, element["r"])),),
        )
    elif kind == "arc":
        yield from _rib(element)
    elif kind == "block":
        shape = _ellipsoid(element)
        yield Solid(ATTENUATION["cortical"] - ATTENUATION["soft"], (shape,))
        yield Solid(ATTENUATION["cancellous"] - ATTENUATION["cortical"], (replace(shape, axes=shape.axes - _SHELL_MM),))
    else:
        yield Solid(contrast, (_ellipsoid(element),))


def _ellipsoid(element: dict[str, Any]) -> Ellipsoid:
    return Ellipsoid(
        np.array(element["centre"], float), np.array(element["axes"], float), rotation(*element.get("turn", (0, 0, 0)))
    )


def _bone(
    start: np.ndarray, end: np.ndarray, radii: list[float], waist: float, rng: np.random.Generator
) -> Iterator[Solid]:
    """A long bone: knobbed ends, a thinner shaft, cortex around marrow."""
    first, second = (r * rng.uniform(0.92, 1.08) for r in radii)
    shaft = waist * min(first, second)
    along = [start, start + 0.22 * (end - start), start + 0.78 * (end - start), end]
    outer = [first, shaft, shaft, second]
    inner = [first * _END_SHELL, shaft * _SHELL, shaft * _SHELL, second * _END_SHELL]
    for material, replaced, radius in (("cortical", "soft", outer), ("cancellous", "cortical", inner)):
        pieces = tuple(Capsule(along[k], along[k + 1], radius[k], radius[k + 1]) for k in range(3))
        yield Solid(ATTENUATION[material] - ATTENUATION[replaced], pieces)


def _chain(element: dict[str, Any], rng: np.random.Generator) -> Iterator[Solid]:
    """Bones end to end in the plane of the picture, each a little bent against the one before."""
    heading = np.radians(element["heading"])
    position = np.array(element["base"], float)
    for length, radius in zip(element["lengths"], element["r"], strict=True):
        heading += rng.normal(0, 0.04)
        direction = np.array([np.sin(heading), -np.cos(heading), 0.0])
        start, end = position + direction * radius, position + direction * (length - 0.8 * radius)
        yield from _bone(start, end, [radius, 0.8 * radius], element.get("waist", 0.68), rng)
        position = position + direction * (length + _GAP)
    if "flesh" in element:
        base = np.array(element["base"], float)
        yield Solid(ATTENUATION["soft"], (Capsule(base, position, element["flesh"], 0.75 * element["flesh"]),))


def _rib(element: dict[str, Any], pieces: int = 12) -> Iterator[Solid]:
    """An elliptic arc in a sloping plane, of short capsules: its front and its back are a solid each, since a ray meets both."""
    angles = np.radians(np.linspace(*element["degrees"], pieces + 1))
    a, b = element["axes"]
    flat = np.stack([a * np.sin(angles), np.zeros_like(angles), b * np.cos(angles)], axis=1)  # (pieces + 1, 3)
    points = flat @ rotation(element.get("slope", 0), 0, 0).T + np.array(element["centre"], float)
    radius = float(element["r"])
    contrast = _RIB * (ATTENUATION["cortical"] - ATTENUATION["soft"])
    capsules = [Capsule(points[k], points[k + 1], radius, radius) for k in range(pieces)]
    for front in (True, False):
        half = tuple(c for c in capsules if (c.start[2] + c.end[2] >= 2 * element["centre"][2]) == front)
        if half:
            yield Solid(contrast, half)


def _mirrored(solid: Solid) -> Solid:
    flip = np.diag([-1.0, 1.0, 1.0])

    def piece(p: Capsule | Ellipsoid) -> Capsule | Ellipsoid:
        if isinstance(p, Capsule):
            return replace(p, start=flip @ p.start, end=flip @ p.end)
        return replace(p, centre=flip @ p.centre, rotation=flip @ p.rotation @ flip)

    return replace(solid, pieces=tuple(map(piece, solid.pieces)))
