"""The run folder: who writes what where. A cell is there whole, with checksums that fit, or it is not there.

Schema 1: run.json, manifest.parquet, splits.parquet, samples/, thumbnails.parquet, cells/MODEL/rR-fF/{cell.json, predictions.parquet, model/}.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from bench.errors import UserError

SCHEMA = 1


class StoreError(UserError):
    """A run folder that cannot be used as asked."""


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

    def cell_folder(self, cell: Cell) -> Path:
        """Where a cell's result stands."""
        return self.root / "cells" / cell.model / f"r{cell.repeat}-f{cell.fold}"

    def make(self) -> None:
        """Make the folder and see that it can be written to.

        Raises
        ------
        StoreError
            If it cannot, or if the folder holds something else.
        """
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"{self.root}: is a file: give another --out")
        if (
            self.root.is_dir()
            and any(self.root.iterdir())
            and not self.run_file.exists()
            and not (self.root / "lock").exists()
        ):
            raise StoreError(f"{self.root}: holds files but no run: give another --out")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be written to ({error.strerror}): give another --out") from None

    def read_run(self) -> dict[str, Any] | None:
        """Return run.json, or None where there is none yet.

        Raises
        ------
        StoreError
            If it is damaged or of a newer schema.
        """
        if not self.run_file.exists():
            return None
        try:
            run = json.loads(self.run_file.read_text(encoding="utf-8"))
            schema = run["schema"]
        except (OSError, ValueError, KeyError, TypeError):
            raise StoreError(f"{self.run_file}: damaged: give another --out, or remove the folder") from None
        if schema > SCHEMA:
            raise StoreError(
                f"{self.run_file}: written with schema {schema}; this version reads up to schema {SCHEMA}: update xraybench"
            )
        return run

    def write_run(self, run: dict[str, Any]) -> None:
        """Write run.json whole."""
        self._write(self.run_file, lambda path: path.write_text(json.dumps(run, indent=1), encoding="utf-8"))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write ``NAME.parquet`` whole."""
        self._write(self.root / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))

    def write_cell(
        self,
        cell: Cell,
        record: dict[str, Any],
        predictions: pd.DataFrame | None,
        save_model: Callable[[Path], None] | None,
    ) -> None:
        """Write a cell beside its place, with the sha256 of its files, and rename it when it is whole."""
        place = self.cell_folder(cell)
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        try:
            if predictions is not None:
                predictions.to_parquet(fresh / "predictions.parquet", index=False)
            if save_model is not None:
                (fresh / "model").mkdir()
                save_model(fresh / "model")
            checksums = {f.relative_to(fresh).as_posix(): sha256(f) for f in sorted(fresh.rglob("*")) if f.is_file()}
            size = sum(f.stat().st_size for f in (fresh / "model").rglob("*"))
            whole = {
                "schema": SCHEMA,
                **record,
                "checksums": checksums,
                "model_bytes": record.get("model_bytes", 0) + size,
            }
            (fresh / "cell.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
            _sync(fresh)
            if place.exists():
                shutil.rmtree(place)
            fresh.rename(place)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def read_cell(self, cell: Cell) -> tuple[dict[str, Any] | None, str | None]:
        """Return a cell's record if it is whole, and else None with what is wrong (None where nothing is there)."""
        folder = self.cell_folder(cell)
        if not folder.exists():
            return None, None
        try:
            record = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
            damaged = [name for name, digest in record["checksums"].items() if sha256(folder / name) != digest]
            if (record["model"], record["repeat"], record["fold"]) != (cell.model, cell.repeat, cell.fold):
                return None, "holds another cell"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return None, f"damaged ({type(error).__name__})"
        return (None, f"{damaged[0]} does not fit its checksum") if damaged else (record, None)

    def clear_leftovers(self) -> None:
        """Remove what a killed run left half-written."""
        for path in [
            *self.root.glob("cells/*/.r*-f*-*"),
            *self.root.glob(".*.tmp"),
            *self.root.glob(".samples-*"),
            *self.root.glob(".model-*"),
        ]:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _write(self, path: Path, write: Callable[[Path], Any]) -> None:
        fresh = path.with_name(f".{path.name}.tmp")
        try:
            write(fresh)
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StoreError(f"{path}: cannot be written ({error.strerror})") from None


class Lock:
    """One run at a time on one folder: a file with host and PID. A dead owner's lock is taken over.

    Raises
    ------
    StoreError
        On entering, if a living process holds the folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.path = folder.root / "lock"

    def __enter__(self) -> Lock:
        for _ in range(2):
            try:
                with self.path.open("x", encoding="utf-8") as stream:
                    json.dump(_owner(os.getpid()), stream)
                return self
            except FileExistsError:
                self._take_over()
        raise StoreError(f"{self.path}: held by another run")

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)

    def _take_over(self) -> None:
        """Remove the lock of a process of this host that is gone; refuse any other."""
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            host, pid, started, since = owner["host"], owner["pid"], owner["started"], owner["since"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            self.path.unlink(missing_ok=True)  # torn by a kill between opening and writing
            return
        if host == socket.gethostname() and (not psutil.pid_exists(pid) or _owner(pid)["started"] != started):
            self.path.unlink(missing_ok=True)
            return
        raise StoreError(
            f"{self.path.parent}: in use by process {pid} on {host} since {since}: wait for it, or give another --out (if that process is gone, remove {self.path})"
        )


def _owner(pid: int) -> dict[str, Any]:
    """Who holds a lock. The start time tells a living owner from another process with its number."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.Error:
        started = 0.0
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": round(started, 1),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Bring every file of a folder to the disk before it gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
