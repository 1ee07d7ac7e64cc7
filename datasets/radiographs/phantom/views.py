"""Which views of the body there are, and which of them stand together on a plate: the table `views.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

PARTS = (
    "Abdomen", "Ankle", "Cervical Spine", "Chest", "Clavicles", "Elbow", "Feet", "Finger", "Forearm", "Hand", "Hip", "Knee",
    "Lower Leg", "Lumbar Spine", "Others", "Pelvis", "Shoulder", "Sinus", "Skull", "Thigh", "Thoracic Spine", "Wrist",
)  # fmt: skip  # in the order of their numbers in the UNIFESP data set

Range = tuple[float, float]


@dataclass(frozen=True)
class View:
    """A standard projection; the keys of `views.toml`."""

    name: str
    tables: tuple[str, ...]
    both: bool
    at: str
    centre: np.ndarray  # (3,) mm
    field: tuple[float, float]  # mm, width and height
    turn: tuple[float, float, float]  # degrees
    wobble: tuple[float, float, float]  # degrees
    pose: dict[str, tuple[Range, Range, Range]]  # degrees about x, y, z of each joint
    energy: float  # keV
    distance: float  # mm from the source
    limb: bool  # whether it may be the right one, as the mirror image of the left


@dataclass(frozen=True)
class Plate:
    """What is on one image: its label, and its views from left to right."""

    parts: tuple[str, ...]
    share: float
    views: tuple[View, ...]


@cache
def plates() -> tuple[Plate, ...]:
    """Return every kind of plate."""
    table = tomllib.loads(files("radiographs.phantom").joinpath("views.toml").read_text(encoding="utf-8"))
    views = {name: _view(name, entry) for name, entry in table["view"].items()}
    return tuple(Plate(tuple(p["parts"]), p["share"], tuple(views[v] for v in p["views"])) for p in table["plates"])


def _view(name: str, entry: dict[str, Any]) -> View:
    both = entry.get("both", False)
    at = entry["at"]
    pose = {joint: tuple(_range(angle) for angle in angles) for joint, angles in entry.get("pose", {}).items()}
    return View(
        name=name,
        tables=tuple(entry["tables"]),
        both=both,
        at=at,
        centre=np.asarray(entry["centre"], float),
        field=tuple(entry["field"]),
        turn=tuple(entry.get("turn", (0, 0, 0))),
        wobble=tuple(entry.get("wobble", (4, 5, 5))),
        pose=pose,  # type: ignore[arg-type]
        energy=entry["energy"],
        distance=entry.get("distance", 1100),
        limb=not both or at.startswith("left_"),
    )


def _range(angle: float | list[float]) -> Range:
    return (angle[0], angle[1]) if isinstance(angle, list) else (angle, angle)
