"""Anatomy as data: the tables beside this module are read into one body of clipped quadrics on a tree of segments.

Body coordinates are millimetres in the standing anatomical position: x to the left, y up, z to the front, origin between the hip joints.
A table in ``anatomy/*.toml`` holds::

    segments      name -> parent and pivot: what moves together, and where it turns
    [[thing]]     name, segment, shapes; things of one name are one union, so that overlaps count once
                  material (cancellous) replaces another (within: soft); cortex (mm) puts a cortical shell around it;
                  `without` are shapes taken away; mirror = true adds the same at -x
    [[template.NAME]]  things to be placed several times by [[place]]: template, name, segment, at, turn, size

The table `extras.toml` holds things that only some patients have, and where bones break.

A shape is an ellipsoid {centre, axes, turn, cuts} or a tube {path, r, flat, side, cortex}, whose path may be an arc
{centre, axes, turn, degrees, stations}. In a table with `sided = true` everything is
the left one; the right one is its mirror image, and segments are called left_NAME and right_NAME.
"""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np

from radiographs.phantom.materials import MATERIALS
from radiographs.phantom.solids import Piece, ellipsoid, rotation, tube

BONE_NUMBERS = 1021  # prime; two bones that share a number merely vary alike
_FLESH = ("skin", "muscle")
_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Segment:
    """What moves together: it turns about `pivot` (mm) against its parent (-1: none)."""

    name: str
    parent: int
    pivot: np.ndarray


@dataclass(frozen=True)
class Lumps:
    """Pieces of one segment and one bone, and a ball around them at rest.

    Parameters
    ----------
    segment, bone : ndarray of shape (n_lumps,)
        Of each lump.
    lump : ndarray of shape (n,)
        Of each piece.
    centres : ndarray of shape (n_lumps, 3)
        Millimetres.
    radii : ndarray of shape (n_lumps,)
        Millimetres.
    """

    segment: np.ndarray
    bone: np.ndarray
    lump: np.ndarray
    centres: np.ndarray
    radii: np.ndarray


@dataclass(frozen=True)
class Body:
    """Pieces of several tables at rest, and the signed unions that they form.

    Parameters
    ----------
    segments : tuple of Segment
        Parents come before their children.
    placement, profile, planes, box : ndarray
        As in `radiographs.phantom.rays.Matter`, at rest.
    segment : ndarray of shape (n,)
        Of each piece.
    starts, members : ndarray
        Unions, as in `Matter`.
    material, within, sign : ndarray of shape (n_unions,)
        Numbers in `MATERIALS`, and +1 or -1: a union adds sign * (material - within).
    names : tuple of str
        (n_unions,) what each is called in the tables.
    skin : ndarray of shape (n,)
        Whether a piece is the surface of the body.
    bone : ndarray of shape (n,)
        Which bone or organ a piece belongs to; 0 is flesh, which keeps its shape.
    bone_centres : ndarray of shape (n_bones, 3)
        Millimetres.
    bone_numbers : ndarray of shape (n_bones,)
        Below `BONE_NUMBERS`, from the names.
    """

    segments: tuple[Segment, ...]
    placement: np.ndarray
    profile: np.ndarray
    planes: np.ndarray
    box: np.ndarray
    segment: np.ndarray
    starts: np.ndarray
    members: np.ndarray
    material: np.ndarray
    within: np.ndarray
    sign: np.ndarray
    names: tuple[str, ...]
    skin: np.ndarray
    bone: np.ndarray
    bone_centres: np.ndarray
    bone_numbers: np.ndarray

    @property
    def joints(self) -> list[str]:
        """Names of the segments without their sides."""
        return sorted({stem(segment.name) for segment in self.segments})

    @cached_property
    def lumps(self) -> Lumps:
        """Pieces that move together and change their shape together."""
        pairs, lump = np.unique(np.stack([self.segment, self.bone]), axis=1, return_inverse=True)
        lump = lump.ravel()
        corners = np.array([*product((0, 1), repeat=3)])  # (8, 3)
        own = np.where(corners[None] == 1, self.box[:, None, 1], self.box[:, None, 0])  # (n, 8, 3)
        points = own @ self.placement[:, :3, :3].transpose(0, 2, 1) + self.placement[:, None, :3, 3]
        centres = np.stack([points[lump == k].reshape(-1, 3).mean(axis=0) for k in range(pairs.shape[1])])
        far = np.linalg.norm(points - centres[lump][:, None], axis=2).max(axis=1)  # (n,)
        radii = np.zeros(pairs.shape[1])
        np.maximum.at(radii, lump, far)
        return Lumps(pairs[0], pairs[1], lump, centres, radii)

    @cached_property
    def bone_unions(self) -> dict[str, list[int]]:
        """Unions that make the outside of each bone, by its name."""
        inside = [MATERIALS.index("cortical"), MATERIALS.index("cancellous")]
        out: dict[str, list[int]] = {}
        for k, name in enumerate(self.names):
            if self.material[k] in inside and MATERIALS[self.within[k]] == "soft":
                out.setdefault(name, []).append(k)
        return out

    def number(self, name: str) -> int:
        """Return the number of a segment; without a side, that of the left one."""
        names = [segment.name for segment in self.segments]
        return names.index(name if name in names else f"left_{name}")


