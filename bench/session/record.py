"""run.json: the facts that make a run folder citable, and whether the run in a folder may be resumed."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bench
from bench import environment
from bench.data.prepare import Prepared
from bench.recipes.build import family
from bench.recipes.suite import Suite
from bench.store.run_folder import RunFolder, StoreError
from reports.runs.format import MANIFEST, SCHEMA, SPLITS

MANIFEST_COLUMNS = (
    *("image_id", "file", "frame", "labels", "group", "sha256", "pixels_sha256", "width", "height", "mode"),
    *("body_part", "view", "laterality", "modality", "photometric", "study", "series", "accession"),
    *("grey_mean", "grey_sd", "status", "reason"),
)


def describe_run(prepared: Prepared, suite: Suite, seed: int, command: str, device: str) -> dict[str, Any]:
    """Return the facts for run.json."""
    data, listing = prepared.data, prepared.listing
    ok = prepared.manifest["status"] == "ok"
    digest = data_digest(prepared.manifest)
    mark = hashlib.sha256(
        f"{digest} {data.splits_digest} {suite.name} {suite.preprocessing.model_dump_json()} {seed}".encode()
    ).hexdigest()[:8]
    models = {name: {"family": family(spec), **spec.as_dict()} for name, spec in suite.models.items()}
    cv = {"folds": int(data.splits["fold"].nunique()), "repeats": int(data.splits["repeat"].nunique())}
    recorded = {
        "name": suite.name,
        "description": suite.description,
        "preprocessing": suite.preprocessing.model_dump(),
        "cv": cv,
        "models": models,
    }
    return {
        "schema": SCHEMA,
        "run_id": f"{listing.card.name}-{suite.name}-{mark}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "xraybench": bench.__version__,
        "command": without_folders(command),
        "seed": seed,
        "device": device,
        "suite": recorded | {"digest": suite_digest(recorded)},
        "data": {
            "name": listing.card.name,
            "title": listing.card.title,
            "synthetic": listing.card.synthetic,
            "task": data.task,
            "classes": list(data.classes),
            "at_least_one": data.at_least_one,
            "n_images": int(ok.sum()),
            "n_groups": int(prepared.manifest.loc[ok, "group"].nunique()),
            "group_noun": listing.card.group if listing.grouped else "group",
            "n_excluded": int((~ok).sum()),
            "licence": listing.card.licence,
            "citation": listing.card.citation,
            "digest": digest,
            "layout": listing.layout,
        },
        "splits": {
            "digest": data.splits_digest,
            **cv,
            "published": prepared.published,
        },
        **({} if data.held_out is None else {"holdout": data.held_out.facts}),
        "pixels": {
            "key": prepared.pixels.digest,
            "seconds": prepared.pixels.seconds,
            "n_images": int(ok.sum()),
            "cached": prepared.pixels.cached,
            "side": suite.preprocessing.side,
        },
        "notes": list(prepared.notes),
        "environment": environment.describe(),
    }


def suite_digest(suite: dict[str, Any]) -> str:
    """SHA-256 of a suite as stored in run.json: of everything that decides a number, which excludes the family."""
    models = {name: {k: v for k, v in model.items() if k != "family"} for name, model in suite["models"].items()}
    known = {key: suite[key] for key in ("name", "description", "preprocessing", "cv")}
    return hashlib.sha256(json.dumps({**known, "models": models}, sort_keys=True).encode()).hexdigest()


def without_folders(command: str) -> str:
    """Return a command without the folders of its absolute paths, which reveal people and machines.

    >>> without_folders("bench run --all --data /home/ada/xray --out runs/a")
    'bench run --all --data …/xray --out runs/a'
    >>> without_folders("bench run --data=/home/ada/xray --mlflow http://ada:secret@host:5000")
    'bench run --data=…/xray --mlflow http://host:5000'
    """
    return " ".join(_without_folder(word) for word in shlex.split(command))


def _without_folder(word: str) -> str:
    """One word of a command, without the folders of a path, or the name and password of an address."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    value = re.sub(r"^(\w+://)[^/@]*@", r"\1", value)
    if not value and option:
        return word
    return f"{option}{equals}" + (f"…/{Path(value).name}" if Path(value).is_absolute() else shlex.quote(value))


def data_digest(manifest: pd.DataFrame) -> str:
    """SHA-256 over id, labels and the file's own hash of every image, excluded ones included."""
    rows = [
        f"{i}\0{'|'.join(labels)}\0{sha}"
        for i, labels, sha in zip(manifest["image_id"], manifest["labels"], manifest["sha256"], strict=True)
    ]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def open_run(
    folder: RunFolder, run: dict[str, Any], prepared: Prepared, note: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Start a run folder, or resume the run in it if its inputs are the same; models may be added.

    Damaged files are reported by `note` and rewritten. A run of an older schema is upgraded to this one.

    Raises
    ------
    StoreError
        Naming the first thing that differs.
    """
    before, wrong = folder.read_run()
    if before is None:
        if wrong:
            note(f"{folder.run_file}: {wrong}: rewriting it")
        _write_tables(folder, prepared)
        return folder.write_run(run)
    difference = _difference(before, run)
    if difference and not folder.has_cells():
        note(f"{folder.root}: was begun with {difference}, and holds no cell: starting it again")
        _write_tables(folder, prepared)
        return folder.write_run(run)
    if difference:
        raise StoreError(
            f"{folder.root}: was made with {difference}: give another --out, or repeat the old command: {before['command']}"
        )
    damaged = folder.damaged_tables(before)
    for name in damaged:
        note(f"{folder.root / name}: does not match its checksum: rewriting it")
    if damaged:
        _write_tables(folder, prepared)
    models = {**before["suite"]["models"], **run["suite"]["models"]}
    if damaged or models != before["suite"]["models"] or before["schema"] < SCHEMA:
        before = folder.write_run(_with_models(before, models))
    return before


def _with_models(run: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """Facts of a run that has these models, with the digest of its suite, if its description is known."""
    run = {**run, "suite": {**run["suite"], "models": models}}
    if "description" in run["suite"]:
        run["suite"]["digest"] = suite_digest(run["suite"])
    return run


def _write_tables(folder: RunFolder, prepared: Prepared) -> None:
    folder.write_table(MANIFEST, _with_greys(prepared)[list(MANIFEST_COLUMNS)])
    folder.write_table(SPLITS, prepared.data.splits)


def _with_greys(prepared: Prepared) -> pd.DataFrame:
    """Return the manifest with the mean and the standard deviation of each preprocessed image's grey values (0 to 255)."""
    manifest = prepared.manifest
    means, deviations = np.full(len(manifest), np.nan), np.full(len(manifest), np.nan)
    rows = np.flatnonzero(manifest["status"] == "ok")
    for start in range(0, len(rows), 1000):  # mapped from disk: a part at a time
        part, here = np.asarray(prepared.pixels.images[start : start + 1000]), rows[start : start + 1000]
        means[here], deviations[here] = part.mean(axis=(1, 2)), part.std(axis=(1, 2))
    return manifest.assign(grey_mean=means, grey_sd=deviations)


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """First difference between two runs, as text; None if they can share a folder."""
    checks: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
        ("seed", lambda run: run["seed"]),
        (
            "data",
            lambda run: (
                f"{run['data']['name']} of {run['data']['n_images']} images, digest {run['data']['digest'][:12]}"
            ),
        ),
        (
            "splits",
            lambda run: (
                f"{run['splits']['folds']} folds x {run['splits']['repeats']}, digest {run['splits']['digest'][:12]}"
            ),
        ),
        ("suite", lambda run: run["suite"]["name"]),
        (
            "held-out set",
            lambda run: (
                f"{run['holdout']['n_images']} images, digest {run['holdout']['digest'][:12]}"
                if "holdout" in run
                else "none"
            ),
        ),
    ]
    for what, value in checks:
        if value(before) != value(now):
            return f"another {what} ({value(before)}; now {value(now)})"
    for key, value in now["suite"]["preprocessing"].items():
        if before["suite"]["preprocessing"].get(key) != value:
            return f"other preprocessing ({key} = {before['suite']['preprocessing'].get(key)}; now {value})"
    for name, spec in now["suite"]["models"].items():
        old = before["suite"]["models"].get(name)
        for key in {**(old or {}), **spec}:
            if old is not None and key not in ("description", "family") and old.get(key) != spec.get(key):
                return f"other parameters of {name} ({key} = {old.get(key)}; now {spec.get(key)})"
    return None
