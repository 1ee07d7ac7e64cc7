"""What models look at, as ``bench explain`` measured it: read from a folder, checked, and put into tables, words and a page."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.pages.offline import render
from reports.runs.results import Results, ResultsError
from reports.tables.export import csv_text

EXPLANATIONS, SCHEMA = "explanations.json", 1
MAX_IMAGES = 12  # on a page; the table has all
MAX_BYTES = 4_000_000  # of all pictures together
ALIKE = 0.5  # rank correlation from which on a map of random weights is much the same map
METHODS = {
    "grad-cam": "Grad-CAM shows where the last feature map speaks for the class",
    "eigen-cam": "Eigen-CAM shows where the network is most active, whatever the class: it is taken where the head has no gradients",
    "occlusion": "Occlusion shows where covering a patch takes from the class",
}
_FIELDS = ("run", "seed", "steps", "random_maps", "fitted_to", "classes", "models", "images", "files")
_AGAIN = "give `bench explain` again"


@dataclass(frozen=True)
class Explanations:
    """What explanations.json says, and the pictures by the names of their files."""

    record: dict[str, Any]
    pictures: dict[str, bytes]


def load_explanations(run: Path) -> Explanations | None:
    """Read RUN/explanations; None where there is none.

    Raises
    ------
    ResultsError
        If a file is missing, damaged, of a newer schema, or leads out of the folder.
    """
    folder = Path(run) / "explanations"
    if not (folder / EXPLANATIONS).is_file():
        return None
    record = _record(_bytes(folder, EXPLANATIONS), folder / EXPLANATIONS)
    pictures = {}
    for name, digest in record["files"].items():
        content = _bytes(folder, name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ResultsError(f"{folder / name} does not match its checksum; {_AGAIN}")
        if name.endswith(".png"):
            pictures[name] = content
    return Explanations(record, pictures)


def scores(record: dict[str, Any]) -> pd.DataFrame:
    """A row for each image and model: what the model says, and the map's scores."""
    rows = [
        {"image": image["name"], "class": image["class"], "model": model["name"], "method": model["method"]}
        | {**found, "labels": "|".join(found["labels"])}
        for image in record["images"]
        for model, found in zip(record["models"], image["maps"], strict=True)
    ]
    return pd.DataFrame(rows)


def scores_csv(record: dict[str, Any]) -> str:
    """Write `scores` as CSV."""
    return csv_text(scores(record))


def by_model(record: dict[str, Any]) -> pd.DataFrame:
    """Means over the images for each model, and on how many images its map beats the random ones."""
    rows = []
    for name, part in scores(record).groupby("model", sort=False):
        row: dict[str, Any] = {"model": name, "method": part["method"].iloc[0], "n": len(part)}
        for kind in ("deletion", "insertion", "deletion_random", "insertion_random"):
            row[kind] = part[kind].mean()
        row["deletion_better"] = int((part["deletion"] < part["deletion_random"]).sum())
        row["insertion_better"] = int((part["insertion"] > part["insertion_random"]).sum())
        row["empty"] = int(part["empty"].sum())
        for kind in ("random_head", "random_whole"):
            row[kind] = part[kind].astype(float).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def summarise_explanations(record: dict[str, Any]) -> list[str]:
    """Say of each model, in a sentence or two, whether its maps can be believed."""
    return [_summary(row) for row in by_model(record).to_dict("records")]


def section(found: Explanations) -> dict[str, Any]:
    """What the section of a page shows."""
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
            said for method, said in METHODS.items() if method in {each["method"] for each in record["models"]}
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
    """The section of a run's report; None where the run was not explained.

    Raises
    ------
    ResultsError
        As `load_explanations`, or if it is of another run.
    """
    found = load_explanations(results.path)
    if found is None:
        return None
    if found.record["run"] != results.run["run_id"]:
        raise ResultsError(f"{results.path / 'explanations'} is of another run; remove it, or {_AGAIN}")
    shown = section(found)
    for model in found.record["models"]:
        if _seal_of(results.path / "holdout" / model["name"] / "model" / "model.json") != model["seal"]:
            shown["words"].append(
                f"{model['name']} was fitted again, or is gone, since these maps were made: {_AGAIN}."
            )
    return shown