def stem(name: str) -> str:
    """Return a segment's name without its side."""
    return name.removeprefix("left_").removeprefix("right_")


@dataclass
class _Union:
    """Pieces of one material while tables are being read."""

    material: str
    within: str
    added: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)


@dataclass
class _Draft:
    """A body while tables are being read."""

    segments: dict[str, Segment] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    unions: dict[tuple[str, str], _Union] = field(default_factory=dict)

    def copy(self) -> _Draft:
        """Return a draft to which things with other names can be added while this one stays as it is."""
        return _Draft(dict(self.segments), [*self.pieces], [*self.segment], [*self.names], dict(self.unions))

    def add(self, name: str, segment: str, thing: dict[str, Any], place: np.ndarray) -> None:
        """Add a thing: its outer union and, where it has a cortex, the core inside."""
        material, within = thing.get("material", "cancellous"), thing.get("within", "soft")
        cortex = thing.get("cortex", 0.0)
        layers = (
            [("shell", "cortical", within, False), ("core", material, "cortical", True)]
            if cortex
            else [("all", material, within, False)]
        )
        for layer, inside, outside, core in layers:
            union = self.unions.setdefault((name, f"{layer} {inside}"), _Union(inside, outside))
            for shapes, into, inwards in (
                (thing["shapes"], union.added, 1),
                (thing.get("without", ()), union.removed, -1),
            ):
                for shape in shapes:
                    for piece in _pieces(shape, inwards * np.asarray(shape.get("cortex", cortex)) * core):
                        into.append(len(self.pieces))
                        self.pieces.append(_moved(piece, place))
                        self.segment.append(list(self.segments).index(segment))
                        self.names.append(name)

    def finished(self) -> Body:
        """Write each union with a hole as what it covers with the hole, less the hole."""
        terms = []
        for (name, _), union in self.unions.items():
            terms.append((name, union, 1, union.added + union.removed))
            if union.removed:
                terms.append((name, union, -1, union.removed))
        placement = np.array([p.placement for p in self.pieces])
        bones = ["flesh", *sorted({*self.names} - {*_FLESH})]
        bone = np.array([0 if name in _FLESH else bones.index(name) for name in self.names])
        return Body(
            segments=tuple(self.segments.values()),
            placement=placement,
            profile=np.array([p.profile for p in self.pieces]),
            planes=np.array([p.planes for p in self.pieces]),
            box=np.array([p.box for p in self.pieces]),
            segment=np.array(self.segment),
            starts=np.cumsum([0, *[len(members) for *_, members in terms]]),
            members=np.concatenate([members for *_, members in terms]),
            material=np.array([MATERIALS.index(union.material) for _, union, _, _ in terms]),
            within=np.array([MATERIALS.index(union.within) for _, union, _, _ in terms]),
            sign=np.array([sign for _, _, sign, _ in terms]),
            names=tuple(name for name, *_ in terms),
            skin=np.array([name == "skin" for name in self.names]),
            bone=bone,
            bone_centres=np.array(
                [
                    placement[bone == k, :3, 3].mean(axis=0) if (bone == k).any() else np.zeros(3)
                    for k in range(len(bones))
                ]
            ),
            bone_numbers=np.array([zlib.crc32(name.encode()) % BONE_NUMBERS for name in bones]),
        )


@dataclass(frozen=True)
class Fracture:
    """Where a bone breaks: a plane through `at` across `normal` (3,), in millimetres of the left side."""

    bone: str
    table: str
    chance: float
    at: np.ndarray
    normal: np.ndarray


@cache
def extras() -> dict[str, dict[str, Any]]:
    """Return the things that only some patients have, by name: `table`, `chance`, and the things themselves."""
    return {extra["name"]: extra for extra in _read("extras")["extra"]}


@cache
def fractures() -> dict[str, Fracture]:
    """Return where bones break, by the bone's name."""
    return {
        f["bone"]: Fracture(
            f["bone"], f["table"], f["chance"], np.array(f["at"], float), _unit(np.array(f["normal"], float))
        )
        for f in _read("extras")["fracture"]
    }


def read_body(names: tuple[str, ...], *, both: bool, extra: Sequence[str] = ()) -> Body:
    """Return the body that the tables of these names describe, with both sides of what is sided or the left one alone.

    Of the things named by `extra`, those are added that belong to one of the tables.
    """
    return _read_body(names, both, tuple(label for label in extra if extras()[label]["table"] in names))


