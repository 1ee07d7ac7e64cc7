"""A model as a folder: everything that it needs to predict, nothing that runs when it is opened.

    model.json              classes, preprocessing, encoders, head, decision, what it was trained on and how it was tested; sealed
    README.md               the same for people: the model card
    encoders/K.safetensors  weights of the K-th encoder, where it has any
    head/                   what the head learned: safetensors, XGBoost's own binary JSON, JSON
    references.safetensors  encodings of the images that a kernel machine compares with
    ood.safetensors         descriptions of training images, for the out-of-distribution score
    model.onnx              from images to probabilities in one graph, where every part of the model is a network
    SHA256SUMS              as ``sha256sum --check`` reads it

Arrays are safetensors, facts are JSON. Nothing is a pickle.
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
from bench.store.run_folder import is_sealed, sealed

SCHEMA = 1
_FIELDS = ("name", "family", "task", "classes", "mirror", "preprocessing", "encoders", "head", "decision")
FACTS, CARD, ONNX = "model.json", "README.md", "model.onnx"


class PackageError(UserError):
    """A model folder that cannot be used; one line that names the file and the way out."""


def encoder_file(folder: Path, k: int) -> Path:
    """Weights of the k-th encoder."""
    return folder / "encoders" / f"{k}.safetensors"


def head_folder(folder: Path) -> Path:
    """Where the head keeps what it learned."""
    return folder / "head"


def is_package(folder: Path) -> bool:
    """Whether a path is a model folder."""
    return (folder / FACTS).is_file()


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write model.json with its seal."""
    (folder / FACTS).write_text(json.dumps(sealed({"schema": SCHEMA, **facts}), indent=1), encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """Facts of a model folder, every file of which is as it was written.

    Raises
    ------
    PackageError
        If there is no model, it is of a newer schema, or a file was changed, damaged, added or taken away.
    """
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        schema = int(facts["schema"])
    except OSError as error:
        hint = (
            "it is a run: bench export makes a model of it" if (folder / "run.json").is_file() else "is this a model?"
        )
        raise PackageError(f"{path}: {error.strerror}: {hint}") from None
    except (ValueError, KeyError, TypeError):
        raise PackageError(f"{path}: damaged: export the model again") from None
    if schema > SCHEMA:
        raise PackageError(f"{path}: written with schema {schema}; this version reads up to {SCHEMA}: update xraybench")
    damaged = damage(folder) if is_sealed(facts) else f"{FACTS}: is not as it was written"
    if damaged:
        raise PackageError(f"{folder / damaged}: export or copy the model again")
    lacking = next((key for key in _FIELDS if key not in facts), None)
    if lacking:
        raise PackageError(f"{path}: lacks {lacking!r}: export the model again")
    return facts


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as safetensors; its own `save_file` makes files that nobody but their owner can read."""
    file.write_bytes(save({name: np.ascontiguousarray(value) for name, value in arrays.items()}))


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file.

    Raises
    ------
    PackageError
        If it is not one.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise PackageError(f"{file}: cannot be read ({error}): export the model again") from None
