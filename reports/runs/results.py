"""Read a run folder: every file checked, nothing computed.

A run folder may come from another machine or from another person. It is read as data only, no path in it leads outside,
and an inconsistent file is refused by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.runs import format as layout
from reports.runs.format import CELL, MANIFEST, PICTURES, PREDICTIONS, RUN, SPLITS, THUMBNAILS
from reports.runs.reader import (
    RECOMPUTE,
    ResultsError,
    checked,
    inside,
    read_bytes,
    read_checked_table,
    read_json,
    read_table,
    require,
)

__all__ = ["RECOMPUTE", "Results", "ResultsError", "Sample", "load", "thumbnails"]

CellKey = tuple[str, int, int]  # model, repeat, fold

MANIFEST_COLUMNS = ("image_id", "file", "labels", "group", "status", "reason")
SPLIT_COLUMNS = ("image_id", "repeat", "fold", "part")
CELL_FIELDS = (
    "family",
    "status",
    "reason",
    "traceback",
    "n_train",
    "n_valid",
    "n_test",
    "timings",
    "peak_memory_bytes",
)
CELL_FIELDS += ("n_parameters", "model_bytes", "chosen", "history", "warnings")


@dataclass(frozen=True)
class Sample:
    """One image of the data set before and after the shared preprocessing, and augmented."""

    image_id: str
    labels: tuple[str, ...]
    before: Path
    after: Path
    augmented: tuple[Path, ...]


@dataclass(frozen=True)
class Results:
    """Content of a run folder.

    Attributes
    ----------
    path : Path
        The run folder.
    run : dict
        `run.json`.
    manifest : DataFrame
        One row per image: image_id, file, labels, group, status, reason.
    splits : DataFrame
        One row per image, repeat and fold, with its part.
    cells : DataFrame
        One row per cell on disk, whether done, failed or skipped; columns model, repeat, fold, `CELL_FIELDS` and weights: what is known
        of the pretrained weights that it started from (a list, empty where an older version did not say), and refit: of a model that is
        refitted to training and validation part, a dict with n_train; else None.
    predictions : dict
        (model, repeat, fold) -> DataFrame with image_id, part and `truth/CLASS`, `probability/CLASS`; cells done only.
    samples : tuple of Sample
    held_out : dict
        model -> what holdout.json says, and its predictions on the held-out images (image_id, group, `truth/CLASS`, `probability/CLASS`) or
        None where it could not be tested.
    test_accesses : tuple of dict
        Each access to the test set (the held-out images): ``when``, and which ``models``.
    """

    path: Path
    run: dict[str, Any]
    manifest: pd.DataFrame
    splits: pd.DataFrame
    cells: pd.DataFrame
    predictions: dict[CellKey, pd.DataFrame]
    samples: tuple[Sample, ...]
    held_out: dict[str, tuple[dict[str, Any], pd.DataFrame | None]] = field(default_factory=dict)
    test_accesses: tuple[dict[str, Any], ...] = ()

    @property
    def data(self) -> dict[str, Any]:
        """What `run.json` says about the data set."""
        return self.run["data"]

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of every array of shape (n, n_classes)."""
        return self.data["classes"]

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """The suite's models by name, in the order of display."""
        return self.run["suite"]["models"]

    @property
    def decision(self) -> str:
        """Rule by which labels are decided where an image may have several: of `reports.runs.format.DECISIONS`."""
        return layout.decision_rule(self.run["suite"]) if self.data["task"] == "multilabel" else layout.THRESHOLD

    @property
    def refitted(self) -> list[str]:
        """Models whose test predictions come from a second fit, to training and validation part."""
        return [name for name, model in self.models.items() if model.get("refit")]

    @property
    def groups(self) -> pd.Series:
        """The group (patient) of each image, indexed by image_id."""
        return self.manifest.set_index("image_id")["group"]

    @property
    def n_planned(self) -> int:
        """Cells that each model has when the run is whole: folds × repeats."""
        return self.run["splits"]["folds"] * self.run["splits"]["repeats"]


