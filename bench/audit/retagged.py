"""Copies of DICOM files with a corrected BodyPartExamined, and beside their folder, which holds nothing else, a log of what was copied and what was not.

A copy is made where the exam is in the list, the image is judged, and its body part is contradicted or missing. What the model predicts must
have a term of the standard (several parts: only where the standard has one for just these). Where AnatomicRegionSequence names
something else no copy is made, for it would contradict itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
from radiographs.dicom import DicomError
from radiographs.disk import write_whole
from radiographs.registration import Registration
from radiographs.retag import new_instance_uid, with_body_part
from radiographs.terms import Parts, fits, is_rest, parts_of, parts_of_codes, term_of

from bench.audit.mismatch import BODY_PART
from reports.tables.export import csv_text
from reports.tables.worklist import JUDGED

COLUMNS = (
    "source", "copy", "old_part", "new_part", "old_uid", "new_uid", "sha256_source", "sha256_copy", "series", "whole_series", "reason",
)  # fmt: skip


def write_corrected(
    images: pd.DataFrame,
    registrations: dict[str, Registration],
    listed: set[str],
    tree: Path,
    out: Path,
) -> pd.DataFrame:
    """Write copies below a folder, at the places that the files have in the tree, and the log beside the folder.

    Parameters
    ----------
    images : DataFrame
        As `bench.audit.audit` makes it: file, exam, status, predicted, contradicted, sha256.
    registrations : dict of str to Registration
        By file.
    listed : set of str
        Exams that do not fit.
    tree : Path
        Top of the tree.
    out : Path
        Folder for the copies.

    Returns
    -------
    DataFrame
        The log, `COLUMNS`: a row for each file that was copied (reason empty) or that should have been and was not. `whole_series`
        states whether every image read from the series got the same term: BodyPartExamined belongs to a series.
    """
    rows = [
        _copy(image, registrations[image["file"]], tree, out)
        for image in _to_correct(images[images["exam"].isin(listed)], registrations)
    ]
    log = _with_series(pd.DataFrame(rows, columns=[*COLUMNS]), registrations)
    write_whole(log_beside(out), csv_text(log))
    return log


def log_beside(out: Path) -> Path:
    """Return the path of the log; it is outside the folder, so that the folder can be sent to an archive as it is.

    >>> log_beside(Path("/audit/corrected")).as_posix()
    '/audit/corrected-retagged.csv'
    """
    out = out.resolve()
    return out.with_name(f"{out.name}-retagged.csv")


def _to_correct(images: pd.DataFrame, registrations: dict[str, Registration]) -> Iterator[dict[str, Any]]:
    judged = cast("list[dict[str, Any]]", images[images["status"] == JUDGED].to_dict("records"))  # columns have names
    for image in judged:
        if BODY_PART in image["contradicted"].split("; ") or not registrations[image["file"]].body_part:
            yield image


def _copy(image: dict[str, Any], registration: Registration, tree: Path, out: Path) -> dict[str, Any]:
    row = {
        **dict.fromkeys(COLUMNS, ""),
        "source": image["file"],
        "old_part": registration.body_part,
        "old_uid": registration.instance,
        "sha256_source": image["sha256"],
        "series": registration.series,
    }
    try:
        term = _term(image["predicted"].split("; "), parts_of_codes(registration.region_codes))
        data = (tree / image["file"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != image["sha256"]:
            raise DicomError("was changed while the audit ran")
        copy = with_body_part(data, term)
    except DicomError as error:
        return {**row, "reason": str(error)}
    except OSError as error:
        return {**row, "reason": f"cannot be read again ({error.strerror})"}
    write_whole(out / image["file"], copy)
    written = {"copy": image["file"], "new_part": term, "new_uid": new_instance_uid(registration.instance, term)}
    return {**row, **written, "sha256_copy": hashlib.sha256(copy).hexdigest()}


def _term(predicted: list[str], region: Parts) -> str:
    """Return the standard's term for what the model predicts."""
    parts = frozenset().union(*(parts_of(name) for name in predicted))
    term = term_of(parts)
    if not term or any(is_rest(name) or not parts_of(name) for name in predicted):
        raise DicomError(f"the standard has no term for just: {', '.join(predicted)}")
    if region and not any(fits(region, name) for name in predicted):
        raise DicomError("its AnatomicRegionSequence names another part, which the copy would contradict")
    return term


def _with_series(log: pd.DataFrame, registrations: dict[str, Registration]) -> pd.DataFrame:
    """Mark each copy by whether its whole series got the same term."""
    sizes = Counter(registration.series for registration in registrations.values())
    columns = [log[name].tolist() for name in ("series", "new_part", "copy")]
    copied = Counter((series, part) for series, part, copy in zip(*columns, strict=True) if copy)
    whole = [
        ("yes" if series and copied[series, part] == sizes[series] else "no") if copy else ""
        for series, part, copy in zip(*columns, strict=True)
    ]
    return log.assign(whole_series=whole)
