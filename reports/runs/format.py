"""The format of a run folder: every name in it, its schemas, its seals.

`bench.store` writes by this page, `reports.runs.results` reads by it::

    run.json                                 facts of the run, with the SHA-256 of the two tables
    manifest.parquet, splits.parquet
    cells/MODEL/rR-fF/cell.json              record of one cell, with the SHA-256 of its other files and its provenance
                     /predictions.parquet    image_id, part, truth/CLASS, probability/CLASS
                     /model/
    pictures.json                            SHA-256 of the pictures
    samples/, thumbnails.parquet
    holdout/test_access.json                 every access to the test set
    holdout/MODEL/holdout.json, predictions.parquet, model/

History of the schemas. Files of all of them are read, and `bench run` resumes a run of any; each file says which one it has:

1. No seals, no pictures.json, checksums in cell.json alone, cells do not say what they were made of.
2. JSON files end in a seal, the SHA-256 of the rest of them; run.json has the checksums of the tables (`files`), pictures.json those of
   the pictures; cell.json has `made_of`. In the first versions the family of a model without features was called ``floor``.
3. cell.json: `made_of` is called `provenance`. holdout/looks.json {"looks"} is called holdout/test_access.json {"accesses"}. The family
   is ``dummy``. The keys of `made_of` (splits, pixels, model, seed) and every other word stay.

The file of a study, study.json, has schemas of its own: 1 without a seal, 2 with one.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

SCHEMA = 3  # that is written today
SCHEMAS = (1, 2, 3)
STUDY_SCHEMA = 2

RUN = "run.json"
MANIFEST = "manifest.parquet"
SPLITS = "splits.parquet"
TABLES = (MANIFEST, SPLITS)
CELLS = "cells"
CELL = "cell.json"
PREDICTIONS = "predictions.parquet"
MODEL = "model"
PICTURES = "pictures.json"
SAMPLES = "samples"
SAMPLE_LIST = "samples.json"
THUMBNAILS = "thumbnails.parquet"
HOLDOUT = "holdout"
HOLDOUT_RECORD = "holdout.json"
TEST_ACCESS = "test_access.json"
OLD_TEST_ACCESS = "looks.json"  # up to schema 2
REPORT = "report"
EXPLANATIONS = "explanations"
STUDY = "study.json"
SEAL = "seal"

THRESHOLD, LABEL_SETS = (
    "threshold",
    "label_sets",
)  # decision rules for several labels; run.json without one has the first
DECISIONS = (THRESHOLD, LABEL_SETS)

_OLD_FAMILIES = {"floor": "dummy"}


def fold_name(repeat: int, fold: int) -> str:
    """Name of one fold.

    >>> fold_name(0, 3)
    'r0-f3'
    """
    return f"r{repeat}-f{fold}"


def parse_fold(name: str) -> tuple[int, int]:
    """Return repeat and fold of a name.

    >>> parse_fold("r0-f3")
    (0, 3)
    """
    repeat, fold = name.removeprefix("r").split("-f")
    return int(repeat), int(fold)


def cell_path(model: str, repeat: int, fold: int) -> str:
    """Folder of a cell below the run folder."""
    return f"{CELLS}/{model}/{fold_name(repeat, fold)}"


def holdout_path(model: str) -> str:
    """Folder of a model's result on the test set, below the run folder."""
    return f"{HOLDOUT}/{model}"


def truth_columns(classes: Sequence[str]) -> list[str]:
    """Columns of the labels, in the order of the classes."""
    return [f"truth/{name}" for name in classes]


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Columns of the probabilities, in the order of the classes."""
    return [f"probability/{name}" for name in classes]


def seal(record: dict[str, Any]) -> str:
    """SHA-256 of a record but for its seal, as JSON with sorted keys."""
    rest = {key: value for key, value in record.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its seal at the end."""
    rest = {key: value for key, value in record.items() if key != SEAL}
    return {**rest, SEAL: seal(rest)}


def is_sealed(record: dict[str, Any]) -> bool:
    """Whether the record is as it was when it was sealed."""
    return record.get(SEAL) == seal(record)


def is_intact(record: dict[str, Any], schema: int) -> bool:
    """Whether a record fits its seal; those of the first schema have none."""
    return is_sealed(record) or (schema == 1 and SEAL not in record)


def model_digest(table: dict[str, Any]) -> str:
    """SHA-256 of a model's table in run.json, of what decides its numbers: description and family do not."""
    return hashlib.sha256(json.dumps(recipe(table), sort_keys=True).encode()).hexdigest()


def recipe(table: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a model's table that decides its numbers."""
    return {key: value for key, value in table.items() if key not in ("description", "family")}


def decision_rule(suite: dict[str, Any]) -> str:
    """Return the rule, of `DECISIONS`, by which a suite in run.json decides labels where an image may have several."""
    return suite.get("decision", THRESHOLD)


def upgrade_run(run: dict[str, Any]) -> dict[str, Any]:
    """Return the content of run.json in the words of the current schema; `schema` keeps the number of the file."""
    suite = run.get("suite")
    if not isinstance(suite, dict) or not isinstance(suite.get("models"), dict):
        return run
    models = {name: _upgrade_family(model) for name, model in suite["models"].items()}
    return {**run, "suite": {**suite, "models": models}}


def upgrade_cell(cell: dict[str, Any]) -> dict[str, Any]:
    """Return the content of cell.json in the words of the current schema; `schema` keeps the number of the file."""
    renamed = {("provenance" if key == "made_of" else key): value for key, value in cell.items()}
    return _upgrade_family(renamed if cell.get("schema") == 2 else dict(cell))


def upgrade_test_access(log: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the accesses to the test set, oldest first, from a log of any schema; each says ``when`` and which ``models``."""
    return list(log["looks"] if log.get("schema", 1) < 3 else log["accesses"])


def _upgrade_family(table: Any) -> Any:
    if not isinstance(table, dict) or "family" not in table:
        return table
    return {**table, "family": _OLD_FAMILIES.get(table["family"], table["family"])}