def load(run: Path) -> Results:
    """Read and check a run folder.

    Parameters
    ----------
    run : Path

    Returns
    -------
    Results

    Raises
    ------
    ResultsError
        If a file is missing, damaged, of a newer schema or does not belong to this run.
    """
    root = Path(run)
    facts = _run(root)
    files = facts.get("files")
    splits = read_table(root, SPLITS, SPLIT_COLUMNS, files)
    cells, predictions = _cells(root, facts, splits)
    return Results(
        path=root,
        run=facts,
        manifest=read_table(root, MANIFEST, MANIFEST_COLUMNS, files),
        splits=splits,
        cells=cells,
        predictions=predictions,
        samples=tuple(_samples(root, _pictures(root, facts["schema"]))),
        held_out=dict(_held_out(root, facts)),
        test_accesses=_test_accesses(root),
    )


def thumbnails(results: Results) -> dict[str, bytes]:
    """Small pictures by image_id, WebP files; empty where the run keeps none. Other formats are left out.

    Raises
    ------
    ResultsError
        If thumbnails.parquet exists and cannot be read, or is damaged.
    """
    if not inside(results.path, THUMBNAILS).is_file():
        return {}
    known = _pictures(results.path, results.run["schema"])
    table = read_table(results.path, THUMBNAILS, ("image_id", "webp"), known)
    return {
        image: picture
        for image, picture in zip(table["image_id"], table["webp"], strict=True)
        if isinstance(picture, bytes) and picture[:4] == b"RIFF" and picture[8:12] == b"WEBP"
    }


def _run(root: Path) -> dict[str, Any]:
    """Return run.json with all that a report needs, in the words of the current schema."""
    facts = read_json(root, RUN)
    require(facts, ("run_id", "suite", "data", "splits", "seed"), RUN)
    require(facts["suite"], ("name", "models"), f"{RUN}, suite")
    if layout.decision_rule(facts["suite"]) not in layout.DECISIONS:
        raise ResultsError(
            f"{RUN}: has the decision rule {facts['suite']['decision']!r}, which this version does not know: update xraybench"
        )
    require(facts["data"], ("name", "task", "classes", "at_least_one", "n_images", "n_groups"), f"{RUN}, data")
    require(facts["splits"], ("digest", "folds", "repeats"), f"{RUN}, splits")
    if facts["schema"] > 1:
        require(facts, ("files",), RUN)
        require(facts["files"], layout.TABLES, f"{RUN}, files")
    return layout.upgrade_run(facts)


def _cells(root: Path, run: dict[str, Any], splits: pd.DataFrame) -> tuple[pd.DataFrame, dict[CellKey, pd.DataFrame]]:
    members = {place: rows.set_index("image_id")["part"] for place, rows in splits.groupby(["repeat", "fold"])}
    rows, predictions = [], {}
    for key, folder in _cell_folders(root, run):
        name = f"{folder}/{CELL}"
        cell = layout.upgrade_cell(read_json(root, name))
        require(cell, ("model", "repeat", "fold", *CELL_FIELDS, "checksums"), name)
        if (cell["model"], cell["repeat"], cell["fold"]) != key:
            raise ResultsError(f"{name} describes another cell; remove the folder and {RECOMPUTE}")
        _check_provenance(cell, run, name)
        row = {field: cell[field] for field in ("model", "repeat", "fold", *CELL_FIELDS)}
        rows.append(row | {"weights": cell.get("weights", []), "refit": cell.get("refit")})
        if cell["status"] == "done":
            predictions[key] = _predictions(root, folder, cell, run["data"]["classes"], members.get(key[1:]))
    return pd.DataFrame(rows, columns=["model", "repeat", "fold", *CELL_FIELDS, "weights", "refit"]), predictions


def _held_out(root: Path, run: dict[str, Any]) -> Iterator[tuple[str, tuple[dict[str, Any], pd.DataFrame | None]]]:
    """Results of the final test, on the images that the run held out."""
    for model in run["suite"]["models"]:
        folder = layout.holdout_path(model)
        name = f"{folder}/{layout.HOLDOUT_RECORD}"
        if "holdout" not in run or not inside(root, name).is_file():
            continue
        record = read_json(root, name)
        require(record, ("model", "status", "reason", "holdout", "checksums"), name)
        if record["model"] != model or record["holdout"] != run["holdout"]["digest"]:
            raise ResultsError(
                f"{name} is of another model or other held-out images; remove its folder and {RECOMPUTE}"
            )
        table = None
        if record["status"] == "done":
            columns = ("image_id", "group", *_value_columns(run["data"]["classes"]))
            digest = record["checksums"].get(PREDICTIONS)
            table = read_checked_table(root, f"{folder}/{PREDICTIONS}", digest, columns)
        yield model, (record, table)


