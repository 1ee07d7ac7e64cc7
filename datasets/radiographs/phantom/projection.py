"""A view of a patient as line integrals: the pose, the turn of the body before the beam, and the camera."""

from __future__ import annotations

import numpy as np

from radiographs.phantom.anatomy import fractures, read_body
from radiographs.phantom.pose import Patient, broken, matter, segment_moves
from radiographs.phantom.rays import Camera, cast
from radiographs.phantom.regions import Region
from radiographs.phantom.solids import rotation
from radiographs.phantom.views import View

_LOOSE = 1.5  # degrees: standard deviation of every joint that a view leaves free
_OFF_CENTRE = 0.03  # standard deviation of the patient's place as a share of the field
_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def project(
    view: View,
    patient: Patient,
    shape: tuple[int, int],
    pixel: float,
    wobble: float,
    rng: np.random.Generator,
    *,
    bones: bool = False,
) -> tuple[np.ndarray, dict[str, Region]]:
    """Line integrals of the attenuation coefficient, with what the view aims at near the middle of the picture.

    Parameters
    ----------
    shape : tuple of 2 int
        Rows and columns.
    pixel : float
        Side of a pixel in millimetres.
    wobble : float
        Factor on how far pose and centring deviate from the textbook.
    bones : bool, default False
        Whether the shadow of each bone is requested.

    Returns
    -------
    tuple of ndarray and dict of str to Region
        Line integrals (rows, columns) float32, and where each bone in the picture stops rays, by name.
    """
    body = read_body(view.tables, both=view.both, extra=patient.extras)
    if patient.fracture:
        body = broken(body, fractures()[patient.fracture], patient.seed)
    angles = {joint: [rng.uniform(*limits) for limits in ranges] for joint, ranges in view.pose.items()}
    for joint in body.joints:
        angles.setdefault(joint, rng.normal(0, _LOOSE * wobble, 3).tolist())
    moves = segment_moves(body, angles, patient.narrow)
    aim = moves[body.number(view.at)] @ [*view.centre, 1.0]
    camera = np.eye(4)
    camera[:3, :3] = rotation(*(np.array(view.turn) + wobble * rng.normal(0, view.wobble)))
    camera[:3, 3] = -camera[:3, :3] @ (patient.size * aim[:3])
    mirrored = patient.right and view.limb
    if mirrored:
        camera = _MIRROR @ camera
    camera[:2, 3] += rng.normal(0, _OFF_CENTRE * wobble, 2) * view.field
    eye = Camera(camera, *shape, pixel, view.distance)
    placed = matter(body, patient, moves, view.energy, eye)
    integrals, shadows = cast(placed, eye, body.bone_unions if bones else {})
    return integrals, {_swapped(name) if mirrored else name: shadow for name, shadow in shadows.items()}


def _swapped(name: str) -> str:
    """Name of the bone on the other side of the body."""
    for side, other in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(side):
            return other + name.removeprefix(side)
    return name
