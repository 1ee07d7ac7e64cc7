"""A folder of phantom radiographs in the UNIFESP Kaggle layout: patients with several images, written by several threads.

Image i of seed s depends on s, i and its patient alone, and a patient on s and its number, so that the same bytes come from one or
many workers, and the first hundred images of a thousand are the hundred of a hundred.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from radiographs.phantom.picture import DIFFICULTIES, draw
from radiographs.phantom.pose import Patient
from radiographs.phantom.views import PARTS, Plate, plates

_NOTICE = """SYNTHETIC. These radiographs were simulated by xraybench (radiographs.phantom). They show no person.
They are for trying out software and for teaching, not for clinical use, and no result on them says anything about patients.
What they were made with:
"""
_IMAGES = (0.45, 0.3, 0.15, 0.1)  # shares of patients with one, two, three and four images
_SAME_PART = 0.75  # chance that a patient's next image shows what the first one does
_PATIENTS, _PICTURES = 1, 2  # streams of random numbers
_BLOCK = 256  # images handed out at a time: memory does not grow with their number


@dataclass(frozen=True)
class _Slot:
    """Where an image belongs: its patient, and the part that the patient came for."""

    patient: Patient
    number: int
    complaint: str
    first: bool


def write_folder(
    out: Path,
    n: int,
    seed: int,
    *,
    side: int = 512,
    only: Sequence[str] | None = None,
    difficulty: str = "standard",
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
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
        Names of body parts; all by default.
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
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty {difficulty!r} is unknown; there are {', '.join(DIFFICULTIES)}")
    chosen = _chosen(only)
    settings = {
        "n": n,
        "seed": seed,
        "side": side,
        "parts": sorted({p for c in chosen for p in c.parts}),
        "difficulty": difficulty,
    }
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        (fresh / "images" / "train").mkdir(parents=True)
        rows: list[dict[str, object]] = []
        slots = islice(_slots(seed, chosen), n)
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            while block := list(islice(slots, _BLOCK)):
                write = partial(_write_image, fresh, settings, chosen)
                for row in pool.map(write, range(len(rows), len(rows) + len(block)), block):
                    rows.append(row)
                    if progress:
                        progress(len(rows))
        _write_tables(fresh, rows)
        (fresh / "SYNTHETIC.txt").write_text(_NOTICE + json.dumps(settings) + "\n", encoding="utf-8")
        fresh.chmod(0o755)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _chosen(names: Sequence[str] | None) -> tuple[Plate, ...]:
    """Plates whose label lies within the named parts."""
    known = {part for plate in plates() for part in plate.parts}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"part {unknown[0]!r} has no phantom; there are {', '.join(p for p in PARTS if p in known)}")
    return tuple(plate for plate in plates() if names is None or {*plate.parts} <= {*names})


def _slots(seed: int, chosen: tuple[Plate, ...]) -> Iterator[_Slot]:
    """Yield the place of image 0, 1, 2 and so on without end."""
    parts = sorted({plate.parts[0] for plate in chosen})
    for number in count():
        rng = np.random.default_rng([seed, _PATIENTS, number])
        complaint = str(rng.choice(parts))
        patient = _patient(rng)
        for image in range(1 + rng.choice(len(_IMAGES), p=_IMAGES)):
            yield _Slot(patient, number, complaint, image == 0)


def _patient(rng: np.random.Generator) -> Patient:
    """Somebody: stature within 7 %, breadth and depth within 5 % of it, fat and bone as they come."""
    stature = np.clip(rng.normal(1, 0.07), 0.78, 1.18)
    size = stature * np.array([rng.normal(1, 0.05), 1, rng.normal(1, 0.05)])
    return Patient(
        seed=int(rng.integers(2**31)),
        size=size,
        fat=float(np.clip(np.exp(rng.normal(0, 0.07)), 0.92, 1.25)),
        density=rng.uniform(0.8, 1.1),
        right=bool(rng.random() < 0.5),
    )


def _write_image(
    folder: Path, settings: dict[str, Any], chosen: tuple[Plate, ...], index: int, slot: _Slot
) -> dict[str, object]:
    """Simulate and save one image; return its row of the tables."""
    seed = settings["seed"]
    rng = np.random.default_rng([seed, _PICTURES, index])
    plate = _plate(chosen, slot, rng)
    image = draw(plate, slot.patient, settings["side"], DIFFICULTIES[settings["difficulty"]], rng)
    uid = _uid("image", seed, index)
    path = folder / "images" / "train" / f"{uid}-c.png"
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"{path}: cannot be written")
    return {
        "SOPInstanceUID": uid,
        "Target": "".join(f"{PARTS.index(part)} " for part in plate.parts),
        "PatientID": f"P{slot.number:06d}",
        "StudyInstanceUID": _uid("study", seed, slot.number),
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": image.shape[0],
        "Columns": image.shape[1],
    }


def _plate(chosen: tuple[Plate, ...], slot: _Slot, rng: np.random.Generator) -> Plate:
    """The kind of plate that an image is: of the patient's complaint, or later of some other part."""
    part = slot.complaint
    if not slot.first and rng.random() > _SAME_PART:
        part = str(rng.choice(sorted({plate.parts[0] for plate in chosen})))
    able = [plate for plate in chosen if plate.parts[0] == part]
    share = np.array([plate.share for plate in able])
    return able[rng.choice(len(able), p=share / share.sum())]


def _write_tables(folder: Path, rows: list[dict[str, object]]) -> None:
    table = pd.DataFrame(
        rows,
        columns=[
            "SOPInstanceUID",
            "Target",
            "PatientID",
            "StudyInstanceUID",
            "PhotometricInterpretation",
            "Rows",
            "Columns",
        ],
    )
    table[["SOPInstanceUID", "Target"]].to_csv(folder / "train.csv", index=False)
    table.drop(columns="Target").to_csv(folder / "metadata.csv", index=False)


def _uid(*what: object) -> str:
    """A DICOM UID of the form 2.25.<128-bit integer> that follows from what it names (ISO/IEC 9834-8)."""
    digest = hashlib.sha256(" ".join(map(str, ("xraybench phantom", *what))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
