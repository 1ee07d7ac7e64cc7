"""Parts of a table of predictions, kept on disk so that nothing is predicted twice.

    part-NUMBER-KEY-DIGEST.parquet  NUMBER counts the parts, KEY is the digest of the files' names, sizes and times, DIGEST that of the content
    _plan.json                      which model made them and with which settings; sealed
    _SUCCESS                        in a folder that is the table itself: all parts are there

Readers of a folder of Parquet files skip names that begin with ``_``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import pandas as pd
from radiographs.disk import write_whole

from bench.errors import UserError
from bench.inference.decision import OUT_OF_DISTRIBUTION
from bench.inference.inputs import Item
from reports.runs.format import is_sealed, sealed

_PLAN, _SUCCESS = "_plan.json", "_SUCCESS"
_COLUMNS = "columns"  # key of the plan: version of the table's columns
_COLUMNS_VERSION = 2  # version 1 called ood_score "strangeness" and the verdict "out of distribution" "strange"


@dataclass(frozen=True)
class Part:
    """Files that are predicted together.

    Attributes
    ----------
    number : int
        Counts the parts from 0.
    name : str
        What the name of its file begins with.
    files : list of Item
        The files.
    """

    number: int
    name: str
    files: list[Item]


def split_into_parts(items: Iterable[Item], size: int) -> Iterator[Part]:
    """Split files into parts of at most this many."""
    remaining = iter(items)
    for number in count():
        files = list(islice(remaining, size))
        if not files:
            return
        yield Part(number, f"part-{number:08d}-{_key(files)}", files)


def _key(files: Sequence[Item]) -> str:
    """Digest of the files' names, sizes and times."""
    facts: list[tuple[str, int, int]] = []
    for item in files:
        try:
            status = Path(item.file).stat()
            facts.append((item.file, status.st_size, status.st_mtime_ns))
        except OSError:
            facts.append((item.file, -1, -1))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def is_partitioned(out: Path) -> bool:
    """Whether a table is kept in parts: a name without a suffix is a folder."""
    return not out.suffix


def is_begun(out: Path) -> bool:
    """Whether a folder holds parts of an unfinished table, which the same command may resume."""
    return is_partitioned(out) and (out / _PLAN).is_file()


def parts_folder(out: Path) -> Path:
    """Return the folder with the parts of an incomplete table; for a folder, itself."""
    return out if is_partitioned(out) else out.with_name(f"{out.name}.parts")


