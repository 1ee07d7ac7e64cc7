"""The page of ``bench data check``: every finding with its cases, and the pictures that they are about."""

import base64
from typing import Any

from reports.pages.offline import render

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
    room, kept = MAX_BYTES, []
    for finding in check["findings"]:
        for case in finding["cases"][:MAX_CASES]:
            for image in case["images"]:
                picture = pictures.get(image, b"")
                if picture and len(picture) <= room:
                    room -= len(picture)
                    kept.append([image, "", base64.b64encode(picture).decode()])
    known = {image: entry for image, *entry in kept}
    album = {"images": [[image, *entry] for image, entry in known.items()], "cells": {}}
    return render(
        "check.html.j2",
        [],
        album,
        check=check,
        findings=[[each[name] for name in ("code", "level", "title", "n")] for each in check["findings"]],
        classes=[[each[name] for name in ("class", "n_images", "n_groups")] for each in check["classes"]],
        max_cases=MAX_CASES,
    )
