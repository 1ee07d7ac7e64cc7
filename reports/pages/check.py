"""The page of ``bench data check``: every finding with its cases and their pictures."""

from typing import Any

from reports.pages.offline import render
from reports.pages.pictures import embedded

MAX_CASES = 60  # of a finding that the page shows
MAX_BYTES = 3_000_000  # of all pictures together


def html(check: dict[str, Any], pictures: dict[str, bytes]) -> str:
    """Write the page.

    Parameters
    ----------
    check : dict
        What `radiographs.audit.check.Audit.as_dict` gives.
    pictures : dict
        image_id -> WebP file.
    """
    cases = [case for finding in check["findings"] for case in finding["cases"][:MAX_CASES]]
    words = {image: "" for case in cases for image in case["images"]}
    return render(
        "check.html.j2",
        [],
        {"images": embedded(words, pictures, MAX_BYTES), "cells": {}},
        check=check,
        findings=[[each[name] for name in ("code", "level", "title", "n")] for each in check["findings"]],
        classes=[[each[name] for name in ("class", "n_images", "n_groups")] for each in check["classes"]],
        max_cases=MAX_CASES,
    )
