"""The run folder: who writes what where. A cell is there whole, with checksums that fit, or it is not there.

Schema 2: run.json, manifest.parquet, splits.parquet, pictures.json, samples/, thumbnails.parquet,
cells/MODEL/rR-fF/{cell.json, predictions.parquet, model/}. JSON files end in a seal, the SHA-256 of the rest of them; run.json holds the
SHA-256 of the tables, pictures.json of the pictures, cell.json of the cell's files, and what the cell was made of.
Schema 1, which is read, has no seals, no pictures.json, and checksums in cell.json alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from radiographs.disk import fresh_folder, naming, remove_leftovers, sha256, write_file, write_whole

from bench.errors import UserError

SCHEMA = 2
TABLES = ("manifest.parquet", "splits.parquet")
_NAMES = {*TABLES, "cells", "samples", "thumbnails.parquet", "pictures.json", "report", "holdout", "explanations"}


class StoreError(UserError):
    """A run folder that cannot be used as asked."""


class ModelNotSavedError(Exception):
    """A model whose own code could not write it; its cell fails."""


@dataclass(frozen=True)
class Cell:
    """The unit of work, of resuming and of failure."""

    model: str
    repeat: int
    fold: int

    @property
    def name(self) -> str:
        """Such as ``hog-svm r0-f3``."""
        return f"{self.model} r{self.repeat}-f{self.fold}"


@dataclass(frozen=True)
class RunFolder:
    """Decides every path of a run, and writes whole files or none."""

    root: Path

    @property
    def run_file(self) -> Path:
        """The facts of the run."""
        return self.root / "run.json"

    @property
    def samples(self) -> Path:
        """Pictures before and after preprocessing, for the report."""
        return self.root / "samples"

    @property
    def thumbnails(self) -> Path:
        """A small picture of each image, for the report."""
        return self.root / "thumbnails.parquet"

    @property
    def pictures(self) -> Path:
        """Checksums of the pictures."""
        return self.root / "pictures.json"

    def cell_folder(self, cell: Cell) -> Path:
        """Where a cell's result stands."""
        return self.root / "cells" / cell.model / f"r{cell.repeat}-f{cell.fold}"

    def holdout_folder(self, model: str) -> Path:
        """Where the result of a model on the held-out images stands, and the model itself."""
        return self.root / "holdout" / model

    def make(self) -> None:
        """Make the folder and see that it can be written to.

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
        """Whether the folder is a run's, or empty but for what a run that was killed at its start left."""
        names = {path.name for path in self.root.iterdir() if not path.name.startswith(".tmp-")}
        return not names or not names.isdisjoint({"run.json", "lock"}) or names <= _NAMES

    def read_run(self) -> tuple[dict[str, Any] | None, str | None]:
        """Return run.json if it is whole, and else None with what is wrong (None where nothing is there).

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
        return (run, None) if _as_it_was(run, schema) else (None, "does not fit its seal")

    def write_run(self, run: dict[str, Any]) -> dict[str, Any]:
        """Write run.json whole, with the checksums of the tables that stand there, and return it."""
        files = {name: sha256(self.root / name) for name in TABLES}
        run = sealed({**run, "schema": SCHEMA, "files": files})
        write_whole(self.run_file, json.dumps(run, indent=1))
        return run

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write ``NAME.parquet`` whole."""
        write_file(self.root / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))

    def damaged_tables(self, run: dict[str, Any]) -> list[str]:
        """Names of the tables that are not as run.json says; nothing is known of those of schema 1."""
        found = {name: sha256(self.root / name) if (self.root / name).is_file() else "" for name in TABLES}
        return [name for name, digest in found.items() if run.get("files", found).get(name) != digest]

    def write_pictures(self) -> None:
        """Write the checksums of the pictures that stand there."""
        files = {p.relative_to(self.root).as_posix(): sha256(p) for p in self._picture_files()}
        write_whole(self.pictures, json.dumps(sealed({"schema": SCHEMA, "files": files}), indent=1))

    def damaged_pictures(self) -> str | None:
        """Name of a picture file that is not as it was written, or None."""
        if not self.pictures.exists():
            return None
        try:
            known = json.loads(self.pictures.read_text(encoding="utf-8"))
            if not is_sealed(known):
                return self.pictures.name
            found = {p.relative_to(self.root).as_posix(): sha256(p) for p in self._picture_files()}
            return next(
                (name for name in sorted({*found, *known["files"]}) if found.get(name) != known["files"].get(name)),
                None,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return self.pictures.name

    def _picture_files(self) -> list[Path]:
        files = [*self.samples.glob("*"), self.thumbnails]
        return sorted(path for path in files if path.is_file())

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
        """Write a cell beside its place, with the sha256 of its files, and rename it when it is whole."""
        with fresh_folder(self.cell_folder(cell), durable=True) as fresh:
            if predictions is not None:
                with naming(self.cell_folder(cell) / "predictions.parquet"):
                    predictions.to_parquet(fresh / "predictions.parquet", index=False)
            if save_model is not None:
                (fresh / "model").mkdir()
                save_into(save_model, fresh / "model")
            checksums = {f.relative_to(fresh).as_posix(): sha256(f) for f in sorted(fresh.rglob("*")) if f.is_file()}
            size = sum(f.stat().st_size for f in (fresh / "model").rglob("*"))
            whole = {
                "schema": SCHEMA,
                **record,
                "checksums": checksums,
                "model_bytes": record.get("model_bytes", 0) + size,
            }
            (fresh / "cell.json").write_text(json.dumps(sealed(whole), indent=1), encoding="utf-8")

    def read_cell(self, cell: Cell) -> tuple[dict[str, Any] | None, str | None]:
        """Return a cell's record if it is whole, and else None with what is wrong (None where nothing is there).

        Raises
        ------
        StoreError
            If it is of a newer schema.
        """
        folder = self.cell_folder(cell)
        if not _is_inside(folder, self.root):
            raise StoreError(f"{folder}: leads out of the run folder: nothing is read or written there")
        if not folder.exists():
            return None, None
        try:
            record = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
            schema = int(record["schema"])
            whole = schema > SCHEMA or _as_it_was(record, schema)
            damaged = [name for name, digest in record["checksums"].items() if not _fits(folder, name, digest)]
            place = (record["model"], record["repeat"], record["fold"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return None, f"damaged ({type(error).__name__})"
        if schema > SCHEMA:
            raise StoreError(
                f"{folder}: written with schema {schema}; this version reads up to schema {SCHEMA}: update xraybench"
            )
        if not whole:
            return None, "cell.json does not fit its seal"
        if place != (cell.model, cell.repeat, cell.fold):
            return None, "holds another cell"
        return (None, f"{damaged[0]} does not fit its checksum") if damaged else (record, None)

    def clear_leftovers(self) -> None:
        """Remove what a killed run left half-written; only the owner of the folder's lock may ask for it."""
        for folder in (self.root, *self.root.glob("cells/*"), self.root / "holdout"):
            remove_leftovers(folder, all_=True)


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _as_it_was(record: dict[str, Any], schema: int) -> bool:
    """Whether a record fits its seal; those of the first schema have none."""
    return is_sealed(record) or (schema < SCHEMA and "seal" not in record)


def _fits(folder: Path, name: str, digest: str) -> bool:
    return _is_inside(folder / name, folder) and sha256(folder / name) == digest


def save_into(save_model: Callable[[Path], None], folder: Path) -> None:
    """Save a model into a folder.

    Raises
    ------
    ModelNotSavedError
        With what its class raised; an OSError is the disk's, and is passed on.
    """
    try:
        save_model(folder)
    except OSError:
        raise
    except Exception as error:
        raise ModelNotSavedError(
            f"the model could not be saved: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with the SHA-256 of the rest of it at its end."""
    rest = {key: value for key, value in record.items() if key != "seal"}
    return {**rest, "seal": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def is_sealed(record: dict[str, Any]) -> bool:
    """Whether the record is as it was when it was sealed."""
    return record.get("seal") == sealed(record)["seal"]
