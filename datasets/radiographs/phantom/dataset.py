"""A folder of phantom radiographs in the UNIFESP Kaggle layout: patients with several images, written by several threads.

Image i of seed s depends on (s, i) and on its patient alone, so that the same bytes come from one or many workers, and the
first hundred images of a thousand are the hundred of a hundred.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from radiographs.phantom.anatomy import Part, parts, rotation
from radiographs.phantom.physics import Exposure, expose
from radiographs.phantom.solids import Solid, attenuation

_NOTICE = """SYNTHETIC. These radiographs were simulated by xraybench (radiographs.phantom). They show no person.
They are for trying out software and for teaching, not for clinical use, and no result on them says anything about patients.
"""


@dataclass(frozen=True)
class Difficulty:
    """How far images of one part differ among themselves. Degrees, shares, and photons per pixel."""

    turn: float
    rotated: float
    shift: float
    photons: tuple[float, float]
    shutter: float
    twins: float


DIFFICULTIES = {
    "easy": Difficulty(turn=4, rotated=0.0, shift=0.03, photons=(2000, 4000), shutter=0.3, twins=0.0),
    "standard": Difficulty(turn=10, rotated=0.12, shift=0.08, photons=(100, 2000), shutter=0.6, twins=0.15),
    "hard": Difficulty(turn=25, rotated=0.3, shift=0.15, photons=(25, 250), shutter=0.8, twins=0.3),
}


@dataclass(frozen=True)
class Patient:
    """What the images of one patient share."""

    identity: str
    study: str
    scale: float


def write_folder(
    out: Path,
    n: int,
    seed: int,
    *,
    side: int = 512,
    only: Sequence[str] | None = None,
    difficulty: str = "standard",
    workers: int = 0,
    progress: Callable[[int], object] = int,
) -> None:
    """Write train.csv, metadata.csv, images/train/*-c.png and SYNTHETIC.txt.

    Parameters
    ----------
    out
        Folder to make; it is written beside its place and renamed when it is whole.
    n, seed
        Number of images, and what they follow from.
    side
        Longer side of an image in pixels.
    only
        Names of body parts; all that have a table by default.
    difficulty
        "easy", "standard" or "hard".
    workers
        Threads; 0 means one per core.
    progress
        Called with the number of images done.

    Raises
    ------
    FileExistsError
        If `out` is there.
    ValueError
        If a part or difficulty is unknown.
    """
    if out.exists():
        raise FileExistsError(f"{out}: is there already")
    chosen = _chosen(only)
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty {difficulty!r} is unknown; there are {', '.join(DIFFICULTIES)}")
    patients = _patients(n, seed)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        (fresh / "images" / "train").mkdir(parents=True)

        def one(index: int) -> tuple[str, ...]:
            return _write_image(fresh, index, seed, chosen, patients[index], side, DIFFICULTIES[difficulty])

        rows = []
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            try:
                for done, row in enumerate(pool.map(one, range(n)), start=1):
                    rows.append(row)
                    progress(done)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        _write_tables(fresh, rows)
        settings = {"n": n, "seed": seed, "side": side, "parts": [p.name for p in chosen], "difficulty": difficulty}
        (fresh / "SYNTHETIC.txt").write_text(_NOTICE + json.dumps(settings) + "\n", encoding="utf-8")
        fresh.chmod(0o755)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def picture(part: Part, patient: Patient, side: int, difficulty: Difficulty, rng: np.random.Generator) -> np.ndarray:
    """Simulate one radiograph.

    Returns
    -------
    (h, w) uint8 with the longer side `side`; bone is bright.
    """
    two = rng.random() < difficulty.twins
    plates = [_plate(part, patient, side, difficulty, rng, width_share=0.5 if two else 1.0) for _ in range(1 + two)]
    image = np.concatenate(plates, axis=1)
    scale = side / max(image.shape)
    return (
        image
        if scale == 1
        else cv2.resize(
            image, (round(image.shape[1] * scale), round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA
        )
    )


def _plate(
    part: Part, patient: Patient, side: int, difficulty: Difficulty, rng: np.random.Generator, width_share: float
) -> np.ndarray:
    """One view: pose, rays, exposure, window, shutter, marker."""
    zoom = rng.uniform(0.9, 1.15) / patient.scale
    field = np.array(part.field) / zoom  # mm
    height, width = _size(field, side)
    width = max(32, round(width * (width_share + (1 - width_share) * 0.3)))
    pixel = max(field) / max(height, width) if width_share == 1 else field[1] / height
    shift = np.append(rng.normal(0, difficulty.shift, 2) * field / 2, 0)
    rays = attenuation(_posed(part, difficulty, shift, rng), height, width, pixel)
    exposure = Exposure(
        photons=float(np.exp(rng.uniform(*np.log(difficulty.photons)))),
        scatter=rng.uniform(0.1, 0.6),
        heel=rng.uniform(0, 0.25),
        angle=rng.uniform(0, 2 * np.pi),
        blur=rng.uniform(0.5, 1.1) * side / 512,
        electronic=rng.uniform(1, 4),
    )
    image = _window(expose(rays, exposure, rng), rng)
    if rng.random() < difficulty.shutter:
        image = _shuttered(image, rng)
    return _marked(image, rng)


def _posed(part: Part, difficulty: Difficulty, shift: np.ndarray, rng: np.random.Generator) -> list[Solid]:
    """The part's solids in one of its views, turned in the picture, shifted (mm) and perhaps mirrored."""
    solids = part.solids(rng)
    frequency = np.array([view.frequency for view in part.views])
    view = part.views[rng.choice(len(part.views), p=frequency / frequency.sum())]
    wobble = difficulty.turn / 2
    quarter = rng.choice([-90, 90]) if rng.random() < difficulty.rotated else 0
    pose = rotation(
        view.tilt + rng.normal(0, wobble), view.turn + rng.normal(0, wobble), quarter + rng.normal(0, difficulty.turn)
    )
    if rng.random() < 0.5:  # left or right
        pose = np.diag([-1.0, 1.0, 1.0]) @ pose
    return [solid.moved(pose, shift) for solid in solids]


def _window(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey levels between two percentiles of the signal, with a little gamma: what a technician's window does."""
    low, high = np.percentile(signal, (rng.uniform(0.2, 2), rng.uniform(98, 99.8)))
    shown = np.clip((signal - low) / max(high - low, 1e-6), 0, 1) ** rng.uniform(0.75, 1.25)
    return np.rint(shown * 255).astype(np.uint8)


def _shuttered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Collimation: outside a rectangle the plate was not exposed and is one dark grey."""
    height, width = image.shape
    top, bottom, left, right = rng.uniform(0, 0.12, 4)
    out = np.full_like(image, rng.integers(5, 50))
    rows, columns = (
        slice(int(top * height), int((1 - bottom) * height)),
        slice(int(left * width), int((1 - right) * width)),
    )
    out[rows, columns] = image[rows, columns]
    return out


def _marked(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A side marker near an edge."""
    if rng.random() < 0.3:
        return image
    height, width = image.shape
    size = max(height, width) / 512
    place = int(rng.choice([0.06, 0.88]) * width), int(rng.uniform(0.1, 0.9) * height)
    text = "D" if rng.random() < 0.5 else "E"
    return cv2.putText(
        image.copy(), text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * size, 235, max(1, round(2 * size)), cv2.LINE_AA
    )


def _size(field: np.ndarray, side: int) -> tuple[int, int]:
    width, height = field * side / max(field)
    return round(float(height)), round(float(width))


def _chosen(names: Sequence[str] | None) -> list[Part]:
    known = parts()
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"part {unknown[0]!r} has no phantom; there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())


def _patients(n: int, seed: int) -> list[Patient]:
    """Patient of each image: one to four images each, and one size."""
    rng = np.random.default_rng([seed, 1])
    out: list[Patient] = []
    while len(out) < n:
        number = len({p.identity for p in out}) + 1
        patient = Patient(str(number), _uid("study", seed, number), float(np.clip(rng.normal(1, 0.09), 0.75, 1.25)))
        out += [patient] * int(rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1]))
    return out[:n]


def _write_image(
    folder: Path, index: int, seed: int, chosen: list[Part], patient: Patient, side: int, difficulty: Difficulty
) -> tuple[str, ...]:
    rng = np.random.default_rng([seed, 2, index])
    part = chosen[rng.integers(len(chosen))]
    image = picture(part, patient, side, difficulty, rng)
    uid = _uid("image", seed, index)
    Image.fromarray(image).save(folder / "images" / "train" / f"{uid}-c.png", compress_level=3)
    height, width = image.shape
    return uid, f"{part.number} ", patient.identity, patient.study, str(height), str(width)


def _write_tables(folder: Path, rows: list[tuple[str, ...]]) -> None:
    table = pd.DataFrame(rows, columns=["SOPInstanceUID", "Target", "PatientID", "StudyInstanceUID", "Rows", "Columns"])
    table[["SOPInstanceUID", "Target"]].to_csv(folder / "train.csv", index=False)
    table = table.assign(PhotometricInterpretation="MONOCHROME2")
    table[["SOPInstanceUID", "PatientID", "StudyInstanceUID", "PhotometricInterpretation", "Rows", "Columns"]].to_csv(
        folder / "metadata.csv", index=False
    )


def _uid(*what: object) -> str:
    """A DICOM UID of the form 2.25.<128-bit integer> that follows from what it names (ISO/IEC 9834-8)."""
    digest = hashlib.sha256(" ".join(map(str, ("xraybench phantom", *what))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
