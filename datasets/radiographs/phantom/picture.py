"""One phantom radiograph: views side by side on a plate, each collimated, exposed and processed, and a side marker."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from radiographs.phantom.bounds import at_least, at_most
from radiographs.phantom.exposure import Exposure, detector_signal
from radiographs.phantom.pose import Patient
from radiographs.phantom.processing import draw_console, grey_levels
from radiographs.phantom.projection import project
from radiographs.phantom.regions import Region, joined
from radiographs.phantom.views import Plate, View

_PORTRAIT, _LANDSCAPE = (0.74, 0.79, 0.82), (1.22, 1.26, 1.35)  # width by height of common detectors and cassettes
_LETTERS = ("D", "E", "R", "L")
_WORDS = ("ORTOSTASE", "LEITO", "COM CARGA", "SUPINE", "PORTABLE", "ERECT")
_REFERENCE = 512  # pixels of the longer side for which sizes in pixels are given


@dataclass(frozen=True)
class Difficulty:
    """How far pictures of one part differ.

    Parameters
    ----------
    wobble : float
        Factor on how far poses deviate from the textbook.
    turned : float
        Share of plates that lie on their side or upside down.
    unexposed : float
        Largest share of a plate's length that the collimator may cover.
    photons : tuple of 2 float
        Range of photons per pixel behind the middle of the body.
    scatter, coarse : tuple of 2 float
        Ranges of the scatter-to-primary ratio and of the factor on coarse differences.
    words : float
        Share of pictures with a burnt-in word.
    inverted : float
        Share of pictures whose black and white are swapped.
    nuisance : float
        Factor on how often patients have jewellery, electrodes, casts, implants and fractures (`extras.toml`).
    """

    wobble: float
    turned: float
    unexposed: float
    photons: tuple[float, float]
    scatter: tuple[float, float]
    coarse: tuple[float, float]
    words: float
    inverted: float
    nuisance: float


DIFFICULTIES = {
    "easy": Difficulty(0.5, 0.0, 0.1, (2000, 6000), (0.05, 0.2), (0.6, 0.8), 0.0, 0.0, 0.0),
    "standard": Difficulty(1.0, 0.06, 0.35, (250, 4000), (0.1, 0.6), (0.4, 0.85), 0.1, 0.03, 1.0),
    "hard": Difficulty(1.8, 0.25, 0.5, (30, 500), (0.3, 1.2), (0.35, 1.0), 0.25, 0.1, 3.0),
}


@dataclass(frozen=True)
class Simulated:
    """A plate as it was developed.

    Parameters
    ----------
    grey : ndarray of shape (h, w), float32
        In [0, 1]; bone is bright, but for `inverted` pictures.
    bones : dict of str to Region
        Where each bone is seen, by name; empty if not requested.
    inverted : bool
        Whether black and white are swapped and nothing says so.
    """

    grey: np.ndarray
    bones: dict[str, Region]
    inverted: bool


@dataclass(frozen=True)
class Aperture:
    """The opening of the collimator on a plate.

    Parameters
    ----------
    top, left : int
        Corner of the smallest rectangle around it, in pixels.
    opening : ndarray of shape (h, w), float32
        Of that rectangle: 1 inside, 0 outside, penumbra between.
    pixel : float
        Side of a pixel in millimetres.
    """

    top: int
    left: int
    opening: np.ndarray
    pixel: float


def draw(
    plate: Plate,
    patient: Patient,
    side: int,
    difficulty: Difficulty,
    rng: np.random.Generator,
    *,
    bones: bool = False,
    device: str = "",
) -> Simulated:
    """Simulate one radiograph.

    Parameters
    ----------
    side : int
        Longer side of the picture in pixels.
    bones : bool, default False
        Whether the shadow of each bone is requested.
    device : str, optional
        Name that the device burns into the upper left corner ("": none).
    """
    height, width = _plate_size(plate, side, rng)
    ground = rng.uniform(12, 45) / 255  # what unexposed parts are shown as
    image = np.full((height, width), ground, np.float32)
    seen: dict[str, Region] = {}
    edges = np.linspace(0, width, len(plate.views) + 1).round().astype(int).tolist()
    for view, left, right in zip(plate.views, edges[:-1], edges[1:], strict=True):
        aperture, shadows = _expose(
            image[:, left:right], view, patient, side / _REFERENCE, difficulty, rng, bones=bones
        )
        for name, shadow in shadows.items():
            placed = shadow.moved(aperture.top, left + aperture.left)
            seen[name] = joined(seen[name], placed) if name in seen else placed
    if len(plate.views) > 1 and rng.random() < 0.6:
        _draw_bars(image, edges[1:-1], side, rng)
    _mark(image, side / _REFERENCE, difficulty, rng)
    turns = int(rng.integers(1, 4)) if rng.random() < difficulty.turned else 0
    inverted = bool(rng.random() < difficulty.inverted)
    image = np.rot90(1 - image if inverted else image, turns)
    image = np.ascontiguousarray(image)
    if device:
        _write(image, device, (0.015, 0.04), 0.4 * side / _REFERENCE, 0.9)
    return Simulated(image, {name: bone.turned(turns, (height, width)) for name, bone in seen.items()}, inverted)


def _plate_size(plate: Plate, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width in pixels of a detector that suits the views."""
    aspect = sum(view.field[0] / view.field[1] for view in plate.views)
    if aspect > rng.uniform(0.85, 1.25):
        return round(side / rng.choice(_LANDSCAPE)), side
    return side, round(side * rng.choice(_PORTRAIT))


