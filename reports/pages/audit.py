"""The page of ``bench audit``: the worst exams of the worklist with their pictures, and images that are listed apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from reports.pages.offline import render
from reports.pages.pictures import embedded
from reports.tables.worklist import (
    FAILED,
    FITS,
    JUDGED,
    MISMATCH,
    NOT_JUDGED,
    NOT_SEEN,
    NOT_SURE,
    OUT_OF_DISTRIBUTION,
    STATUSES,
    confidence_text,
    contradicting,
    plain_rows,
)

MAX_EXAMS, MAX_ROWS = 200, 300  # on the page; the tables have all
MAX_BYTES = 8_000_000  # of all pictures together


def html(exams: pd.DataFrame, images: pd.DataFrame, pictures: Mapping[str, bytes], facts: Mapping[str, Any]) -> str:
    """Write the page.

    Parameters
    ----------
    exams : DataFrame
        What `rank_exams` gives.
    images : DataFrame
        What it was made of.
    pictures : mapping
        file -> WebP file, of the images that are evidence.
    facts : mapping
        model, classes, threshold, pseudonyms, several_labels, unknown_classes, passed_over (lines).
    """
    shown = [
        _with_images(row, images, facts["threshold"])
        for row in plain_rows(exams[exams["status"] == MISMATCH].head(MAX_EXAMS))
    ]
    apart = {
        status: plain_rows(images[images["status"] == status].head(MAX_ROWS))
        for status in (NOT_SURE, OUT_OF_DISTRIBUTION)
    }
    files = [image["file"] for exam in shown for image in exam["shown"]] + [
        image["file"] for rows in apart.values() for image in rows
    ]
    failed = images[images["status"] == FAILED]
    return render(
        "audit.html.j2",
        [],
        _gallery(files, images, pictures),
        facts=facts,
        n={status: int((images["status"] == status).sum()) for status in STATUSES}
        | exams["status"].value_counts().to_dict(),
        n_exams=len(exams),
        n_images=len(images),
        share=confidence_text,
        exams=shown,
        apart=apart,
        missing=plain_rows(exams[exams["status"] == NOT_SEEN].head(MAX_ROWS)),
        failed=failed[["file", "exam", "reason"]].head(MAX_ROWS).to_numpy().tolist(),
        status={"mismatch": MISMATCH, "not_seen": NOT_SEEN, "fits": FITS, "not_judged": NOT_JUDGED},
    )


def _with_images(exam: dict[str, Any], images: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Add to an exam of the page the images that do not fit, worst first."""
    own = contradicting(images[(images["exam"] == exam["exam"]) & (images["status"] == JUDGED)], threshold)
    return {**exam, "shown": plain_rows(own.sort_values(["mismatch", "file"], ascending=[False, True]))}


def _gallery(files: Iterable[str], images: pd.DataFrame, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """Pictures of the page, as many as there is room for."""
    predicted = dict(zip(images["file"], images["predicted"], strict=True))
    words = {file: f"looks like {predicted[file]}" for file in files}
    return {"images": embedded(words, pictures, MAX_BYTES), "cells": {}}
