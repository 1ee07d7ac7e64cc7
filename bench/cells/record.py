"""The record of a cell: what is known in advance, the outcome, and the table of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.runs.format import probability_columns, truth_columns

Record = dict[str, Any]


@dataclass(frozen=True)
class CellResult:
    """The outcome of a cell.

    Attributes
    ----------
    record : dict
        As stored in cell.json.
    predictions : DataFrame or None
        Of the validation and the test part; None if nothing was predicted.
    save : callable or None
        Saves the model to a folder.
    """

    record: Record
    predictions: pd.DataFrame | None = None
    save: Callable[[Path], None] | None = None

    def failed(self, reason: str) -> CellResult:
        """Return the record of the same cell as failed."""
        return CellResult({**self.record, "status": "failed", "reason": reason})


def blank_timings(preprocess_seconds: float, n_test: int, jobs: int) -> Record:
    """Return the timings of a cell before anything is computed."""
    return {
        "preprocess_seconds": preprocess_seconds,
        "encode": [],
        "fit_seconds": None,
        "predict_seconds": [],
        "predict_images": n_test,
        "jobs": jobs,
    }


def blank_results() -> Record:
    """Return the model's entries in a cell's record before it is fitted."""
    return {
        "peak_memory_bytes": None,
        "n_parameters": None,
        "chosen": {},
        "history": [],
        "warnings": [],
        "weights": [],
    }


def prediction_table(
    part: str, image_ids: np.ndarray, y: np.ndarray, probability: np.ndarray, classes: Sequence[str]
) -> pd.DataFrame:
    """Return one part's labels and probabilities as they are stored.

    Parameters
    ----------
    part : str
        Such as ``test``.
    image_ids : ndarray of shape (n,)
    y : ndarray of shape (n, n_classes)
    probability : ndarray of shape (n, n_classes)
    classes : sequence of str

    Returns
    -------
    DataFrame
        Columns image_id, part, truth/CLASS and probability/CLASS (float64).

    Raises
    ------
    ValueError
        If the probabilities have another shape or are not finite.
    """
    expected = (len(image_ids), len(classes))
    if probability.shape != expected or not np.isfinite(probability).all():
        n_wrong = int((~np.isfinite(probability)).sum())
        raise ValueError(
            f"predict_proba gave shape {probability.shape} with {n_wrong} values that are not finite; expected {expected}"
        )
    columns: dict[str, Any] = {"image_id": image_ids, "part": part}
    columns |= {name: y[:, k] for k, name in enumerate(truth_columns(classes))}
    columns |= {name: probability[:, k].astype(np.float64) for k, name in enumerate(probability_columns(classes))}
    return pd.DataFrame(columns)
