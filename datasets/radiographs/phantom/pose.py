"""A particular patient in a particular pose: joints turned, sizes and bones varied, matter ready for the rays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radiographs.phantom.anatomy import BONE_NUMBERS, Body, stem
from radiographs.phantom.materials import MATERIALS, attenuation
from radiographs.phantom.rays import Matter
from radiographs.phantom.solids import rotation

_BONE_SIZE, _BONE_TURN, _BONE_SHIFT = 0.025, 1.2, 0.5  # standard deviations: share, degrees, mm


@dataclass(frozen=True)
class Patient:
    """What all images of a patient have in common.

    Parameters
    ----------
    seed
        Of the shape of the patient's bones.
    size
        (3,) factors on breadth, height and depth of the whole body.
    fat
        Factor on the radius of the skin's surface; muscle keeps its own.
    density
        Factor on the attenuation that bone adds.
    right
        Whether single limbs are the right one.
    """

    seed: int
    size: np.ndarray
    fat: float
    density: float
    right: bool


def segment_moves(body: Body, angles: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Return the (n_segments, 4, 4) motions of segments whose joints are turned by degrees about x, y and z.

    An angle named without a side holds for the left, and mirrored for the right.
    """
    moves = np.empty((len(body.segments), 4, 4))
    for number, segment in enumerate(body.segments):
        right = segment.name.startswith("right_")
        x, y, z = angles.get(stem(segment.name), (0, 0, 0))
        move = np.eye(4)
        move[:3, :3] = rotation(x, -y, -z) if right else rotation(x, y, z)
        move[:3, 3] = segment.pivot - move[:3, :3] @ segment.pivot
        moves[number] = move if segment.parent < 0 else moves[segment.parent] @ move
    return moves


def matter(body: Body, patient: Patient, moves: np.ndarray, energy: float) -> Matter:
    """Place the body of a patient.

    Parameters
    ----------
    moves
        (n_segments, 4, 4), from `segment_moves`.
    energy
        Effective, in keV.
    """
    placement = body.placement @ _swelling(body, patient.fat)
    placement = moves[body.segment] @ _varied(body, patient.seed)[body.bone] @ placement
    placement = np.diag([*patient.size, 1.0]) @ placement
    coefficients = attenuation(energy)
    bone = [MATERIALS.index("cortical"), MATERIALS.index("cancellous")]
    soft = coefficients[MATERIALS.index("soft")]
    coefficients[bone] = soft + patient.density * (coefficients[bone] - soft)
    weights = body.sign * (coefficients[body.material] - coefficients[body.within])
    return Matter(placement, body.profile, body.planes, body.box, body.starts, body.members, weights)


def _swelling(body: Body, fat: float) -> np.ndarray:
    """Matrices (n, 4, 4) that widen the pieces of the skin across, and leave the others as they are."""
    factors = np.where(body.skin, fat, 1.0)
    out = np.zeros((len(factors), 4, 4))
    out[:, 0, 0] = out[:, 1, 1] = factors
    out[:, 2, 2] = out[:, 3, 3] = 1
    return out


def _varied(body: Body, seed: int) -> np.ndarray:
    """Small changes (n_bones, 4, 4) of size, turn and place of each bone about its middle; flesh (bone 0) stays.

    They follow from the patient's seed and a number of the bone's name, so that it looks the same in every image of the patient.
    """
    n = len(body.bone_centres)
    table = np.random.default_rng(seed).standard_normal((BONE_NUMBERS, 9))
    noise = np.clip(table[body.bone_numbers], -2, 2)  # (n_bones, 9)
    noise[0] = 0
    turn = np.radians(_BONE_TURN) * noise[:, 3:6]
    out = np.broadcast_to(np.eye(4), (n, 4, 4)).copy()
    out[:, [0, 1, 2], [0, 1, 2]] += _BONE_SIZE * noise[:, :3]
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):  # small angles: the turns add up
        out[:, i, j] -= turn[:, axis]
        out[:, j, i] += turn[:, axis]
    shift = _BONE_SHIFT * noise[:, 6:] + body.bone_centres - np.einsum("nij,nj->ni", out[:, :3, :3], body.bone_centres)
    out[:, :3, 3] = shift
    return out
