"""Files of a run folder, read as data: checked against seal and checksum, never from outside of the folder."""

import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from reports.runs.format import SCHEMAS, SEAL, is_sealed

RECOMPUTE = "repeat the same `bench run`, which recomputes the cell"
_REMAKE = "repeat the same `bench run`, which recreates it"


class ResultsError(Exception):
    """A run folder that cannot be reported; the message is one line that names the file and the way out."""


def read_json(root: Path, name: str, *, versioned: bool = True) -> Any:
    """Read a JSON file of the run folder; with `versioned` its schema and seal are checked.

    Raises
    ------
    ResultsError
        If it is missing, not JSON, of a newer schema, or does not match its seal.
    """
    try:
        content = json.loads(read_bytes(root, name))
    except ValueError as error:
        raise ResultsError(f"{name} is not valid JSON ({error}); copy it again from where the run was made") from None
    if versioned:
        require(content, ("schema",), name)
        if content["schema"] not in SCHEMAS:
            raise ResultsError(
                f"{name} has schema {content['schema']!r} and this xraybench reads schemas up to {SCHEMAS[-1]}; "
                "use the version of xraybench that made the run, or a later one"
            )
        if (content["schema"] > 1 or SEAL in content) and not is_sealed(content):
            raise ResultsError(f"{name} does not match its seal: it was changed or damaged; {RECOMPUTE}")
    return content


def read_table(root: Path, name: str, columns: Iterable[str], known: dict[str, str] | None) -> pd.DataFrame:
    """Read a Parquet file that has these columns.

    Parameters
    ----------
    root : Path
    name : str
    columns : iterable of str
    known : dict or None
        SHA-256 of files by name; None where none are known.

    Returns
    -------
    DataFrame

    Raises
    ------
    ResultsError
        If it is missing or damaged, or a column is missing.
    """
    return parse_table(checked(read_bytes(root, name), name, known), name, columns)


def read_checked_table(root: Path, name: str, digest: str | None, columns: Iterable[str]) -> pd.DataFrame:
    """Read the Parquet file of a cell, which must have this SHA-256.

    Raises
    ------
    ResultsError
        If it is missing or damaged, or a column is missing.
    """
    content = read_bytes(root, name)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ResultsError(f"{name} does not match its checksum; {RECOMPUTE}")
    return parse_table(content, name, columns)


def checked(content: bytes, name: str, known: dict[str, str] | None) -> bytes:
    """Return the content of a file if it matches its checksum; a file without a known checksum does not match."""
    if known is not None and hashlib.sha256(content).hexdigest() != known.get(name):
        raise ResultsError(f"{name} does not match its checksum; {_REMAKE}")
    return content


def parse_table(content: bytes, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """Return the table in a Parquet file, which must have these columns."""
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # noqa: BLE001 - pyarrow raises anything on damaged files
        raise ResultsError(f"{name} cannot be read ({one_line(error)}); copy the run folder again") from None
    require(dict.fromkeys(frame.columns), columns, name)
    return frame


def read_bytes(root: Path, name: str) -> bytes:
    """Return the content of a file.

    Raises
    ------
    ResultsError
        If it cannot be read, or leads outside of the run folder.
    """
    try:
        return inside(root, name).read_bytes()
    except OSError as error:
        raise ResultsError(
            f"{root / name}: {error.strerror}; is this a run folder? `bench list runs` names those here"
        ) from None


def inside(root: Path, name: str) -> Path:
    """Return the path of a file in the run folder.

    Raises
    ------
    ResultsError
        If it leads outside.
    """
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ResultsError(f"{root / name} leads outside of the run folder; nothing is read from there")
    return path


def require(content: Any, keys: Iterable[str], name: str) -> None:
    """Raise a `ResultsError` that names the first of these keys that a mapping lacks."""
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise ResultsError(f"{name} lacks {missing[0]!r}; it was not written by `bench run`, or was changed since")


def one_line(error: BaseException, most: int = 200) -> str:
    """Return the message of an error as one line of at most so many characters."""
    return " ".join(str(error).split())[:most]
