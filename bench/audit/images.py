"""Every file of a DICOM tree, read by threads, predicted by the model in blocks, and compared with its registration. Reading only."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.dicom import DicomError
from radiographs.preprocess import Preprocessing
from radiographs.read import UnreadableImageError, read_picture
from radiographs.readers import SECONDS, CutOffError, in_order, readers
from radiographs.registration import Registration, read_registration

from bench.audit.mismatch import Answer, judge, not_read
from bench.data.pictures import thumbnail
from bench.errors import UserError
from bench.inference.model import Model
from reports.pages.audit import MAX_ROWS
from reports.tables.worklist import JUDGED, NOT_SURE, OUT_OF_DISTRIBUTION

BLOCK = 256  # images that the model predicts together
RADIOGRAPHS = ("", "CR", "DX", "DR", "RG", "OT")  # modalities; others are skipped, by name
_AHEAD = 64  # files read ahead
_PICTURES = 1000  # kept as evidence: the worst mismatches
_SIDE, _QUALITY = 192, 65


@dataclass(frozen=True)
class ReadFile:
    """One file of the tree.

    Attributes
    ----------
    file : str
        Path in the tree.
    registration : Registration or None
        What the header registers it as; None if it could not be read.
    pixels : ndarray of uint8, shape (side, side), or None
        The preprocessed image; None if it is not a readable radiograph.
    sha256 : str
        Digest of the file.
    frames : int
        Frames of the file.
    reason : str
        Why there are no pixels; or, if there are, how the file contradicts itself.
    """

    file: str
    registration: Registration | None = None
    pixels: np.ndarray | None = None
    sha256: str = ""
    frames: int = 1
    reason: str = ""


@dataclass
class Comparison:
    """What was found so far.

    Attributes
    ----------
    rows : list of dict
        One for each file, in their order: file, exam, what `bench.audit.mismatch.judge` returns, sha256, frames.
    registrations : dict of str to Registration
        By file, of those whose header could be read.
    evidence : Evidence
        Pictures for the page.
    exams : Exams
        Names of the exams.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    registrations: dict[str, Registration] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=lambda: Evidence())
    exams: Exams = field(default_factory=lambda: Exams())


def compare(
    model: Model,
    tree: Path,
    files: Iterable[Path],
    threshold: float,
    workers: int,
    progress: Callable[[int], object],
    seconds: float = SECONDS,
) -> Comparison:
    """Compare files with their registrations; memory holds a block of images and the rows.

    Parameters
    ----------
    model : Model
        An open model.
    tree : Path
        Top of the tree.
    files : iterable of Path
        Files of the tree.
    threshold : float
        Mismatch from which on an image that no predicted class fits is evidence.
    workers : int
        Files read in parallel.
    progress : callable
        Called with the number of files done.
    seconds : float
        Time limit per file, after which its process is killed.

    Returns
    -------
    Comparison
        Rows, registrations and evidence.
    """
    settings, compared = model.preprocessing, Comparison()
    with ThreadPoolExecutor(workers) as pool:
        try:
            reads = in_order(pool, lambda path: _read_within(seconds, path, tree, settings), files, _AHEAD)
            while block := list(islice(reads, BLOCK)):
                for read, judgement in zip(block, _judged(model, block, threshold), strict=True):
                    _add(compared, read, judgement)
                progress(len(compared.rows))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return compared


def _add(compared: Comparison, read: ReadFile, judgement: dict[str, Any]) -> None:
    exam = compared.exams.name(read.registration)
    compared.rows.append({"file": read.file, "exam": exam, **judgement, "sha256": read.sha256, "frames": read.frames})
    compared.evidence.keep(read, judgement)
    if read.registration is not None:
        compared.registrations[read.file] = read.registration


def _read_within(seconds: float, path: Path, tree: Path, settings: Preprocessing) -> ReadFile:
    """Read as `_read` does, in a process that is killed when it takes too long; then only the header is read."""
    try:
        return readers().do(_read, path, tree, settings, seconds=seconds)
    except CutOffError as error:
        try:
            registration = readers().do(_registration, path, seconds=seconds)
        except (CutOffError, DicomError, OSError):
            registration = None
        return ReadFile(path.relative_to(tree).as_posix(), registration, reason=str(error))


