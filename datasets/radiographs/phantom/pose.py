"""A particular patient in a particular pose: joints turned, sizes and bones varied, matter ready for the rays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from radiographs.phantom.anatomy import BONE_NUMBERS, Body, Fracture, stem
from radiographs.phantom.materials import MATERIALS, attenuation
from radiographs.phantom.rays import Camera, Matter, in_field, visible
from radiographs.phantom.solids import local_planes, rotation

_BONE_SIZE, _BONE_TURN, _BONE_SHIFT = 0.025, 1.2, 0.5  # standard deviations: share, degrees, mm
_FRAGMENT_TURN, _FRAGMENT_SHIFT, _FRAGMENT_GAP = 2.0, 2.0, (0.5, 3.0)  # of what is below a fracture: degrees, mm, mm
_JOINT_SPACES = {"thigh": 3.5, "shank": 4.5, "foot": 2.5, "forearm": 2.5, "hand": 1.5}  # mm


@dataclass(frozen=True)
class Patient:
    """What all images of a patient have in common.

    Parameters
    ----------
    seed : int
        Of the shape of the patient's bones.
    size : ndarray of shape (3,)
        Factors on breadth, height and depth of the whole body.
    fat : float
        Factor on the radius of the skin's surface; muscle keeps its own.
    density : float
        Factor on the attenuation that bone adds.
    right : bool
        Whether single limbs are the right one.
    age : str, default 'adult'
        "child", "adult" or "elderly": a word for the scale and the density drawn.
    narrow : float, default 0.0
        Share of the joint space that is lost, as in arthritis; below 0 the joint is wider.
    extras, fracture : tuple of str and str, optional
        Names in `extras.toml` of what the patient has on or in the body, and of the bone that is broken ("": none).
    """

    seed: int
    size: np.ndarray
    fat: float
    density: float
    right: bool
    age: str = "adult"
    narrow: float = 0.0
    extras: tuple[str, ...] = ()
    fracture: str = ""


def segment_moves(body: Body, angles: Mapping[str, Sequence[float]], narrow: float = 0.0) -> np.ndarray:
    """Return the (n_segments, 4, 4) motions of segments whose joints are turned by degrees about x, y and z.

    `narrow` is the share of the joint spaces of limbs that is lost: segments hang below their joints and are moved up.

    An angle named without a side holds for the left, and mirrored for the right.
    """
    moves = np.empty((len(body.segments), 4, 4))
    for number, segment in enumerate(body.segments):
        right = segment.name.startswith("right_")
        angle = angles.get(stem(segment.name))
        move = np.eye(4)
        if angle is not None:
            x, y, z = angle
            move[:3, :3] = rotation(x, -y, -z) if right else rotation(x, y, z)
        move[:3, 3] = segment.pivot - move[:3, :3] @ segment.pivot
        move[1, 3] += narrow * _joint_space(stem(segment.name))
        moves[number] = move if segment.parent < 0 else moves[segment.parent] @ move
    return moves


def _joint_space(segment: str) -> float:
    """Millimetres of cartilage above a segment; 0 where joints do not narrow along the limb."""
    return _JOINT_SPACES.get(segment, 1.4 if segment[-2:] in ("_1", "_2", "_3") else 0.0)


def broken(body: Body, fracture: Fracture, seed: int) -> Body:
    """Break a bone: what lies below the plane becomes fragments, moved a little apart.

    Each piece of the bone is taken twice, cut by the plane once from above and once from below. A piece without a free plane stays
    whole, on the side where its middle is.
    """
    names = np.array(body.names)
    broken_ones = {f"left_{fracture.bone}", fracture.bone}
    member_names = np.repeat(names, np.diff(body.starts))
    pieces = np.unique(body.members[np.isin(member_names, [*broken_ones])])
    if not len(pieces):
        return body
    rng = np.random.default_rng([seed, len(fracture.bone)])
    apart = np.eye(4)
    turn = rotation(*rng.normal(0, _FRAGMENT_TURN, 3))
    apart[:3, :3] = turn
    shift = rng.normal(0, _FRAGMENT_SHIFT, 3)
    shift += (-(shift @ fracture.normal) - rng.uniform(*_FRAGMENT_GAP)) * fracture.normal
    apart[:3, 3] = fracture.at - turn @ fracture.at + shift
    cuts = local_planes(fracture.normal, -fracture.normal @ fracture.at, body.placement[pieces])
    free = ~np.asarray(body.planes[pieces, :, :3].any(axis=2))  # (n, PLANES)
    split = np.asarray(free.any(axis=1))  # (n,)
    whole = pieces[~split]
    middles = np.concatenate([body.box[whole].mean(axis=1), np.ones((len(whole), 1))], axis=1)
    placement, planes = body.placement.copy(), body.planes.copy()
    lower = whole[np.einsum("ij,ij->i", cuts[~split], middles) < 0]
    placement[lower] = apart @ placement[lower]
    pieces, cuts, slot = pieces[split], cuts[split], free[split].argmax(axis=1)
    planes[pieces, slot] = cuts
    below = planes[pieces]
    below[np.arange(len(pieces)), slot] = -cuts
    twin = np.full(len(placement), -1)
    twin[pieces] = len(placement) + np.arange(len(pieces))
    groups = []
    for first, last in zip(body.starts[:-1], body.starts[1:], strict=True):
        group = body.members[first:last]
        groups.append(np.concatenate([group, twin[group][twin[group] >= 0]]))
    return replace(
        body,
        placement=np.concatenate([placement, apart @ placement[pieces]]),
        planes=np.concatenate([planes, below]),
        profile=np.concatenate([body.profile, body.profile[pieces]]),
        box=np.concatenate([body.box, body.box[pieces]]),
        segment=np.concatenate([body.segment, body.segment[pieces]]),
        skin=np.concatenate([body.skin, body.skin[pieces]]),
        bone=np.concatenate([body.bone, body.bone[pieces]]),
        starts=np.cumsum([0, *[len(group) for group in groups]]),
        members=np.concatenate(groups),
    )


def matter(body: Body, patient: Patient, moves: np.ndarray, energy: float, camera: Camera | None = None) -> Matter:
    """Place the body of a patient.

    Parameters
    ----------
    moves : ndarray of shape (n_segments, 4, 4)
        From `segment_moves`.
    energy : float
        Effective, in keV.
    camera : Camera, optional
        Leave out what is far from its field.
    """
    lumps = body.lumps
    motions = moves[lumps.segment] @ _varied(body, patient.seed)[lumps.bone]  # (n_lumps, 4, 4)
    motions = np.diag([*patient.size, 1.0]) @ motions
    coefficients = attenuation(energy)
    bone = [MATERIALS.index("cortical"), MATERIALS.index("cancellous")]
    soft = coefficients[MATERIALS.index("soft")]
    coefficients[bone] = soft + patient.density * (coefficients[bone] - soft)
    weights = body.sign * (coefficients[body.material] - coefficients[body.within])
    kept, starts, members = slice(None), body.starts, body.members
    if camera:
        centres = (motions[:, :3] @ np.c_[lumps.centres, np.ones(len(motions))][:, :, None])[..., 0]
        size = np.abs(motions[:, :3, :3])
        stretch = np.sqrt(
            size.sum(axis=1).max(axis=1) * size.sum(axis=2).max(axis=1)
        )  # at least the largest singular value
        kept = in_field(centres, max(patient.fat, 1.0) * stretch * lumps.radii, camera)[lumps.lump]
        starts, members = visible(starts, members, kept)
    fat = np.where(body.skin[kept], patient.fat, 1.0)
    placement = body.placement[kept].copy()
    placement[:, :3, :2] *= fat[:, None, None]
    planes, box = _swollen(body.planes[kept], body.box[kept], fat)
    return Matter(motions[lumps.lump[kept]] @ placement, body.profile[kept], planes, box, starts, members, weights)


def _swollen(planes: np.ndarray, box: np.ndarray, fat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planes and boxes of pieces widened by (n,) factors: the cuts stay where they are in the body, so that neighbours still meet."""
    planes, box = planes.copy(), box.copy()
    planes[:, :, :2] *= fat[:, None, None]
    box[:, 0, 2] *= np.where(box[:, 0, 2] < 0, fat, 1.0)
    box[:, 1, 2] = 1 + (box[:, 1, 2] - 1) * np.where(box[:, 1, 2] > 1, fat, 1.0)
    return planes, box


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