def html(found: Explanations) -> str:
    """Write a page of its own."""
    return render("explanations.html.j2", [], explained=section(found))


def _summary(row: dict[str, Any]) -> str:
    n = row["n"]
    if row["empty"] == n:
        return f"{row['model']}: nothing in the images speaks for the class; there is no map to read."
    better = f"on {row['deletion_better']} of {n} by deletion and on {row['insertion_better']} of {n} by insertion"
    areas = (
        f"deletion {row['deletion']:.2f} against {row['deletion_random']:.2f}, "
        f"insertion {row['insertion']:.2f} against {row['insertion_random']:.2f}"
    )
    alike = np.array([row["random_head"], row["random_whole"]], dtype=float)
    alike = alike[~np.isnan(alike)]
    if not len(alike):
        sanity = "it could not be tested against random weights"
    elif alike.max() >= ALIKE:
        sanity = f"random weights give much the same map (rank correlation {_text(alike.max())}): do not read it as what was learned"
    else:
        sanity = f"random weights give another map (rank correlation {_text(alike.max())})"
    lost = [
        kind for kind, sign in (("deletion", 1), ("insertion", -1)) if sign * (row[kind] - row[f"{kind}_random"]) >= 0
    ]
    warning = f" By {' and '.join(lost)} it is no better than random: do not rest on it." if lost else ""
    return f"{row['model']} ({row['method']}): better than random maps {better} ({areas}); {sanity}.{warning}"


def _grid(table: pd.DataFrame) -> dict[str, Any]:
    titles = ["Model", "Method", "Deletion ↓", "random", "better on", "Insertion ↑", "random", "better on"]
    titles += ["Random head", "Random network"]
    rows = []
    for row in table.to_dict("records"):
        pairs = []
        for kind in ("deletion", "insertion"):
            pairs += [f"{row[kind]:.3f}", f"{row[f'{kind}_random']:.3f}", f"{row[f'{kind}_better']} of {row['n']}"]
        rows.append([row["model"], row["method"], *pairs, _text(row["random_head"]), _text(row["random_whole"])])
    return {"titles": titles, "rows": rows}


def _cell(found: dict[str, Any], picture: str) -> dict[str, Any]:
    names = (("random head", found["random_head"]), ("random network", found["random_whole"]))
    sanity = [f"{name} {_text(value)}" for name, value in names if value is not None]
    return {
        **found,
        "labels": " + ".join(found["labels"]) or "nothing",
        "picture": picture,
        "sanity": ", ".join(sanity),
    }


def _text(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def _seal_of(path: Path) -> str | None:
    try:
        return json.loads(path.read_bytes())["seal"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(b"\x89PNG") else ""


def _record(content: bytes, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(content)
        schema = int(record["schema"])
    except (ValueError, KeyError, TypeError):
        raise ResultsError(f"{path} is damaged; {_AGAIN}") from None
    if schema > SCHEMA:
        raise ResultsError(f"{path} has schema {schema}; this xraybench reads up to {SCHEMA}: update it")
    rest = {key: value for key, value in record.items() if key != "seal"}
    if record.get("seal") != hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest():
        raise ResultsError(f"{path} does not fit its seal: it was changed or damaged; {_AGAIN}")
    missing = [name for name in _FIELDS if name not in record]
    if missing:
        raise ResultsError(f"{path} lacks {missing[0]!r}; {_AGAIN}")
    return record


def _bytes(folder: Path, name: str) -> bytes:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.parent.resolve() / folder.name):
        raise ResultsError(f"{folder / name} leads outside of the folder; nothing is read from there")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{folder / name}: {error.strerror}; {_AGAIN}") from None