def _test_accesses(root: Path) -> tuple[dict[str, Any], ...]:
    for name in (layout.TEST_ACCESS, layout.OLD_TEST_ACCESS):
        path = f"{layout.HOLDOUT}/{name}"
        if inside(root, path).is_file():
            log = read_json(root, path)
            require(log, ("looks" if log["schema"] < 3 else "accesses",), path)
            return tuple(layout.upgrade_test_access(log))
    return ()


def _check_provenance(cell: dict[str, Any], run: dict[str, Any], name: str) -> None:
    """Refuse a cell with other splits, pixels, parameters or another seed than the run; schema 1 does not state them."""
    if cell["schema"] == 1:
        return
    require(cell, ("provenance",), name)
    expected = {
        "splits": run["splits"]["digest"],
        "pixels": run["pixels"]["key"],
        "model": layout.model_digest(run["suite"]["models"][cell["model"]]),
        "seed": run["seed"],
    }
    for what, value in expected.items():
        if cell["provenance"].get(what) != value:
            raise ResultsError(f"{name} is of another run (other {what}); remove its folder and {RECOMPUTE}")


def _cell_folders(root: Path, run: dict[str, Any]) -> Iterator[tuple[CellKey, str]]:
    for model in run["suite"]["models"]:
        for repeat in range(run["splits"]["repeats"]):
            for fold in range(run["splits"]["folds"]):
                folder = layout.cell_path(model, repeat, fold)
                if inside(root, folder).is_dir():
                    yield (model, repeat, fold), folder


def _predictions(
    root: Path, folder: str, cell: dict[str, Any], classes: list[str], parts: pd.Series | None
) -> pd.DataFrame:
    name = f"{folder}/{PREDICTIONS}"
    columns = _value_columns(classes)
    frame = read_checked_table(root, name, cell["checksums"].get(PREDICTIONS), ("image_id", "part", *columns))
    for part in ("test", "valid"):
        named = frame.loc[frame["part"] == part, "image_id"]
        if parts is None or sorted(named) != sorted(parts.index[parts == part]):
            raise ResultsError(f"{name} is not for the {part} part in {SPLITS}; remove {folder} and {RECOMPUTE}")
    if not frame["part"].isin(("test", "valid")).all():
        raise ResultsError(f"{name} has rows of neither test nor valid part; remove {folder} and {RECOMPUTE}")
    if not np.isfinite(frame[columns].to_numpy(dtype=float)).all():
        raise ResultsError(f"{name} has a probability that is not a number; remove {folder} and {RECOMPUTE}")
    return frame


def _value_columns(classes: list[str]) -> list[str]:
    return [*layout.truth_columns(classes), *layout.probability_columns(classes)]


def _pictures(root: Path, schema: int) -> dict[str, str] | None:
    """SHA-256 of each picture file; None in the first schema, which does not state it."""
    if inside(root, PICTURES).is_file():
        content = read_json(root, PICTURES)
        require(content, ("files",), PICTURES)
        return content["files"]
    if schema > 1 and any(inside(root, name).exists() for name in (layout.SAMPLES, THUMBNAILS)):
        raise ResultsError(
            f"{root / PICTURES}: is missing, so the origin of the pictures is unknown; "
            "repeat the same `bench run`, which recreates them, or remove samples and thumbnails.parquet"
        )
    return {} if schema > 1 else None


def _samples(root: Path, known: dict[str, str] | None) -> Iterator[Sample]:
    listing = f"{layout.SAMPLES}/{layout.SAMPLE_LIST}"
    if not inside(root, listing).is_file():
        return
    checked(read_bytes(root, listing), listing, known)
    for entry in read_json(root, listing, versioned=False):
        require(entry, ("image_id", "labels", "before", "after", "augmented"), listing)
        names = (entry["before"], entry["after"], *entry["augmented"])
        before, after, *augmented = (inside(root, f"{layout.SAMPLES}/{name}") for name in names)
        for path in (before, after, *augmented):
            name = f"{layout.SAMPLES}/{path.name}"
            checked(read_bytes(root, name), name, known)
        yield Sample(entry["image_id"], tuple(entry["labels"]), before, after, tuple(augmented))
