"""Heat maps of several models on the same images, with scores, as a folder.

explanations.html   the page
scores.csv          a row for each image and model
explanations.json   the same and more, sealed, with the SHA-256 of every file
I-M.png             maps over the images: image I, model M; I.png is the image itself
legend.png          the colours
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.disk import fresh_folder, sha256

from bench.errors import UserError
from bench.explaining.overlay import legend, picture
from bench.explaining.scores import RANDOM_MAPS, STEPS, faithfulness, likeness
from bench.explaining.subject import HEAD, WHOLE, Subject
from reports.pages.explanations import html
from reports.runs.explanations import EXPLANATIONS, SCHEMA, Explanations
from reports.runs.format import sealed
from reports.tables.explanations import scores_csv


@dataclass(frozen=True)
class Shown:
    """An image to explain.

    Attributes
    ----------
    name : str
    pixels : tuple of arrays (side, side) uint8
        As each model's preprocessing gives it.
    labels : tuple of str
        Its registered labels, if known.
    """

    name: str
    pixels: tuple[np.ndarray, ...]
    labels: tuple[str, ...] = ()


def explain(
    subjects: Sequence[Subject],
    images: Sequence[Shown],
    out: Path,
    *,
    class_: str | None,
    seed: int,
    run: str | None,
    progress: Callable[[int], object],
) -> dict[str, Any]:
    """Write the folder; return the content of explanations.json.

    Parameters
    ----------
    class_ : str or None
        The class to explain; None for the one that the models together find most probable, image by image.
    seed : int
        Decides random maps and random weights.
    run : str or None
        Id of the run that models and images come from: its models were fitted to them.

    Raises
    ------
    UserError
        If the models do not have the same classes, or not this one.
    """
    classes = _classes(subjects, class_)
    check_place(out)
    record: dict[str, Any] = {"schema": SCHEMA, "seed": seed, "steps": STEPS, "random_maps": RANDOM_MAPS}
    record |= {"run": run, "fitted_to": run is not None, "classes": list(classes), "models": _models(subjects)}
    pictures = {"legend.png": legend()}
    entries = []
    for i, image in enumerate(images):
        entries.append(_explained(subjects, image, i, classes, class_, seed, pictures))
        progress(i + 1)
    return _write(out, {**record, "images": entries}, pictures)


def check_place(out: Path) -> None:
    """Refuse to replace any other folder."""
    if out.exists() and not (out / EXPLANATIONS).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: holds something else: give another --out")


def _classes(subjects: Sequence[Subject], wanted: str | None) -> tuple[str, ...]:
    classes = subjects[0].model.classes
    for subject in subjects:
        if subject.model.classes != classes:
            raise UserError(
                f"{subject.model.folder}: has other classes than {subjects[0].model.folder}: explain them one by one"
            )
    if wanted is not None and wanted not in classes:
        raise UserError(f"--class {wanted}: the models have {', '.join(classes)}")
    return classes


def _models(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    names: list[str] = []
    for subject in subjects:
        same = sum(name.split(" (")[0] == subject.model.name for name in names)
        names.append(subject.model.name if not same else f"{subject.model.name} ({same + 1})")
    return [
        {
            "name": name,
            "family": subject.model.facts["family"],
            "method": subject.method,
            "seal": subject.model.facts["seal"],
        }
        for name, subject in zip(names, subjects, strict=True)
    ]


def _explained(
    subjects: Sequence[Subject],
    image: Shown,
    i: int,
    classes: tuple[str, ...],
    wanted: str | None,
    seed: int,
    pictures: dict[str, bytes],
) -> dict[str, Any]:
    """Explain one image; its pictures are added."""
    probability = [
        subject.model.probabilities(pixels[None])[0] for subject, pixels in zip(subjects, image.pixels, strict=True)
    ]
    label = classes.index(wanted) if wanted is not None else int(np.mean(probability, axis=0).argmax())
    pictures[f"{i}.png"] = picture(image.pixels[0])
    maps = []
    for m, (subject, pixels) in enumerate(zip(subjects, image.pixels, strict=True)):
        heat = subject.heat(pixels, label)
        pictures[f"{i}-{m}.png"] = picture(pixels, heat)
        maps.append(_said(subject, probability[m], label) | _scores(subject, pixels, heat, label, seed + i))
    return {"name": image.name, "labels": list(image.labels), "class": classes[label], "maps": maps}


def _said(subject: Subject, probability: np.ndarray, label: int) -> dict[str, Any]:
    """Return a model's entry on an image."""
    decision = subject.model.decide(probability[None])
    return {
        "labels": [name for name, given in zip(subject.model.classes, decision.labels[0], strict=True) if given],
        "confidence": float(decision.confidence[0]),
        "sure": bool(decision.sure[0]),
        "probability": float(probability[label]),
    }


def _scores(subject: Subject, image: np.ndarray, heat: np.ndarray, label: int, seed: int) -> dict[str, Any]:
    found = faithfulness(subject.score(label), image, heat, np.random.default_rng(seed))
    same: dict[str, float | None] = {HEAD: None, WHOLE: None}
    for part in subject.parts:
        other = subject.random_heat(image, label, part, seed)
        same[part] = None if other is None else _number(likeness(heat, other))
    return {**vars(found), "empty": not heat.any(), "random_head": same[HEAD], "random_whole": same[WHOLE]}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _write(out: Path, record: dict[str, Any], pictures: dict[str, bytes]) -> dict[str, Any]:
    with fresh_folder(out, durable=True) as fresh:
        for name, content in pictures.items():
            (fresh / name).write_bytes(content)
        (fresh / "scores.csv").write_text(scores_csv(record), encoding="utf-8")
        (fresh / "explanations.html").write_text(html(Explanations(record, pictures)), encoding="utf-8")
        files = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        record = sealed({**record, "files": files})
        (fresh / EXPLANATIONS).write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
    return record
