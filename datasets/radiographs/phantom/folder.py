"""A folder of phantom radiographs: patients with several images, written by several threads.

Image i of seed s depends on s, i and its patient alone, and a patient on s and its number, so that the same bytes come from one or
many workers, and the first hundred images of a thousand are the hundred of a hundred.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np

from radiographs.disk import fresh_folder
from radiographs.phantom.anatomy import extras, fractures
from radiographs.phantom.layouts import (
    LAYOUTS,
    Record,
    draw_bits,
    encode,
    image_path,
    notice,
    write_masks,
    write_tables,
)
from radiographs.phantom.picture import DIFFICULTIES, Difficulty, Simulated, draw
from radiographs.phantom.pose import Patient
from radiographs.phantom.regions import cut_out
from radiographs.phantom.views import PARTS, Plate, plates

FREQUENCIES = ("balanced", "unifesp")
_UNIFESP = (60, 37, 43, 414, 5, 14, 43, 11, 8, 44, 14, 67, 12, 56, 64, 38, 25, 12, 6, 5, 6, 43)  # first labels of 1,027
_IMAGES = (0.45, 0.3, 0.15, 0.1)  # shares of patients with one, two, three and four images
_SAME_PART = 0.75  # chance that a patient's next image shows what the first one does
_PATIENTS, _PICTURES, _ERRORS = 1, 2, 3  # streams of random numbers
_BLOCK = 256  # images handed out at a time: memory does not grow with their number
_REACH = 200  # a near-duplicate repeats one of so many images before it


@dataclass(frozen=True)
class Recipe:
    """What a data set is made of.

    Parameters
    ----------
    n, seed : int
        Number of images, and what they follow from.
    side : int, default 512
        Longer side of an image in pixels.
    parts : tuple of str, optional
        Names of body parts; empty for all.
    difficulty : str, default 'standard'
        "easy", "standard" or "hard".
    layout : str, default 'unifesp'
        "unifesp" (Kaggle, 8-bit PNG), "png" (a table of 16-bit PNGs) or "dicom" (a tree of 8-, 12- and 16-bit DICOM files).
    frequencies : str, default 'balanced'
        "balanced" or "unifesp": how often patients come for each part.
    wrong_labels : float, default 0.0
        Share of images registered under another part.
    near_duplicates : float, default 0.0
        Share of images that repeat an earlier one, cropped, resized and of other brightness, under another patient.
    shortcut : float, default 0.0
        Strength in [0, 1] of a leak: the chance that a device has burnt into the image the name that belongs to the part; otherwise it is
        that of any device. 0 means that devices write nothing.
    masks : bool, default False
        Whether masks/UID.npz says which pixels each bone covers.
    """

    n: int
    seed: int
    side: int = 512
    parts: tuple[str, ...] = ()
    difficulty: str = "standard"
    layout: str = "unifesp"
    frequencies: str = "balanced"
    wrong_labels: float = 0.0
    near_duplicates: float = 0.0
    shortcut: float = 0.0
    masks: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be made; ValueError names the setting and what it may be."""
        for name, known in (("difficulty", DIFFICULTIES), ("layout", LAYOUTS), ("frequencies", FREQUENCIES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; available: {', '.join(known)}")
        for name in ("wrong_labels", "near_duplicates", "shortcut"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name):g}: give a share from 0 to 1")
        if self.n < 1 or not 32 <= self.side <= 8192:
            raise ValueError(f"n {self.n}, side {self.side}: give at least 1 image of 32 to 8192 pixels")
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ValueError(f"part {unknown[0]!r} has no phantom; available: {', '.join(PARTS)}")


@dataclass(frozen=True)
class _Slot:
    """Where an image belongs: its patient, and the part that the patient came for."""

    index: int
    patient: Patient
    number: int
    complaint: str
    first: bool
    repeats: _Slot | None = None


def write_folder(out: Path, recipe: Recipe, *, workers: int = 0, progress: Callable[[int], None] | None = None) -> None:
    """Write images, labels, truth.csv, SYNTHETIC.txt and, if requested, masks.

    Parameters
    ----------
    out : Path
        Folder to make; it is written beside its place and renamed when it is whole.
    workers : int, default 0
        Threads; 0 means one per core.
    progress : callable, optional
        Called with the number of images done.

    Raises
    ------
    FileExistsError
        If `out` exists.
    ModuleNotFoundError
        If DICOM is requested and pydicom is not installed.
    """
    if out.exists():
        raise FileExistsError(f"{out}: already exists")
    if recipe.layout == "dicom":
        __import__("pydicom")
    simulator = _Simulator(recipe)
    records: list[Record] = []
    slots = islice(simulator.slots(), recipe.n)
    with fresh_folder(out) as fresh:
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            while block := list(islice(slots, _BLOCK)):
                for record in pool.map(lambda slot: simulator.write(slot, fresh), block):
                    records.append(record)
                    if progress:
                        progress(len(records))
        write_tables(fresh, recipe.layout, records)
        (fresh / "SYNTHETIC.txt").write_text(notice(asdict(recipe)), encoding="utf-8")


class _Simulator:
    """Draws the images of a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.difficulty: Difficulty = DIFFICULTIES[recipe.difficulty]
        self.plates = tuple(p for p in plates() if not recipe.parts or {*p.parts} <= {*recipe.parts})
        self.parts = sorted({plate.parts[0] for plate in self.plates})
        weights = np.array([_UNIFESP[PARTS.index(p)] if recipe.frequencies == "unifesp" else 1 for p in self.parts])
        self.weights = weights / weights.sum()

    def slots(self) -> Iterator[_Slot]:
        """Yield the place of image 0, 1, 2 and so on without end."""
        originals: deque[_Slot] = deque(maxlen=_REACH)
        index = 0
        for number in count():
            rng = np.random.default_rng([self.recipe.seed, _PATIENTS, number])
            complaint = str(rng.choice(self.parts, p=self.weights))
            patient = _patient(rng, self.difficulty.nuisance)
            for image in range(1 + rng.choice(len(_IMAGES), p=_IMAGES)):
                error = np.random.default_rng([self.recipe.seed, _ERRORS, index])
                others = [slot for slot in originals if slot.number != number]
                repeats = (
                    others[error.integers(len(others))]
                    if others and error.random() < self.recipe.near_duplicates
                    else None
                )
                slot = _Slot(index, patient, number, complaint, image == 0, repeats)
                if repeats is None:
                    originals.append(slot)
                yield slot
                index += 1

    def write(self, slot: _Slot, folder: Path) -> Record:
        """Simulate and save one image."""
        recipe = self.recipe
        plate, picture, device = self._draw(slot.repeats or slot)
        error = np.random.default_rng([recipe.seed, _ERRORS, slot.index, 1])
        if slot.repeats:
            picture = _near_duplicate(picture, error)
        shown = tuple(PARTS.index(part) for part in plate.parts)
        registered = shown
        if error.random() < recipe.wrong_labels:
            registered = (int(error.choice([PARTS.index(p) for p in self.parts if p not in plate.parts] or shown[:1])),)
        monochrome, bits = draw_bits(error)
        shot = (slot.repeats or slot).patient
        record = Record(
            index=slot.index,
            uid=_uid("image", recipe.seed, slot.index),
            study=_uid("study", recipe.seed, slot.number, 0 if slot.first else int(error.integers(2))),
            patient=f"P{slot.number:06d}",
            registered=registered,
            shown=shown,
            views="; ".join(view.name for view in plate.views),
            laterality=("R" if shot.right else "L") if all(view.limb for view in plate.views) else "",
            age=shot.age,
            extras="; ".join(shot.extras),
            fracture=shot.fracture,
            device=device,
            inverted=picture.inverted,
            duplicate_of=_uid("image", recipe.seed, slot.repeats.index) if slot.repeats else "",
            monochrome=monochrome,
            bits=bits,
            rows=picture.grey.shape[0],
            columns=picture.grey.shape[1],
        )
        path = folder / image_path(recipe.layout, record)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(recipe.layout, record, picture.grey))
        if recipe.masks:
            (folder / "masks").mkdir(exist_ok=True)
            write_masks(folder / "masks" / f"{record.uid}.npz", picture.bones, picture.grey.shape)
        return record

    def _draw(self, slot: _Slot) -> tuple[Plate, Simulated, str]:
        """Return the plate of a slot, its picture, and the name of the device."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, _PICTURES, slot.index])
        plate = self._plate(slot, rng)
        device = ""
        if recipe.shortcut:
            leaks = rng.random() < recipe.shortcut
            number = PARTS.index(plate.parts[0]) if leaks else int(rng.integers(len(PARTS)))
            device = f"RX{number:02d}"
        return (
            plate,
            draw(plate, slot.patient, recipe.side, self.difficulty, rng, bones=recipe.masks, device=device),
            device,
        )

    def _plate(self, slot: _Slot, rng: np.random.Generator) -> Plate:
        """Return the kind of plate that an image is: of the patient's complaint, or later of some other part."""
        part = slot.complaint
        if not slot.first and rng.random() > _SAME_PART:
            part = str(rng.choice(self.parts, p=self.weights))
        able = [plate for plate in self.plates if plate.parts[0] == part]
        share = np.array([plate.share for plate in able])
        return able[rng.choice(len(able), p=share / share.sum())]


def _patient(rng: np.random.Generator, nuisance: float) -> Patient:
    """Somebody: stature within 7 %, breadth and depth within 5 % of it, fat and bone as they come; one in ten is a child."""
    age = str(rng.choice(["child", "adult", "elderly"], p=[0.1, 0.6, 0.3]))
    stature = np.clip(rng.normal(1, 0.07), 0.78, 1.18) * (rng.uniform(0.6, 0.85) if age == "child" else 1)
    size = stature * np.array([rng.normal(1, 0.05), 1, rng.normal(1, 0.05)])
    density = rng.uniform(0.8, 1.1) * {"child": 0.8, "adult": 1.0, "elderly": 0.85}[age]
    narrow = rng.uniform(0, 0.8) if age == "elderly" and rng.random() < 0.5 else rng.uniform(-0.15, 0.2)
    worn = tuple(name for name, extra in extras().items() if rng.random() < nuisance * extra["chance"])
    breaks = [name for name, fracture in fractures().items() if rng.random() < nuisance * fracture.chance]
    return Patient(
        seed=int(rng.integers(2**31)),
        size=size,
        fat=float(np.clip(np.exp(rng.normal(0, 0.07)), 0.92, 1.25)),
        density=density,
        right=bool(rng.random() < 0.5),
        age=age,
        narrow=float(narrow),
        extras=worn,
        fracture=breaks[0] if breaks else "",
    )


def _near_duplicate(picture: Simulated, rng: np.random.Generator) -> Simulated:
    """Return the same picture, sent a second time: a little cropped, smaller, and of other brightness."""
    height, width = picture.grey.shape
    margin = (rng.uniform(0, 0.04, 4) * (height, height, width, width)).astype(int)
    rows, columns = slice(margin[0], height - margin[1]), slice(margin[2], width - margin[3])
    scale = rng.uniform(0.8, 1)
    gamma = np.float32(rng.uniform(0.85, 1.18))

    def resized(image: np.ndarray) -> np.ndarray:
        cut = np.ascontiguousarray(image[rows, columns])
        size = (max(8, round(cut.shape[1] * scale)), max(8, round(cut.shape[0] * scale)))
        return cv2.resize(cut, size, interpolation=cv2.INTER_AREA)

    bones = {}
    for name, bone in picture.bones.items():
        if region := cut_out(resized(bone.whole((height, width)).astype(np.uint8)) > 0):
            bones[name] = region
    return Simulated(np.clip(resized(picture.grey), 0, 1) ** gamma, bones, picture.inverted)


def _uid(*what: object) -> str:
    """Return a DICOM UID of the form 2.25.<128-bit integer> that follows from what it names (ISO/IEC 9834-8)."""
    digest = hashlib.sha256(" ".join(map(str, ("xraybench phantom", *what))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
