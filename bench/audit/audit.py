"""``bench audit``: which exams of a DICOM tree hold images that do not fit their registration. No file of the tree is ever written to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from radiographs.disk import write_whole
from radiographs.readers import SECONDS
from radiographs.terms import unknown_classes
from radiographs.walk import Found, find_pictures

from bench.audit.images import Comparison, compare
from bench.audit.retagged import log_beside, write_corrected
from bench.errors import UserError
from bench.inference.model import Model
from reports.pages import audit as page
from reports.tables import worklist
from reports.tables.export import csv_text

_TEXTS = {
    "accession": "accession", "study": "study_uid", "series": "series_uid", "instance": "instance_uid", "modality": "modality",
    "body_part": "body_part_examined", "view": "view_position", "study_description": "study_description", "requested": "requested",
    "series_description": "series_description", "protocol": "protocol_name",
}  # fmt: skip  # of a registration, and what images.csv calls it


@dataclass(frozen=True)
class AuditOutcome:
    """What was found, and which files were written.

    Attributes
    ----------
    exams : int
        Exams of the tree.
    listed : int
        Exams that do not fit their registration.
    images : int
        Files of the tree.
    counts : dict of str to int
        Images by status.
    unknown_classes : tuple of str
        Classes of the model without a term.
    written : tuple of Path
        Files that were written.
    copied, refused : int
        Corrected copies, and files that should have been copied and were not.
    copies : Path or None
        Folder of the corrected copies.
    """

    exams: int
    listed: int
    images: int
    counts: dict[str, int]
    unknown_classes: tuple[str, ...]
    written: tuple[Path, ...]
    copied: int = 0
    refused: int = 0
    copies: Path | None = None

    def lines(self) -> list[str]:
        """Return the summary for the terminal, line by line."""
        counts = "; ".join(f"{status}: {n}" for status, n in self.counts.items() if n)
        lines = [
            f"{self.listed} of {self.exams} exams do not fit their registration",
            f"{self.images} files: {counts}",
        ]
        if self.unknown_classes:
            lines.append(f"classes without a term, which match everything: {', '.join(self.unknown_classes)}")
        if self.copies is not None:
            lines.append(
                f"{self.copied} corrected copies in {self.copies}, {self.refused} refused: the log gives the reasons"
            )
        return [*lines, *(f"wrote {path}" for path in self.written)]


def audit(
    model: Model,
    tree: Path,
    out: Path,
    *,
    write_tags: Path | None = None,
    json: bool = False,
    threshold: float = 0.5,
    pseudonyms: bool = False,
    workers: int = 1,
    seconds: float = SECONDS,
    counting: Callable[[str, int], AbstractContextManager[Callable[[int], object]]] = lambda *_: nullcontext(int),
) -> AuditOutcome:
    """Compare every radiograph of a tree with its registration; write worklist.csv, images.csv, audit.html and, if requested, audit.json.

    Parameters
    ----------
    model : Model
        An open model.
    tree : Path
        Top of a tree of DICOM files; it is only read.
    out : Path
        Folder for the tables and the page.
    write_tags : Path, optional
        Folder for copies with a corrected BodyPartExamined.
    json : bool
        Whether to also write audit.json.
    threshold : float
        Mismatch from which an exam is listed.
    pseudonyms : bool
        Whether to use running numbers for exams and files, and no texts of headers.
    workers : int
        Files read in parallel.
    seconds : float
        Time for a file.
    counting : callable
        Shows progress: a context manager that gives a function of the number done so far.

    Returns
    -------
    AuditOutcome
        What was found.

    Raises
    ------
    UserError
        If the tree holds no pictures, or a folder to write to lies in it or is in use.
    """
    _check_folders(tree, out, write_tags, threshold)
    found = find_pictures(tree)
    if not found.files:
        raise UserError(f"{tree}: holds no DICOM files")
    with counting("comparing images with registrations", len(found.files)) as progress:
        compared = compare(model, tree, found.files, threshold, workers, progress, seconds)
    images = pd.DataFrame(compared.rows)
    facts = _facts(model, found, threshold, pseudonyms=pseudonyms)
    outcome, listed = _outcome(images, threshold, facts)
    if write_tags is not None:
        outcome = _with_copies(outcome, images, compared, listed, tree, write_tags)
    return replace(outcome, written=(*_write(images, compared, facts, out, json=json), *outcome.written))


def _outcome(images: pd.DataFrame, threshold: float, facts: dict[str, Any]) -> tuple[AuditOutcome, set[str]]:
    """Count the findings; also return the names of the exams that do not match."""
    exams = worklist.rank_exams(images, threshold)
    listed = set(exams.loc[exams["status"] == worklist.MISMATCH, "exam"])
    outcome = AuditOutcome(
        exams=len(exams),
        listed=len(listed),
        images=len(images),
        counts={status: int((images["status"] == status).sum()) for status in worklist.STATUSES},
        unknown_classes=tuple(facts["unknown_classes"]),
        written=(),
    )
    return outcome, listed


def _with_copies(
    outcome: AuditOutcome, images: pd.DataFrame, compared: Comparison, listed: set[str], tree: Path, folder: Path
) -> AuditOutcome:
    """Write corrected copies, and count them."""
    reasons = write_corrected(images, compared.registrations, listed, tree, folder)["reason"]
    copied = int((reasons == "").sum())
    return replace(outcome, written=(log_beside(folder),), copied=copied, refused=len(reasons) - copied, copies=folder)


def _check_folders(tree: Path, out: Path, write_tags: Path | None, threshold: float) -> None:
    if not tree.is_dir():
        raise UserError(f"{tree}: is not a folder: give the top of a tree of DICOM files")
    if not 0 < threshold <= 1:
        raise UserError(f"--threshold {threshold}: give more than 0, at most 1")
    for option, folder in (("--out", out), ("--write-tags", write_tags)):
        if folder is not None and folder.resolve().is_relative_to(tree.resolve()):
            raise UserError(
                f"{option} {folder}: is inside the tree, which is never written to: give a folder elsewhere"
            )
    if write_tags is not None and write_tags.exists() and (not write_tags.is_dir() or any(write_tags.iterdir())):
        raise UserError(f"--write-tags {write_tags}: exists already and is not empty: give a new folder")
    if write_tags is not None and log_beside(write_tags).exists():
        raise UserError(
            f"--write-tags {write_tags}: its log {log_beside(write_tags)} exists already: give a new folder"
        )


def _facts(model: Model, found: Found, threshold: float, *, pseudonyms: bool) -> dict[str, Any]:
    return {
        "model": model.name,
        "classes": list(model.classes),
        "threshold": threshold,
        "pseudonyms": pseudonyms,
        "several_labels": model.rule.task != "multiclass",
        "unknown_classes": list(unknown_classes(model.classes)),
        "passed_over": found.notes,
    }


def _write(
    images: pd.DataFrame, compared: Comparison, facts: dict[str, Any], out: Path, *, json: bool
) -> tuple[Path, ...]:
    """Write the tables and the page; with pseudonyms, names and header texts are left out of all of them."""
    pictures = compared.evidence.pictures
    if facts["pseudonyms"]:
        images, pictures = _pseudonymised(images, pictures)
    else:
        images = images.assign(**_texts(images["file"], compared))
    exams = worklist.rank_exams(images, facts["threshold"])
    contents = {
        "worklist.csv": worklist.worklist_csv(exams),
        "images.csv": csv_text(images),
        "audit.html": page.html(exams, images, pictures, facts),
    }
    if json:
        contents["audit.json"] = worklist.worklist_json(exams, images, facts)
    for name, content in contents.items():
        write_whole(out / name, content)
    return tuple(out / name for name in contents)


def _texts(files: pd.Series, compared: Comparison) -> dict[str, list[str]]:
    """Return columns with the texts of the headers."""
    known = [compared.registrations.get(file) for file in files]
    texts = {column: [getattr(each, name, "") for each in known] for name, column in _TEXTS.items()}
    lists = {"anatomic_region": "region_codes", "damaged_entries": "damaged"}
    return texts | {column: ["; ".join(getattr(each, name, ())) for each in known] for column, name in lists.items()}


def _pseudonymised(images: pd.DataFrame, pictures: dict[str, bytes]) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Replace names of exams and files by running numbers in the order of the walk, which cannot be traced back."""
    exams = {name: f"exam-{k:05d}" for k, name in enumerate((n for n in images["exam"].unique() if n), start=1)}
    files = {name: f"image-{k:06d}" for k, name in enumerate(images["file"], start=1)}
    named = images.assign(exam=images["exam"].map(exams).fillna(""), file=images["file"].map(files))
    return named.drop(columns="sha256"), {files[file]: picture for file, picture in pictures.items()}