def _registration(path: Path) -> Registration | None:
    with path.open("rb") as stream:
        return read_registration(stream)


def _read(path: Path, tree: Path, settings: Preprocessing) -> ReadFile:
    file = path.relative_to(tree).as_posix()
    if not _is_text(file):
        return ReadFile(file.encode("utf-8", "replace").decode(), reason="its name is not UTF-8: rename it")
    registration = None
    try:
        registration = _registration(path)
        if registration is None:
            return ReadFile(file, reason="not a DICOM file")
        if registration.modality.upper() not in RADIOGRAPHS:
            return ReadFile(file, registration, reason=f"not a radiograph (modality {registration.modality[:16]})")
        picture = read_picture(path, file)
        pixels = settings.apply(picture.grey, picture.padding)
        return ReadFile(file, registration, pixels, picture.sha256, picture.frames, "; ".join(picture.remarks))
    except (DicomError, UnreadableImageError) as error:
        return ReadFile(file, registration, reason=str(error).removeprefix(f"{file}: "))
    except OSError as error:
        return ReadFile(file, registration, reason=f"cannot be opened ({error.strerror})")
    except ModuleNotFoundError:
        raise UserError("bench audit reads DICOM files, which needs: pip install 'xraybench[dicom]'") from None


def _judged(model: Model, block: list[ReadFile], threshold: float) -> list[dict[str, Any]]:
    """Return the row of each file of a block, in order."""
    rows = [not_read(read.reason) for read in block]
    pixels = {k: read.pixels for k, read in enumerate(block) if read.pixels is not None}
    if not pixels:
        return rows
    prediction = model.predict(np.stack(list(pixels.values())))  # (n, side, side)
    calibrated = model.rule.calibrated(prediction.probability)  # (n, n_classes)
    decision = prediction.decision
    for row, k in enumerate(pixels):
        answer = Answer(
            tuple(model.classes),
            calibrated[row],
            decision.labels[row],
            confidence=float(decision.confidence[row]),
            sure=bool(decision.sure[row]),
            ood_score=float(prediction.ood_score[row]),
            several=model.rule.task != "multiclass",
        )
        judgement = judge(block[k].registration or Registration(), answer, threshold)
        rows[k] = judgement | {"reason": block[k].reason}  # how the file contradicts itself
    return rows


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass
class Exams:
    """Names of exams: the accession number or, without one, a UID; numbered if two patients share it."""

    names: dict[tuple[str, str], str] = field(default_factory=dict)
    patients: Counter[str] = field(default_factory=Counter)

    def name(self, registration: Registration | None) -> str:
        """Name of a file's exam; empty if the header could not be read or names none."""
        if registration is None or not registration.exam[1]:
            return ""
        key = registration.exam
        if key not in self.names:
            self.patients[key[1]] += 1
            n = self.patients[key[1]]
            self.names[key] = key[1] if n == 1 else f"{key[1]} (patient {n})"
        return self.names[key]


@dataclass
class Evidence:
    """Thumbnails of the worst mismatches, and of some images that were not judged."""

    worst: list[tuple[float, int, str, bytes]] = field(default_factory=list)  # a heap
    apart: dict[str, bytes] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def pictures(self) -> dict[str, bytes]:
        """WebP files by file."""
        return {**{file: picture for _, _, file, picture in self.worst}, **self.apart}

    def keep(self, read: ReadFile, judgement: dict[str, Any]) -> None:
        """Keep the thumbnail of an image that the page may show."""
        status, mismatch = judgement["status"], judgement["mismatch"]
        if read.pixels is None:
            return
        if status == JUDGED and judgement["contradicted"]:
            self.kept[status] += 1
            heapq.heappush(
                self.worst, (mismatch, -self.kept[status], read.file, thumbnail(read.pixels, _SIDE, _QUALITY))
            )
            if len(self.worst) > _PICTURES:
                heapq.heappop(self.worst)
        elif status in (NOT_SURE, OUT_OF_DISTRIBUTION) and self.kept[status] < MAX_ROWS:
            self.kept[status] += 1
            self.apart[read.file] = thumbnail(read.pixels, _SIDE, _QUALITY)
