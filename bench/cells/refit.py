"""A cell's head fitted once more, to training and validation part together, with everything that the validation part chose."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.cells.inputs import Parts
from bench.recipes import contract


def check_refits(head: object, class_: str) -> contract.RefittableHead:
    """Return the head, as one that can be fitted without a validation part.

    Raises
    ------
    TypeError
        If it cannot.
    """
    if not isinstance(head, contract.RefittableHead):
        raise TypeError(f"refit = true, but {class_} has no refit(X, y, folds, seed)")
    return head


def refit_parts(parts: Parts) -> Parts:
    """Return the parts of the second fit: the validation part joins the training part, in the order of the data."""
    return Parts(np.sort(np.concatenate([parts.train, parts.valid])), parts.valid[:0], parts.test)


def choice_of(head: object) -> dict[str, Any]:
    """Return what a fitted head chose, as `RefittableHead.refit` takes it: `chosen_`, and what the JSON files that `save` writes hold."""
    if not isinstance(head, contract.SavableHead):
        return dict(contract.chosen(head))
    with tempfile.TemporaryDirectory(prefix="xraybench-") as folder:
        head.save(Path(folder))
        return contract.chosen(head) | saved_facts(Path(folder).glob("*.json"))


def saved_facts(files: Iterable[Path]) -> dict[str, Any]:
    """Return the content of a saved head's JSON files, joined."""
    facts: dict[str, Any] = {}
    for path in sorted(files):
        content = json.loads(path.read_text(encoding="utf-8"))
        facts |= content if isinstance(content, dict) else {}
    return facts
