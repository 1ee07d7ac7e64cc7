"""Read a run folder: every file checked, nothing computed.

A run folder may come from another machine or from another person. It is read as data only, no path in it leads outside,
and a file that does not fit the rest is refused by name.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SCHEMAS = (1, 2)  # the last is written today; the first has no seals, and checksums of cells' files alone
RECOMPUTE = "run the same `bench run` again: it recomputes the cell"

_LOOKS = "holdout/looks.json"

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
_FAMILIES = {"floor": "dummy"}  # words of older versions


class ResultsError(Exception):
    """A run folder that cannot be reported; the message is one line that names the file and the way out."""


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
    """All that a run folder holds.

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
        of the pretrained weights that it started from (a list, empty where an older version did not say).
    predictions : dict
        (model, repeat, fold) -> DataFrame with image_id, part and `truth/CLASS`, `probability/CLASS`; cells done only.
    samples : tuple of Sample
    held_out : dict
        model -> what holdout.json says, and its predictions on the held-out images (image_id, group, `truth/CLASS`, `probability/CLASS`) or
        None where it could not be tested.
    looks : tuple of dict
        Each time that the held-out images were looked at: when, and the models.
    """

    path: Path
    run: dict[str, Any]
    manifest: pd.DataFrame
    splits: pd.DataFrame
    cells: pd.DataFrame
    predictions: dict[CellKey, pd.DataFrame]
    samples: tuple[Sample, ...]
    held_out: dict[str, tuple[dict[str, Any], pd.DataFrame | None]] = field(default_factory=dict)
    looks: tuple[dict[str, Any], ...] = ()

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
    description = _json(root, "run.json")
    _require(description, ("run_id", "suite", "data", "splits", "seed"), "run.json")
    _require(description["suite"], ("name", "models"), "run.json, suite")
    _require(description["data"], ("name", "task", "classes", "at_least_one", "n_images", "n_groups"), "run.json, data")
    _require(description["splits"], ("digest", "folds", "repeats"), "run.json, splits")
    if description["schema"] > 1:
        _require(description, ("files",), "run.json")
        _require(description["files"], ("manifest.parquet", "splits.parquet"), "run.json, files")
    for model in description["suite"]["models"].values():
        model["family"] = _FAMILIES.get(model["family"], model["family"])
    files = description.get("files")
    splits = _table(root, "splits.parquet", SPLIT_COLUMNS, files)
    cells, predictions = _cells(root, description, splits)
    return Results(
        path=root,
        run=description,
        manifest=_table(root, "manifest.parquet", MANIFEST_COLUMNS, files),
        splits=splits,
        cells=cells,
        predictions=predictions,
        samples=tuple(_samples(root, _pictures(root, description["schema"]))),
        held_out=dict(_held_out(root, description)),
        looks=tuple(_json(root, _LOOKS)["looks"]) if _inside(root, _LOOKS).is_file() else (),
    )


def thumbnails(results: Results) -> dict[str, bytes]:
    """Small pictures by image_id, WebP files; empty where the run keeps none. What is no WebP file is left out.

    Raises
    ------
    ResultsError
        If thumbnails.parquet is there and cannot be read, or is not as it was written.
    """
    if not _inside(results.path, "thumbnails.parquet").is_file():
        return {}
    table = _table(
        results.path, "thumbnails.parquet", ("image_id", "webp"), _pictures(results.path, results.run["schema"])
    )
    return {
        image: picture
        for image, picture in zip(table["image_id"], table["webp"], strict=True)
        if isinstance(picture, bytes) and picture[:4] == b"RIFF" and picture[8:12] == b"WEBP"
    }


def _cells(root: Path, run: dict[str, Any], splits: pd.DataFrame) -> tuple[pd.DataFrame, dict[CellKey, pd.DataFrame]]:
    members = {place: rows.set_index("image_id")["part"] for place, rows in splits.groupby(["repeat", "fold"])}
    rows, predictions = [], {}
    for key, folder in _cell_folders(root, run):
        cell = _json(root, f"{folder}/cell.json")
        _require(cell, ("model", "repeat", "fold", *CELL_FIELDS, "checksums"), f"{folder}/cell.json")
        if (cell["model"], cell["repeat"], cell["fold"]) != key:
            raise ResultsError(f"{folder}/cell.json describes another cell; remove the folder and {RECOMPUTE}")
        _check_origin(cell, run, f"{folder}/cell.json")
        row = {name: cell[name] for name in ("model", "repeat", "fold", *CELL_FIELDS)}
        rows.append(row | {"family": _FAMILIES.get(row["family"], row["family"]), "weights": cell.get("weights", [])})
        if cell["status"] == "done":
            predictions[key] = _predictions(root, folder, cell, run["data"]["classes"], members.get(key[1:]))
    return pd.DataFrame(rows, columns=["model", "repeat", "fold", *CELL_FIELDS, "weights"]), predictions


def _held_out(root: Path, run: dict[str, Any]) -> Iterator[tuple[str, tuple[dict[str, Any], pd.DataFrame | None]]]:
    """Results of the last test, of the images that the run held out."""
    for model in run["suite"]["models"]:
        name = f"holdout/{model}/holdout.json"
        if "holdout" not in run or not _inside(root, name).is_file():
            continue
        record = _json(root, name)
        _require(record, ("model", "status", "reason", "holdout", "checksums"), name)
        if record["model"] != model or record["holdout"] != run["holdout"]["digest"]:
            raise ResultsError(
                f"{name} is of another model or other held-out images; remove its folder and {RECOMPUTE}"
            )
        table = None
        if record["status"] == "done":
            file = f"holdout/{model}/predictions.parquet"
            columns = [f"{kind}/{label}" for kind in ("truth", "probability") for label in run["data"]["classes"]]
            content = _bytes(root, file)
            if hashlib.sha256(content).hexdigest() != record["checksums"].get("predictions.parquet"):
                raise ResultsError(f"{file} does not match its checksum; {RECOMPUTE}")
            table = _parquet(content, file, ("image_id", "group", *columns))
        yield model, (record, table)


def _check_origin(cell: dict[str, Any], run: dict[str, Any], name: str) -> None:
    """Refuse a cell that was made of other splits, pixels, parameters or another seed than the run; schema 1 does not say."""
    if cell["schema"] == 1:
        return
    _require(cell, ("made_of",), name)
    spec = {
        key: value
        for key, value in run["suite"]["models"][cell["model"]].items()
        if key not in ("family", "description")
    }
    ours = {
        "splits": run["splits"]["digest"],
        "pixels": run["pixels"]["key"],
        "model": hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest(),
        "seed": run["seed"],
    }
    for what, value in ours.items():
        if cell["made_of"].get(what) != value:
            raise ResultsError(f"{name} is of another run (other {what}); remove its folder and {RECOMPUTE}")


def _cell_folders(root: Path, run: dict[str, Any]) -> Iterator[tuple[CellKey, str]]:
    for model in run["suite"]["models"]:
        for repeat in range(run["splits"]["repeats"]):
            for fold in range(run["splits"]["folds"]):
                folder = f"cells/{model}/r{repeat}-f{fold}"
                if _inside(root, folder).is_dir():
                    yield (model, repeat, fold), folder


def _predictions(
    root: Path, folder: str, cell: dict[str, Any], classes: list[str], parts: pd.Series | None
) -> pd.DataFrame:
    name = f"{folder}/predictions.parquet"
    content = _bytes(root, name)
    if hashlib.sha256(content).hexdigest() != cell["checksums"].get("predictions.parquet"):
        raise ResultsError(f"{name} does not match its checksum; {RECOMPUTE}")
    columns = [f"{kind}/{label}" for kind in ("truth", "probability") for label in classes]
    frame = _parquet(content, name, ("image_id", "part", *columns))
    for part in ("test", "valid"):
        named = frame.loc[frame["part"] == part, "image_id"]
        if parts is None or sorted(named) != sorted(parts.index[parts == part]):
            raise ResultsError(f"{name} is not for the {part} part in splits.parquet; remove {folder} and {RECOMPUTE}")
    if not frame["part"].isin(("test", "valid")).all():
        raise ResultsError(f"{name} has rows of neither test nor valid part; remove {folder} and {RECOMPUTE}")
    if not np.isfinite(frame[columns].to_numpy(dtype=float)).all():
        raise ResultsError(f"{name} has a probability that is not a number; remove {folder} and {RECOMPUTE}")
    return frame


def _pictures(root: Path, schema: int) -> dict[str, str] | None:
    """SHA-256 of each picture file; None where the first schema does not say."""
    if _inside(root, "pictures.json").is_file():
        content = _json(root, "pictures.json")
        _require(content, ("files",), "pictures.json")
        return content["files"]
    if schema > 1 and any(_inside(root, name).exists() for name in ("samples", "thumbnails.parquet")):
        raise ResultsError(
            f"{root / 'pictures.json'}: is not there, so that nobody knows whose pictures these are; "
            "run the same `bench run` again: it makes them again, or remove samples and thumbnails.parquet"
        )
    return {} if schema > 1 else None


def _samples(root: Path, known: dict[str, str] | None) -> Iterator[Sample]:
    if not _inside(root, "samples/samples.json").is_file():
        return
    _checked(_bytes(root, "samples/samples.json"), "samples/samples.json", known)
    for entry in _json(root, "samples/samples.json", versioned=False):
        _require(entry, ("image_id", "labels", "before", "after", "augmented"), "samples/samples.json")
        before, after, *augmented = (
            _inside(root, f"samples/{name}") for name in (entry["before"], entry["after"], *entry["augmented"])
        )
        for path in (before, after, *augmented):
            _checked(_bytes(root, f"samples/{path.name}"), f"samples/{path.name}", known)
        yield Sample(entry["image_id"], tuple(entry["labels"]), before, after, tuple(augmented))


def _json(root: Path, name: str, *, versioned: bool = True) -> Any:
    try:
        content = json.loads(_bytes(root, name))
    except ValueError as error:
        raise ResultsError(f"{name} is not valid JSON ({error}); copy it again from where the run was made") from None
    if versioned:
        _require(content, ("schema",), name)
        if content["schema"] not in SCHEMAS:
            raise ResultsError(
                f"{name} has schema {content['schema']!r} and this xraybench reads schemas up to {SCHEMAS[-1]}; "
                "use the version of xraybench that made the run, or a later one"
            )
        if (content["schema"] > 1 or "seal" in content) and content.get("seal") != seal(content):
            raise ResultsError(f"{name} does not fit its seal: it was changed or damaged; {RECOMPUTE}")
    return content


def seal(content: dict[str, Any]) -> str:
    """SHA-256 of everything in a file but its seal, from schema 2 on."""
    rest = {key: value for key, value in content.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _table(root: Path, name: str, columns: tuple[str, ...], known: dict[str, str] | None) -> pd.DataFrame:
    return _parquet(_checked(_bytes(root, name), name, known), name, columns)


def _checked(content: bytes, name: str, known: dict[str, str] | None) -> bytes:
    """Return the content of a file if it fits its checksum; where some are known, of a file that is not among them there is none to fit."""
    if known is not None and hashlib.sha256(content).hexdigest() != known.get(name):
        raise ResultsError(
            f"{name} does not match its checksum; {RECOMPUTE.replace('recomputes the cell', 'makes it again')}"
        )
    return content


def _parquet(content: bytes, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # noqa: BLE001 - pyarrow raises what it pleases on damaged files
        raise ResultsError(
            f"{name} cannot be read ({' '.join(str(error).split())[:200]}); copy the run folder again"
        ) from None
    _require(dict.fromkeys(frame.columns), columns, name)
    return frame


def _bytes(root: Path, name: str) -> bytes:
    try:
        return _inside(root, name).read_bytes()
    except OSError as error:
        raise ResultsError(
            f"{root / name}: {error.strerror}; is this a run folder? `bench list runs` names those here"
        ) from None


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ResultsError(f"{root / name} leads outside of the run folder; nothing is read from there")
    return path


def _require(content: Any, keys: tuple[str, ...], name: str) -> None:
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise ResultsError(f"{name} lacks {missing[0]!r}; it was not written by `bench run`, or was changed since")
