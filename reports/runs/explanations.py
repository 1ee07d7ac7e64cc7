"""Results of ``bench explain``, read from its folder and checked."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.runs.format import is_sealed
from reports.runs.results import ResultsError

EXPLANATIONS, SCHEMA = "explanations.json", 1
EXPLAIN_AGAIN = "repeat `bench explain`"
_FIELDS = ("run", "seed", "steps", "random_maps", "fitted_to", "classes", "models", "images", "files")


@dataclass(frozen=True)
class Explanations:
    """Content of explanations.json, and the pictures by file name."""

    record: dict[str, Any]
    pictures: dict[str, bytes]


def load_explanations(run: Path) -> Explanations | None:
    """Read RUN/explanations; None where there is none.

    Raises
    ------
    ResultsError
        If a file is missing, damaged, of a newer schema, or leads out of the folder.
    """
    folder = Path(run) / "explanations"
    if not (folder / EXPLANATIONS).is_file():
        return None
    record = _record(_bytes(folder, EXPLANATIONS), folder / EXPLANATIONS)
    pictures = {}
    for name, digest in record["files"].items():
        content = _bytes(folder, name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ResultsError(f"{folder / name} does not match its checksum; {EXPLAIN_AGAIN}")
        if name.endswith(".png"):
            pictures[name] = content
    return Explanations(record, pictures)


def _record(content: bytes, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(content)
        schema = int(record["schema"])
    except (ValueError, KeyError, TypeError):
        raise ResultsError(f"{path} is damaged; {EXPLAIN_AGAIN}") from None
    if schema > SCHEMA:
        raise ResultsError(f"{path} has schema {schema}; this xraybench reads up to {SCHEMA}: update it")
    if not is_sealed(record):
        raise ResultsError(f"{path} does not match its seal: it was changed or damaged; {EXPLAIN_AGAIN}")
    missing = [name for name in _FIELDS if name not in record]
    if missing:
        raise ResultsError(f"{path} lacks {missing[0]!r}; {EXPLAIN_AGAIN}")
    return record


def _bytes(folder: Path, name: str) -> bytes:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.parent.resolve() / folder.name):
        raise ResultsError(f"{folder / name} leads outside of the folder; nothing is read from there")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{folder / name}: {error.strerror}; {EXPLAIN_AGAIN}") from None
