"""The final test: every model fitted once more to all training images, and scored once on images that no fold saw.

RUN/holdout/MODEL/holdout.json, predictions.parquet, model/    model/ is the model that was tested, as bench export gives it
RUN/holdout/test_access.json                                   every access to the held-out images: when, and for which models
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from radiographs.disk import damage, fresh_folder, sha256

from bench.cells.encodings import Encodings
from bench.data.dataset import Data, HeldOut
from bench.export.assemble import seal
from bench.export.export import write_model
from bench.export.run_inputs import RunInputs
from bench.inference.model import load_model
from bench.inference.package import CARD, PackageError
from bench.recipes.build import Resources
from bench.store.run_folder import RunFolder
from reports.runs.format import CELL, SCHEMA, cell_path, is_sealed, sealed

TARGET = 0.95  # share of sure predictions that must be correct on validation data
_BLOCK = 512


def score_holdout(
    folder: RunFolder,
    data: Data,
    encodings: Encodings,
    resources: Resources,
    note: Callable[[str], None],
) -> int:
    """Score every finished model that has no score on the held-out images yet; return how many could not be scored.

    Raises
    ------
    PackageError
        Never for a single model: its error is recorded, and the others continue.
    """
    if data.held_out is None:
        return 0
    from reports.runs.results import load

    results = load(folder.root)
    todo = []
    for name in results.models:
        key = _key(folder, results, name, data.held_out)
        if key is not None and _kept(folder, name) != key:
            todo.append((name, key))
    if not todo:
        return 0
    note(f"final test: {len(todo)} models, on {len(data.held_out.y)} held-out images that no fold saw")
    _log_access(folder, [name for name, _ in todo], note)
    run = RunInputs(folder, results.run, data, encodings)
    return sum(not _score(name, key, run, results, resources, note) for name, key in todo)


def _score(
    name: str, key: str, run: RunInputs, results: Any, resources: Resources, note: Callable[[str], None]
) -> bool:
    held = run.data.held_out
    if held is None:
        raise RuntimeError("no held-out images")
    with fresh_folder(run.folder.holdout_folder(name), durable=True) as fresh:
        record: dict[str, Any] = {"schema": SCHEMA, "model": name, "key": key, "holdout": held.facts["digest"]}
        try:
            (fresh / "model").mkdir()
            facts = write_model(fresh / "model", name, run, resources, results, TARGET)
        except PackageError as error:
            (fresh / "model").rmdir()
            record |= {"status": "failed", "reason": str(error), "checksums": {}}
        else:
            table = _predicted(fresh / "model", held, run.data, resources)
            table.to_parquet(fresh / "predictions.parquet", index=False)
            _complete_card(fresh / "model", facts, table, held, results)
            record |= {
                "status": "done",
                "reason": None,
                "decision": facts["decision"],
                "trained_on": facts["trained_on"],
                "checksums": {"predictions.parquet": sha256(fresh / "predictions.parquet")},
            }
        (fresh / "holdout.json").write_text(json.dumps(sealed(record), indent=1), encoding="utf-8")
    note(f"  {name}: {record['reason'] or 'scored'}")
    return record["status"] == "done"


def _predicted(package: Path, held: HeldOut, data: Data, resources: Resources) -> pd.DataFrame:
    """Truth and probabilities, by the model as stored in its folder."""
    model = load_model(package, "native", resources.device, trusted=True)
    places = [np.arange(len(held.y))[begin : begin + _BLOCK] for begin in range(0, len(held.y), _BLOCK)]
    probability = np.concatenate([model.predict(np.array(held.images[place])).probability for place in places])
    columns: dict[str, Any] = {"image_id": held.image_ids, "group": held.groups, "part": "holdout"}
    columns |= {f"truth/{name}": held.y[:, k] for k, name in enumerate(data.classes)}
    columns |= {f"probability/{name}": probability[:, k] for k, name in enumerate(data.classes)}
    return pd.DataFrame(columns)


def _complete_card(package: Path, facts: dict[str, Any], table: pd.DataFrame, held: HeldOut, results: Any) -> None:
    """Add the result to the model's card."""
    from bench.export.card import card
    from reports.comparison.final_test import score_table

    scores = score_table(table, facts["decision"], results)
    known = {key: held.facts[key] for key in ("n_images", "n_groups", "digest")}
    facts["holdout"] = known | {"metrics": scores}
    (package / CARD).write_text(card(facts), encoding="utf-8")
    seal(package, facts)


def _key(folder: RunFolder, results: Any, name: str, held: HeldOut) -> str | None:
    """Hash the inputs of a result: the keys of the cells and the held-out images; None if a cell is not done."""
    cells = results.cells[(results.cells["model"] == name) & (results.cells["status"] == "done")]
    if len(cells) < results.n_planned:
        return None
    keys = [
        json.loads((folder.root / cell_path(name, row.repeat, row.fold) / CELL).read_text())["key"]
        for row in cells.itertuples()
    ]
    return hashlib.sha256(json.dumps([*sorted(keys), held.facts["digest"]]).encode()).hexdigest()


def _kept(folder: RunFolder, name: str) -> str | None:
    """Key of the existing result, if it is whole."""
    place = folder.holdout_folder(name)
    try:
        record = json.loads((place / "holdout.json").read_text(encoding="utf-8"))
        whole = is_sealed(record) and all(sha256(place / file) == d for file, d in record["checksums"].items())
        whole = whole and (record["status"] != "done" or damage(place / "model") is None)
        return record["key"] if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _log_access(folder: RunFolder, models: list[str], note: Callable[[str], None]) -> None:
    """Log the access to the held-out images before it happens."""
    n_before = len(folder.read_test_accesses())
    if n_before:
        note(f"the test set was used before: this is access {n_before + 1}, as the report will state")
    folder.log_test_access(models)
