"""The worklist of an audit: exams whose images do not fit their registration, ranked, as a table, as CSV and as JSON.

The frame of images has a row for each file: `file`, `exam`, `status` (of `STATUSES`), `reason` (why a file was not read), `registered` (the parts that
its registration names), `contradicted` (the entries that it does not fit), `predicted`, `confidence`, `mismatch` (0 to 1, or NaN if unknown),
`ood_score`, `requested_parts` (parts that the exam's description asks for), and `visible_parts` (which of them may be on this image). Lists are
joined by semicolons. A file whose header could not be read has no exam. The mismatch of an exam is the largest of its judged images: images of
which the model is not sure, or which are unlike those that it was trained on, count against no exam and are listed apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.runs.rows import rows_of
from reports.tables.export import csv_text

JUDGED, NOT_SURE, OUT_OF_DISTRIBUTION, UNREGISTERED, NO_CLASS, FAILED = (
    "judged",
    "not sure",
    "out of distribution",
    "unregistered",
    "no class",
    "failed",
)
STATUSES = (JUDGED, NOT_SURE, OUT_OF_DISTRIBUTION, UNREGISTERED, NO_CLASS, FAILED)
MISMATCH, NOT_SEEN, APART, FITS, NOT_JUDGED = "does not fit", "part not seen", "set apart", "fits", "not judged"
SCHEMA = 2
COLUMNS = (
    "rank", "exam", "status", "mismatch", "images", "mismatches", "registered", "contradicted", "looks_like", "confidence", "not_seen",
    "not_sure", "out_of_distribution", "unregistered", "failed", "summary",
)  # fmt: skip


def rank_exams(images: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Build the worklist: a row for each exam, the worst mismatch first.

    Parameters
    ----------
    images : DataFrame
        As in the module's description.
    threshold : float
        Mismatch from which an image does not fit, if it contradicts an entry.

    Returns
    -------
    DataFrame
        `COLUMNS`: rank, from 1; exam; status; mismatch, the largest of its images that do not fit, else of those judged; images, how many were read; mismatches, how many do not fit; registered and
        contradicted, by them; looks_like, their predicted classes; confidence, the largest of theirs; not_seen, requested parts that no image
        shows; how many images are not_sure, out_of_distribution, unregistered or failed; summary.
    """
    rows = [_exam(str(name), group, threshold) for name, group in images.groupby("exam", sort=True) if name]
    order = {status: place for place, status in enumerate((MISMATCH, NOT_SEEN, APART, FITS, NOT_JUDGED))}
    rows.sort(
        key=lambda row: (
            order[row["status"]],
            -_number(row["mismatch"]),
            -_number(row["confidence"]),
            -row["mismatches"],
            row["exam"],
        )
    )
    return pd.DataFrame([{**row, "rank": rank} for rank, row in enumerate(rows, start=1)], columns=[*COLUMNS])


def worklist_csv(exams: pd.DataFrame) -> str:
    """Write the worklist as CSV: numbers with three digits, nothing that a spreadsheet would execute."""
    return csv_text(exams.assign(**{name: exams[name].map(_three_digits) for name in ("mismatch", "confidence")}))


def worklist_json(exams: pd.DataFrame, images: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """Write facts of the audit, and every exam with its images, as JSON; unknown values are null."""
    of_exam = {name: group.drop(columns="exam") for name, group in images.groupby("exam")}
    entries = [{**row, "images": plain_rows(of_exam[row["exam"]])} for row in plain_rows(exams)]
    return (
        json.dumps({"schema": SCHEMA, **facts, "exams": entries}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def _exam(name: str, images: pd.DataFrame, threshold: float) -> dict[str, Any]:
    judged = images[images["status"] == JUDGED]
    against = contradicting(judged, threshold)
    accused = against if len(against) else judged
    row = {
        "exam": name,
        "mismatch": accused["mismatch"].max(),
        "images": int((images["status"] != FAILED).sum()),
        "mismatches": len(against),
        "registered": _joined(accused["registered"] if len(accused) else images["registered"]),
        "contradicted": _joined(against["contradicted"]),
        "looks_like": _joined(accused["predicted"]),
        "confidence": accused["confidence"].max(),
        "not_seen": _not_seen(images),
        **{key: int((images["status"] == status).sum()) for key, status in _COUNTED.items()},
    }
    return {**row, "status": _status(row, len(judged)), "summary": _summary(row)}


def contradicting(judged: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Images that do not fit: a prediction that fits is no mismatch, however low its probability."""
    return judged[(judged["mismatch"] >= threshold) & (judged["contradicted"] != "")]


_COUNTED = {
    "not_sure": NOT_SURE,
    "out_of_distribution": OUT_OF_DISTRIBUTION,
    "unregistered": UNREGISTERED,
    "failed": FAILED,
}


def _status(row: dict[str, Any], n_judged: int) -> str:
    if row["mismatches"]:
        return MISMATCH
    if row["not_seen"]:
        return NOT_SEEN
    if row["not_sure"] or row["out_of_distribution"]:
        return APART
    return FITS if n_judged else NOT_JUDGED


def _not_seen(images: pd.DataFrame) -> str:
    """Return the requested parts that no image shows; empty unless every image was judged, since any other might show them."""
    if not (images["status"] == JUDGED).all():
        return ""
    requested, seen = (_split(images[column]) for column in ("requested_parts", "visible_parts"))
    return "; ".join(part for part in requested if part not in seen)


def _summary(row: Mapping[str, Any]) -> str:
    """Describe the finding, such as: registered as knee (StudyDescription); 2 of 3 images look like Ankle (0.97)."""
    if not row["mismatches"]:
        return f"no image of: {row['not_seen']}" if row["not_seen"] else ""
    where = f" ({row['contradicted'].replace('; ', ', ')})" if row["contradicted"] else ""
    look = "looks" if row["mismatches"] == 1 else "look"
    said = f"registered as {row['registered'].replace('; ', ', ')}{where}; {row['mismatches']} of {row['images']} "
    said += f"{'image' if row['images'] == 1 else 'images'} {look} like {row['looks_like'].replace('; ', ', ')} ({confidence_text(row['confidence'])})"
    return f"{said}; no image of: {row['not_seen']}" if row["not_seen"] else said


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; NaN becomes None."""
    return rows_of(table.astype(object).where(table.notna(), None))


def _joined(texts: pd.Series) -> str:
    return "; ".join(_split(texts))


def _split(texts: pd.Series) -> list[str]:
    """Return every entry of joined lists once, in order."""
    return list(dict.fromkeys(part for text in texts for part in str(text).split("; ") if part))


def _three_digits(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"


def confidence_text(value: float | None) -> str:
    """Format with two digits, never as a certainty."""
    if value is None:
        return ""
    return "over 0.99" if value >= 0.995 else f"{value:.2f}"


def _number(value: float) -> float:
    return -1.0 if pd.isna(value) else float(value)