def _expose(
    area: np.ndarray,
    view: View,
    patient: Patient,
    scale: float,
    difficulty: Difficulty,
    rng: np.random.Generator,
    *,
    bones: bool,
) -> tuple[Aperture, dict[str, Region]]:
    """Write one exposure into its (h, w) float32 area of the plate; return where it lies, and the bones in it."""
    aperture = _collimate(view, patient, area.shape, difficulty, rng)
    height, width = aperture.opening.shape
    integrals, shadows = project(view, patient, (height, width), aperture.pixel, difficulty.wobble, rng, bones=bones)
    exposure = _automatic(integrals, scale, difficulty, rng)
    shown = grey_levels(detector_signal(integrals, exposure, rng), draw_console(difficulty.coarse, rng))
    window = area[aperture.top : aperture.top + height, aperture.left : aperture.left + width]
    window += aperture.opening * (shown - window)
    exposed = aperture.opening > 0.5
    if exposed.all():
        return aperture, shadows
    cut = {name: shadow.within(exposed) for name, shadow in shadows.items()}
    return aperture, {name: shadow for name, shadow in cut.items() if shadow}


def _collimate(
    view: View, patient: Patient, shape: tuple[int, ...], difficulty: Difficulty, rng: np.random.Generator
) -> Aperture:
    """Open the collimator somewhere on an area of (h, w) pixels so that the view's field fits in."""
    size = np.array(shape[::-1], float)  # width and height of the area, pixels
    covered = rng.uniform(0, difficulty.unexposed) if rng.random() < 0.6 else 0.0
    field = np.array(view.field) * patient.size[:2] * rng.uniform(0.92, 1.12)
    pixel = float((field / ((1 - covered) * size)).max())
    half = np.minimum(field / pixel * rng.uniform(1, 1.15, 2), size) / 2 if covered else size / 2
    middle = size / 2 + (size / 2 - half) * rng.uniform(-0.8, 0.8, 2)
    tilt = np.radians(rng.normal(0, 10 if rng.random() < 0.1 else 0.6)) if covered else 0.0
    reach = np.abs([[np.cos(tilt), np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) @ half
    first = np.maximum(np.floor(middle - reach), 0).astype(int)
    last = np.minimum(np.ceil(middle + reach), size).astype(int)
    x, y = (np.arange(first[k], last[k], dtype=np.float32) + 0.5 - np.float32(middle[k]) for k in (0, 1))
    half = half.astype(np.float32)
    cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    along = np.abs(x[None, :] * cosine + y[:, None] * sine) if sine else np.abs(x)[None, :]
    across = np.abs(y[:, None] * cosine - x[None, :] * sine) if sine else np.abs(y)[:, None]
    edge = np.maximum((along - half[0]) / np.float32(1.5), (across - half[1]) / np.float32(1.5))
    opening = at_most(at_least(0.5 - edge, 0), 1)
    return Aperture(int(first[1]), int(first[0]), opening, pixel)


def _automatic(integrals: np.ndarray, scale: float, difficulty: Difficulty, rng: np.random.Generator) -> Exposure:
    """Return settings as an automatic exposure control chooses them: so many photons behind the middle of the body."""
    body = integrals[::4, ::4]
    body = body[body > 0.3]  # more than a centimetre of soft tissue
    behind = float(np.exp(-np.median(body))) if body.size else 1.0
    return Exposure(
        photons=float(np.exp(rng.uniform(*np.log(difficulty.photons)))) / behind / scale**2,
        scatter=rng.uniform(*difficulty.scatter),
        heel=rng.uniform(0, 0.3),
        anode=rng.uniform(0, 2 * np.pi),
        focus=rng.uniform(0.3, 0.9) * scale,
        detector=rng.uniform(0.2, 0.6) * scale,
        electronic=rng.uniform(1, 5),
    )


def _draw_bars(image: np.ndarray, edges: list[int], side: int, rng: np.random.Generator) -> None:
    """Draw the strips of lead or of nothing between exposures, in place."""
    half = max(1, round(side * rng.uniform(0.002, 0.01)))
    grey = rng.choice([8, 150, 190]) / 255
    for edge in edges:
        image[:, edge - half : edge + half] = grey


def _mark(image: np.ndarray, scale: float, difficulty: Difficulty, rng: np.random.Generator) -> None:
    """Draw a side marker, and sometimes a word, in place."""
    height, width = image.shape
    if rng.random() < 0.75:
        size = np.array([14, 18]) * scale * rng.uniform(0.7, 1.2)
        edge = np.array([rng.choice([0.04, 0.9]), rng.uniform(0.04, 0.9)])
        share = edge if rng.random() < 0.7 else rng.uniform(0.05, 0.9, 2)
        left, top = (share * (width, height)).astype(int)
        right, bottom = (share * (width, height) + size).astype(int)
        image[top:bottom, left:right] = rng.uniform(130, 215) / 255
        place = ((left + size[0] / 6) / width, (bottom - size[1] / 5) / height)
        letter, dark = str(rng.choice(_LETTERS)), rng.uniform(40, 110) / 255
        _write(image, letter, place, size[1] / 16, dark, cv2.FONT_HERSHEY_PLAIN)
    if rng.random() < difficulty.words:
        x, y = rng.uniform([0.02, 0.05], [0.6, 0.97])
        _write(image, str(rng.choice(_WORDS)), (x, y), 0.45 * scale, rng.uniform(180, 255) / 255)


def _write(
    image: np.ndarray,
    text: str,
    place: tuple[float, float],
    size: float,
    grey: float,
    font: int = cv2.FONT_HERSHEY_SIMPLEX,
) -> None:
    """Write text in place; `place` is its lower left corner as shares of width and height."""
    height, width = image.shape
    x, y = int(place[0] * width), int(place[1] * height)
    thickness = max(1, round(size / (0.45 if font == cv2.FONT_HERSHEY_SIMPLEX else 1.1)))
    (across, up), below = cv2.getTextSize(text, font, size, thickness)
    margin = thickness + 1
    top, left = max(0, y - up - margin), max(0, x - margin)
    window = image[top : y + below + margin, left : x + across + margin]
    ink = np.zeros(window.shape, np.uint8)
    cv2.putText(ink, text, (x - left, y - top), font, size, 255, thickness, cv2.LINE_AA)
    window += np.float32(1 / 255) * ink * (np.float32(grey) - window)