@lru_cache(maxsize=256)
def _read_body(names: tuple[str, ...], both: bool, extra: tuple[str, ...]) -> Body:
    draft = _read_draft(names, both).copy()
    for label in extra:
        for thing in extras()[label]["thing"]:
            left = f"left_{thing['segment']}"
            draft.add(label, left if left in draft.segments else thing["segment"], thing, np.eye(4))
    return draft.finished()


@cache
def _read_draft(names: tuple[str, ...], both: bool) -> _Draft:
    draft = _Draft()
    for name in names:
        table = _read(name)
        for prefix, mirror in _sides(table, both=both):
            _read_segments(table, prefix, mirror, draft)
            for label, segment, thing, place in _things(table):
                where = mirror @ place
                draft.add(prefix + label if label not in _FLESH else label, prefix + segment, thing, where)
                if thing.get("mirror"):
                    draft.add(label, segment, thing, _MIRROR @ where)
    return draft


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("radiographs.phantom").joinpath("anatomy", f"{name}.toml").read_text(encoding="utf-8"))


def _sides(table: dict[str, Any], *, both: bool) -> list[tuple[str, np.ndarray]]:
    if not table.get("sided"):
        return [("", np.eye(4))]
    return [("left_", np.eye(4)), ("right_", _MIRROR)][: 1 + both]


def _read_segments(table: dict[str, Any], prefix: str, mirror: np.ndarray, draft: _Draft) -> None:
    for name, segment in table["segments"].items():
        parent = segment.get("parent", "")
        known = list(draft.segments)
        number = next((known.index(p) for p in (prefix + parent, parent) if p in known), -1)
        draft.segments[prefix + name] = Segment(
            prefix + name, number, mirror[:3, :3] @ np.asarray(segment["pivot"], float)
        )


def _things(table: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], np.ndarray]]:
    """Yield name, segment, description and place of every thing of a table."""
    for thing in table.get("thing", ()):
        yield thing["name"], thing["segment"], thing, np.eye(4)
    for placed in table.get("place", ()):
        for place in _places(placed):
            for thing in table["template"][placed["template"]]:
                merged = {**thing, "mirror": placed.get("mirror", False)}
                yield placed["name"], placed["segment"], merged, place


def _places(placed: dict[str, Any]) -> Iterator[np.ndarray]:
    """Yield the matrices of a placement: one, or one for each station of an arc."""
    if "arc" not in placed:
        yield _place(placed)
        return
    stations, _ = _arc(**placed["arc"])
    for station in stations:
        yield _place({**placed, "at": station})


def _place(placed: dict[str, Any]) -> np.ndarray:
    """Matrix (4, 4) that puts a template at a point, or stretches its y from 0 to 100 between two."""
    out = np.eye(4)
    if "from" in placed:
        start, step = np.asarray(placed["from"], float), np.subtract(placed["to"], placed["from"])
        front = np.asarray(placed.get("side", (0, 0, 1)), float)
        third = _unit(front - (front @ _unit(step)) * _unit(step)) * placed["width"]
        out[:3, 0], out[:3, 1], out[:3, 2], out[:3, 3] = np.cross(_unit(step), third), step / 100, third, start
        return out
    out[:3, :3] = rotation(*placed.get("turn", (0, 0, 0))) * np.asarray(placed.get("size", 1.0), float)
    out[:3, 3] = placed["at"]
    return out


def _pieces(shape: dict[str, Any], cortex: np.ndarray) -> list[Piece]:
    """Pieces of a shape, `cortex` millimetres inside its surface."""
    if "axes" in shape:
        axes = np.maximum(np.asarray(shape["axes"], float) - cortex, 0.1)
        return [ellipsoid(shape["centre"], axes, shape.get("turn", (0, 0, 0)), shape.get("cuts", ()))]
    path, side = (
        _arc(**shape["arc"]) if "arc" in shape else (np.asarray(shape["path"], float), shape.get("side", (0, 0, 1)))
    )
    radii = np.broadcast_to(np.asarray(shape["r"], float), len(path))
    depth = np.broadcast_to(cortex, len(path))
    if depth.any():
        path = path.copy()
        path[0] += depth[0] * _unit(path[1] - path[0])
        path[-1] += depth[-1] * _unit(path[-2] - path[-1])
    return tube(path, np.maximum(radii - depth, 0), tuple(shape.get("flat", (1.0, 1.0))), side)


def _arc(
    centre: Sequence[float], axes: Sequence[float], turn: Sequence[float], degrees: Sequence[float], stations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Stations (n, 3) on an elliptic arc, from 0 degrees behind over 90 at the left to 180 in front, and the normal of its plane."""
    angles = np.radians(np.linspace(degrees[0], degrees[1], stations))
    flat = np.stack([axes[0] * np.sin(angles), np.zeros(stations), -axes[1] * np.cos(angles)], axis=1)
    return flat @ rotation(*turn).T + np.asarray(centre, float), rotation(*turn)[:, 1]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _moved(piece: Piece, place: np.ndarray) -> Piece:
    return Piece(place @ piece.placement, piece.profile, piece.planes, piece.box)
