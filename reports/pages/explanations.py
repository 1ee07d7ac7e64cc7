"""The page of ``bench explain``, and its section in the report of a run: heat maps beside their scores."""

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd

from reports.pages.offline import render
from reports.runs.explanations import EXPLAIN_AGAIN, Explanations, load_explanations
from reports.runs.results import Results, ResultsError
from reports.runs.rows import rows_of
from reports.tables.explanations import by_model, correlation_text, summarise_explanations

MAX_IMAGES = 12  # on a page; the table has all
MAX_BYTES = 4_000_000  # of all pictures together
METHODS = {
    "grad-cam": "Grad-CAM highlights where the last feature map supports the class",
    "eigen-cam": "Eigen-CAM highlights where the network is most active, whatever the class; it is used where the head has no gradients",
    "occlusion": "Occlusion highlights where covering a patch lowers the probability of the class",
}


def section(found: Explanations) -> dict[str, Any]:
    """Collect what the section of a page displays."""
    record = found.record
    shown, room = [], MAX_BYTES
    for i, image in enumerate(record["images"][:MAX_IMAGES]):
        names = [f"{i}.png", *(f"{i}-{m}.png" for m in range(len(record["models"])))]
        room -= sum(len(found.pictures.get(name, b"")) for name in names)
        if room < 0:
            break
        uris = [_uri(found.pictures.get(name, b"")) for name in names]
        cells = [_cell(*each) for each in zip(image["maps"], uris[1:], strict=True)]
        registered = " + ".join(image["labels"])
        shown.append({**image, "labels": registered, "picture": uris[0], "cells": cells})
    return {
        "models": record["models"],
        "methods": [
            text for method, text in METHODS.items() if method in {each["method"] for each in record["models"]}
        ],
        "images": shown,
        "n_images": len(record["images"]),
        "words": summarise_explanations(record),
        "table": _grid(by_model(record)),
        "legend": _uri(found.pictures.get("legend.png", b"")),
        "fitted_to": record["fitted_to"],
        "steps": record["steps"],
        "random_maps": record["random_maps"],
    }


def explanations_section(results: Results) -> dict[str, Any] | None:
    """Collect the section of a run's report; None where the run was not explained.

    Raises
    ------
    ResultsError
        As `load_explanations`, or if it is of another run.
    """
    found = load_explanations(results.path)
    if found is None:
        return None
    if found.record["run"] != results.run["run_id"]:
        raise ResultsError(f"{results.path / 'explanations'} is of another run; remove it, or {EXPLAIN_AGAIN}")
    shown = section(found)
    for model in found.record["models"]:
        if _seal_of(results.path / "holdout" / model["name"] / "model" / "model.json") != model["seal"]:
            shown["words"].append(
                f"{model['name']} was refitted or removed after these maps were made: {EXPLAIN_AGAIN}."
            )
    return shown


def html(found: Explanations) -> str:
    """Write a page of its own."""
    return render("explanations.html.j2", [], explained=section(found))


def _grid(table: pd.DataFrame) -> dict[str, Any]:
    titles = ["Model", "Method", "Deletion ↓", "random", "better on", "Insertion ↑", "random", "better on"]
    titles += ["Random head", "Random network"]
    rows = []
    for row in rows_of(table):
        pairs = []
        for kind in ("deletion", "insertion"):
            pairs += [f"{row[kind]:.3f}", f"{row[f'{kind}_random']:.3f}", f"{row[f'{kind}_better']} of {row['n']}"]
        rows.append(
            [
                row["model"],
                row["method"],
                *pairs,
                correlation_text(row["random_head"]),
                correlation_text(row["random_whole"]),
            ]
        )
    return {"titles": titles, "rows": rows}


def _cell(found: dict[str, Any], picture: str) -> dict[str, Any]:
    names = (("random head", found["random_head"]), ("random network", found["random_whole"]))
    sanity = [f"{name} {correlation_text(value)}" for name, value in names if value is not None]
    return {
        **found,
        "labels": " + ".join(found["labels"]) or "nothing",
        "picture": picture,
        "sanity": ", ".join(sanity),
    }


def _seal_of(path: Path) -> str | None:
    try:
        return json.loads(path.read_bytes())["seal"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(b"\x89PNG") else ""
