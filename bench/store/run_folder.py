"""The run folder: who writes what where. A cell is whole, with matching checksums, or absent.

Names, schemas and seals are those of `reports.runs.format`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from radiographs.disk import fresh_folder, naming, remove_leftovers, sha256, write_file, write_whole

from bench.errors import UserError, one_line
from reports.runs import format as layout
from reports.runs.format import SCHEMA, TABLES, is_sealed, sealed

_NAMES = {
    *TABLES,
    layout.CELLS,
    layout.SAMPLES,
    layout.THUMBNAILS,
    layout.PICTURES,
    layout.REPORT,
    layout.HOLDOUT,
    layout.EXPLANATIONS,
}


class StoreError(UserError):
    """A run folder that cannot be used as requested."""


class ModelNotSavedError(Exception):
    """A model that its own code could not save; its cell fails."""


@dataclass(frozen=True)
class Cell:
    """The unit of work, of resuming and of failure."""

    model: str
    repeat: int
    fold: int

    @property
    def name(self) -> str:
        """Such as ``hog-svm r0-f3``."""
        return f"{self.model} {layout.fold_name(self.repeat, self.fold)}"


@dataclass(frozen=True)
class RunFolder:
    """Decides every path of a run, and writes whole files or none."""

    root: Path

    @property
    def run_file(self) -> Path:
        """The facts of the run."""
        return self.root / layout.RUN

    @property
    def samples(self) -> Path:
        """Pictures before and after preprocessing, for the report."""
        return self.root / layout.SAMPLES

    @property
    def thumbnails(self) -> Path:
        """A small picture of each image, for the report."""
        return self.root / layout.THUMBNAILS

    @property
    def pictures(self) -> Path:
        """Checksums of the pictures."""
        return self.root / layout.PICTURES

    def cell_folder(self, cell: Cell) -> Path:
        """Return the folder of a cell's result."""
        return self.root / layout.cell_path(cell.model, cell.repeat, cell.fold)

    def has_cells(self) -> bool:
        """Whether any cell has been written."""
        return any(self.root.glob("cells/*/*/cell.json"))

    def holdout_folder(self, model: str) -> Path:
        """Return the folder of a model's result on the held-out images, and of the model itself."""
        return self.root / layout.holdout_path(model)

    def make(self) -> None:
        """Make the folder and check that it can be written to.

        Raises
        ------
        StoreError
            If it cannot, or if the folder holds something else.
        """
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"{self.root}: is a file: give another --out")
        if self.root.is_dir() and not self._is_ours():
            raise StoreError(f"{self.root}: holds files but no run: give another --out")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as stream:
                stream.write(b"writable")
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be written to ({error.strerror}): give another --out") from None

    def _is_ours(self) -> bool:
        """Whether the folder is a run's, or empty except for remains of a run that was killed at its start."""
        names = {path.name for path in self.root.iterdir() if not path.name.startswith(".tmp-")}
        return not names or not names.isdisjoint({layout.RUN, "lock"}) or names <= _NAMES

    def read_run(self) -> tuple[dict[str, Any] | None, str | None]:
        """Return run.json if it is whole, otherwise None and what is wrong (None if there is nothing).

        Its words are those of the current schema; `schema` is that of the file.

        Raises
        ------
        StoreError
            If it is of a newer schema.
        """
        if not self.run_file.exists():
            return None, None
        try:
            run = json.loads(self.run_file.read_text(encoding="utf-8"))
            schema = int(run["schema"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, "damaged"
        if schema > SCHEMA:
            raise StoreError(
                f"{self.run_file}: written with schema {schema}; this version reads up to schema {SCHEMA}: update xraybench"
            )
        return (layout.upgrade_run(run), None) if layout.is_intact(run, schema) else (None, "does not match its seal")

    def write_run(self, run: dict[str, Any]) -> dict[str, Any]:
        """Write run.json whole, with the checksums of the existing tables, and return it."""
        files = {name: sha256(self.root / name) for name in TABLES}
        run = sealed({**run, "schema": SCHEMA, "files": files})
        write_whole(self.run_file, json.dumps(run, indent=1))
        return run

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a Parquet file whole, under its name with the ending."""
        write_file(self.root / name, lambda path: table.to_parquet(path, index=False))

    def damaged_tables(self, run: dict[str, Any]) -> list[str]:
        """Return the names of tables that do not match run.json; unknown in schema 1."""
        found = {name: sha256(self.root / name) if (self.root / name).is_file() else "" for name in TABLES}
        return [name for name, digest in found.items() if run.get("files", found).get(name) != digest]

    def write_pictures(self) -> None:
        """Write the checksums of the existing pictures."""
        write_whole(self.pictures, json.dumps(sealed({"schema": SCHEMA, "files": self._picture_digests()}), indent=1))

    def damaged_pictures(self) -> str | None:
        """Return the name of a damaged picture file, or None."""
        if not self.pictures.exists():
            return None
        try:
            known = json.loads(self.pictures.read_text(encoding="utf-8"))
            if not is_sealed(known):
                return self.pictures.name
            files, found = known["files"], self._picture_digests()
            return next((name for name in sorted({*found, *files}) if found.get(name) != files.get(name)), None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return self.pictures.name

    def _picture_digests(self) -> dict[str, str]:
        """SHA-256 of each picture, by its path in the folder."""
        files = sorted(path for path in (*self.samples.glob("*"), self.thumbnails) if path.is_file())
        return {path.relative_to(self.root).as_posix(): sha256(path) for path in files}

    def clear_pictures(self) -> None:
        """Remove all pictures."""
        shutil.rmtree(self.samples, ignore_errors=True)
        for path in (self.thumbnails, self.pictures):
            path.unlink(missing_ok=True)

    def write_cell(
        self,
        cell: Cell,
        record: dict[str, Any],
        predictions: pd.DataFrame | None,
        save_model: Callable[[Path], None] | None,
    ) -> None:
        """Write a cell beside its place, with the SHA-256 of its files, and rename it when it is whole."""
        with fresh_folder(self.cell_folder(cell), durable=True) as fresh:
            if predictions is not None:
                with naming(self.cell_folder(cell) / layout.PREDICTIONS):
                    predictions.to_parquet(fresh / layout.PREDICTIONS, index=False)
            model = fresh / layout.MODEL
            if save_model is not None:
                model.mkdir()
                save_into(save_model, model)
            checksums = {f.relative_to(fresh).as_posix(): sha256(f) for f in sorted(fresh.rglob("*")) if f.is_file()}
            size = sum(f.stat().st_size for f in model.rglob("*"))
            whole = {
                "schema": SCHEMA,
                **record,
                "checksums": checksums,
                "model_bytes": record.get("model_bytes", 0) + size,
            }
            (fresh / layout.CELL).write_text(json.dumps(sealed(whole), indent=1), encoding="utf-8")

    def read_cell(self, cell: Cell) -> tuple[dict[str, Any] | None, str | None]:
        """Return a cell's record if it is whole, otherwise None and what is wrong (None if there is nothing).

        Its words are those of the current schema; `schema` is that of the file.

        Raises
        ------
        StoreError
            If it is of a newer schema.
        """
        folder = self.cell_folder(cell)
        if not _is_inside(folder, self.root):
            raise StoreError(f"{folder}: leads outside the run folder: nothing is read or written there")
        if not folder.exists():
            return None, None
        try:
            record = json.loads((folder / layout.CELL).read_text(encoding="utf-8"))
            schema = int(record["schema"])
            intact = schema > SCHEMA or layout.is_intact(record, schema)
            damaged = [name for name, digest in record["checksums"].items() if not _fits(folder, name, digest)]
            place = (record["model"], record["repeat"], record["fold"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return None, f"damaged ({type(error).__name__})"
        if schema > SCHEMA:
            raise StoreError(
                f"{folder}: written with schema {schema}; this version reads up to schema {SCHEMA}: update xraybench"
            )
        if not intact:
            return None, f"{layout.CELL} does not match its seal"
        if place != (cell.model, cell.repeat, cell.fold):
            return None, "holds another cell"
        if damaged:
            return None, f"{damaged[0]} does not match its checksum"
        return layout.upgrade_cell(record), None

    def read_test_accesses(self) -> list[dict[str, Any]]:
        """Return the accesses to the test set, oldest first; empty if the log is missing or damaged."""
        for name in (layout.TEST_ACCESS, layout.OLD_TEST_ACCESS):
            path = self.root / layout.HOLDOUT / name
            try:
                log = json.loads(path.read_text(encoding="utf-8"))
                return layout.upgrade_test_access(log) if is_sealed(log) else []
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                return []
        return []

    def log_test_access(self, models: list[str]) -> None:
        """Add an access to the log of the test set, and upgrade the log to the current schema."""
        access = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "models": models}
        log = sealed({"schema": SCHEMA, "accesses": [*self.read_test_accesses(), access]})
        write_whole(self.root / layout.HOLDOUT / layout.TEST_ACCESS, json.dumps(log, indent=1))
        (self.root / layout.HOLDOUT / layout.OLD_TEST_ACCESS).unlink(missing_ok=True)

    def clear_leftovers(self) -> None:
        """Remove what a killed run left half-written; only the owner of the folder's lock may call this."""
        for folder in (self.root, *self.root.glob(f"{layout.CELLS}/*"), self.root / layout.HOLDOUT):
            remove_leftovers(folder, all_=True)


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _fits(folder: Path, name: str, digest: str) -> bool:
    return _is_inside(folder / name, folder) and sha256(folder / name) == digest


def save_into(save_model: Callable[[Path], None], folder: Path) -> None:
    """Save a model into a folder.

    Raises
    ------
    ModelNotSavedError
        With the error that its class raised; an OSError is the disk's, and is passed on.
    """
    try:
        save_model(folder)
    except OSError:
        raise
    except Exception as error:
        raise ModelNotSavedError(f"the model could not be saved: {type(error).__name__}: {one_line(error)}") from error