class PartStore:
    """The parts of one table.

    Parameters
    ----------
    out : Path
        The table, a file or a folder.
    overwrite : bool
        Whether parts in a folder may be replaced by those of another model, or of other files.

    Attributes
    ----------
    folder : Path
        Where the parts are.
    was_complete : bool
        Whether `out` is a folder that was complete before, and must not be changed to hold predictions of other files.
    """

    def __init__(self, out: Path, *, overwrite: bool = False) -> None:
        self.out = out
        self.overwrite = overwrite
        self.folder = parts_folder(out)
        self.is_table = self.folder == out
        self.was_complete = self.is_table and (out / _SUCCESS).is_file() and not overwrite
        self.is_new = False
        self._found: dict[int, list[Path]] = {}
        self._used: dict[str, Path] = {}

    def open(self, plan: dict[str, Any]) -> None:
        """Check that existing parts follow this plan, and list them.

        Parameters
        ----------
        plan : dict
            Whatever decides the predictions: model and settings.

        Raises
        ------
        UserError
            If they were made with another model or other settings.
        """
        plan = {**plan, _COLUMNS: _COLUMNS_VERSION}
        before = self._read_plan()
        self.is_new = before is None
        if before is None:
            self._start_anew(plan)
        else:
            before = self._migrated(before)
            other = next((key for key, value in plan.items() if before.get(key) != value), None)
            if other and not self.overwrite:
                raise UserError(
                    f"{self.folder}: holds parts made with another {other}: remove it, or give another --out"
                )
            if other:
                self._remove(self.folder.glob("part-*.parquet"))
                self._write_plan(plan)
        for file in sorted(self.folder.glob("part-*-*.parquet")):
            number = file.name.split("-")[1]
            self._found.setdefault(int(number) if number.isdecimal() else -1, []).append(file)

    def find(self, part: Part) -> tuple[Path | None, int]:
        """Find the intact file of a part; damaged ones are removed.

        Parameters
        ----------
        part : Part
            The part.

        Returns
        -------
        file : Path or None
            The file, or None if the part must be predicted.
        damaged : int
            How many files of the part were damaged.

        Raises
        ------
        UserError
            If the table is complete and this part holds other files.
        """
        name, there = part.name, self._found.get(part.number, [])
        if self.was_complete and any(not file.name.startswith(name) for file in there):
            raise self._other_files()
        own = [file for file in there if file.name.startswith(f"{name}-")]
        intact = next((file for file in own if _is_intact(file)), None)
        if intact is not None:
            self._used[name] = intact
            return intact, 0
        (self.folder / _SUCCESS).unlink(missing_ok=True)
        self._remove(own)
        return None, len(own)

    def write(self, part: Part, table: pd.DataFrame) -> None:
        """Write the predictions of a part."""
        self._used[part.name] = _write_part(self.folder, part.name, table)

    @property
    def files(self) -> list[Path]:
        """Files of all parts that were found or written, in the order of the table."""
        return [self._used[name] for name in sorted(self._used)]

    def abandon(self) -> None:
        """Remove everything of a table without rows."""
        if not self.is_table:
            shutil.rmtree(self.folder)
        elif self.is_new:
            (self.folder / _PLAN).unlink()

    def complete(self) -> None:
        """Mark a folder as complete: parts of other files are removed.

        Raises
        ------
        UserError
            If the folder was complete and has parts of other files.
        """
        others = set(self.folder.glob("part-*.parquet")) - set(self._used.values())
        if others and self.was_complete:
            raise self._other_files()
        self._remove(others)
        write_whole(self.folder / _SUCCESS, "")

    def remove(self) -> None:
        """Remove the parts, when the table is a file that holds them all."""
        shutil.rmtree(self.folder)

    def _start_anew(self, plan: dict[str, Any]) -> None:
        """Start with a plan; parts of unknown origin are removed."""
        if not self.is_table or (self.folder / _PLAN).exists():
            self._remove(self.folder.glob("part-*.parquet"))
        self._write_plan(plan)

    def _migrated(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Convert parts with the columns of version 1 to those of version 2; return the updated plan."""
        if _COLUMNS in plan:
            return plan
        for file in sorted(self.folder.glob("part-*-*.parquet")):
            if _is_intact(file):
                table = pd.read_parquet(file)
                if "strangeness" in table:
                    table = table.rename(columns={"strangeness": "ood_score"})
                    table["verdict"] = table["verdict"].replace("strange", OUT_OF_DISTRIBUTION)
                    _write_part(self.folder, file.stem.rpartition("-")[0], table)
                    file.unlink()
        plan = {key: value for key, value in plan.items() if key != "seal"} | {_COLUMNS: _COLUMNS_VERSION}
        self._write_plan(plan)
        return plan

    def _read_plan(self) -> dict[str, Any] | None:
        """Return the plan of the existing parts, or None if it is unknown."""
        try:
            plan = json.loads((self.folder / _PLAN).read_text(encoding="utf-8"))
            return plan if is_sealed(plan) else None
        except (OSError, ValueError, AttributeError):
            return None

    def _write_plan(self, plan: dict[str, Any]) -> None:
        write_whole(self.folder / _PLAN, json.dumps(sealed(plan)))

    def _remove(self, files: Iterable[Path]) -> None:
        for file in files:
            file.unlink()

    def _other_files(self) -> UserError:
        return UserError(
            f"{self.out}: is complete and holds predictions of other files: give another --out, or --overwrite"
        )


def _write_part(folder: Path, name: str, table: pd.DataFrame) -> Path:
    content = table.to_parquet(index=False)
    file = folder / f"{name}-{_digest(content)}.parquet"
    write_whole(file, content)
    return file


def _is_intact(file: Path) -> bool:
    """Whether the content of a part matches the digest in its name."""
    return file.stem.rpartition("-")[2] == _digest(file.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]
