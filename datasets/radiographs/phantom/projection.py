"""A view of a patient as line integrals: the pose, the turn of the body before the beam, and the camera."""

from __future__ import annotations

import numpy as np

from radiographs.phantom.anatomy import read_body
from radiographs.phantom.pose import Patient, matter, segment_moves
from radiographs.phantom.rays import Camera, line_integrals
from radiographs.phantom.solids import rotation
from radiographs.phantom.views import View

_LOOSE = 1.5  # degrees: standard deviation of every joint that a view leaves free
_OFF_CENTRE = 0.03  # standard deviation of the patient's place as a share of the field
_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def project(
    view: View, patient: Patient, shape: tuple[int, int], pixel: float, wobble: float, rng: np.random.Generator
) -> np.ndarray:
    """Line integrals of the attenuation coefficient, with what the view aims at near the middle of the picture.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel
        Side of a pixel in millimetres.
    wobble
        Factor on how far pose and centring deviate from the textbook.

    Returns
    -------
    (rows, columns) float32
    """
    body = read_body(view.tables, both=view.both)
    angles = {joint: [rng.uniform(*limits) for limits in ranges] for joint, ranges in view.pose.items()}
    for joint in body.joints:
        angles.setdefault(joint, rng.normal(0, _LOOSE * wobble, 3).tolist())
    moves = segment_moves(body, angles)
    aim = moves[body.number(view.at)] @ [*view.centre, 1.0]
    camera = np.eye(4)
    camera[:3, :3] = rotation(*(np.array(view.turn) + wobble * rng.normal(0, view.wobble)))
    camera[:3, 3] = -camera[:3, :3] @ (patient.size * aim[:3])
    if patient.right and view.limb:
        camera = _MIRROR @ camera
    camera[:2, 3] += rng.normal(0, _OFF_CENTRE * wobble, 2) * view.field
    return line_integrals(matter(body, patient, moves, view.energy), Camera(camera, *shape, pixel, view.distance))
