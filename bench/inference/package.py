"""A model as a folder: everything needed to predict, and nothing that runs when it is opened.

    model.json              classes, preprocessing, encoders, head, decision rule, training data and tests; sealed
    README.md               the same for readers: the model card
    encoders/K.safetensors  weights of the K-th encoder, where it has any
    head/                   what the head learned: safetensors, XGBoost's own binary JSON, JSON
    references.safetensors  encodings of the images that a kernel machine compares with
    ood.safetensors         descriptions of training images, for the out-of-distribution score
    descriptor.safetensors  a small network that describes images for a model without one of its own
    model.onnx              from images to probabilities in one graph, where every part of the model is a network
    SHA256SUMS              as ``sha256sum --check`` reads it

Arrays are safetensors, facts are JSON. Nothing is a pickle.

Schema 1 called the last two arrays ``strangeness`` and ``watch``, and used other words in model.json (`_WORDS_1`); it can still be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.disk import damage
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bench.errors import UserError
from reports.runs.format import is_sealed, sealed

SCHEMA = 2
FACTS, CARD, ONNX = "model.json", "README.md", "model.onnx"
OOD, DESCRIPTOR = "ood.safetensors", "descriptor.safetensors"
_FILES_1 = {OOD: "strangeness.safetensors", DESCRIPTOR: "watch.safetensors"}
_WORDS_1 = {"view": "descriptor", "watch": "descriptor_network"}
_RULE_WORDS_1 = {"sure_from": "confidence_threshold", "most": "max_confidence"}
_FIELDS = ("name", "family", "task", "classes", "mirror", "preprocessing", "encoders", "head", "decision")


class PackageError(UserError):
    """A model folder that cannot be used; one line that names the file and the way out."""


def encoder_file(folder: Path, k: int) -> Path:
    """Return the file with the weights of the k-th encoder."""
    return folder / "encoders" / f"{k}.safetensors"


def head_folder(folder: Path) -> Path:
    """Return the folder of the head's learned state."""
    return folder / "head"


def array_file(folder: Path, name: str) -> Path:
    """Return the path of `OOD` or `DESCRIPTOR`, under the name that it had in schema 1 where the folder has that."""
    before = folder / _FILES_1[name]
    return before if before.is_file() else folder / name


def is_package(folder: Path) -> bool:
    """Whether a path is a model folder."""
    return (folder / FACTS).is_file()


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write model.json with its seal."""
    (folder / FACTS).write_text(json.dumps(sealed({**facts, "schema": SCHEMA}), indent=1), encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the facts of a model folder, in the words of the newest schema.

    Parameters
    ----------
    folder : Path
        The model; every file of it is compared with its checksum.

    Returns
    -------
    dict
        Content of model.json.

    Raises
    ------
    PackageError
        If there is no model, it is of a newer schema, or a file was changed, damaged, added or removed.
    """
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        schema = int(facts["schema"])
    except OSError as error:
        hint = "this is a run: export a model of it with bench export" if _is_run(folder) else "is this a model?"
        raise PackageError(f"{path}: {error.strerror}: {hint}") from None
    except (ValueError, KeyError, TypeError):
        raise PackageError(f"{path}: damaged: export the model again") from None
    if schema > SCHEMA:
        raise PackageError(f"{path}: written with schema {schema}; this version reads up to {SCHEMA}: update xraybench")
    damaged = damage(folder) if is_sealed(facts) else f"{FACTS}: was changed or damaged"
    if damaged:
        raise PackageError(f"{folder / damaged}: export or copy the model again")
    missing = next((key for key in _FIELDS if key not in facts), None)
    if missing:
        raise PackageError(f"{path}: lacks {missing!r}: export the model again")
    return facts if schema == SCHEMA else _migrated(facts)


def _is_run(folder: Path) -> bool:
    return (folder / "run.json").is_file()


def _migrated(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts of schema 1 in the words of schema 2."""
    rule = {_RULE_WORDS_1.get(key, key): value for key, value in dict(facts["decision"]).items()}
    return {_WORDS_1.get(key, key): value for key, value in facts.items()} | {"decision": rule}


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as safetensors; safetensors' own `save_file` makes files that only their owner can read."""
    file.write_bytes(save({name: np.ascontiguousarray(value) for name, value in arrays.items()}))


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    dict of str to ndarray
        The arrays by name.

    Raises
    ------
    PackageError
        If it is not a safetensors file.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise PackageError(f"{file}: cannot be read ({error}): export the model again") from None
