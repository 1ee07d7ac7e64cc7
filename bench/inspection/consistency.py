"""Whether a run folder is consistent: what one file states about another is recomputed. Seals, which anybody can recreate, play no part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from radiographs import splits as splitting
from radiographs.disk import damage

from bench.data.held_out import facts_of
from bench.session.record import data_digest, suite_digest
from bench.store.run_folder import Cell, RunFolder
from reports.runs.format import LABEL_SETS, OLD_TEST_ACCESS, TEST_ACCESS, fold_name
from reports.runs.results import Results
from reports.scores.decision import label_set_numbers
from reports.scores.evaluation import label_sets_of_run

_PARTS = ("train", "valid", "test")
_KEPT_BESIDE = (".tmp-", ".DS_Store")


def contradictions(results: Results) -> list[str]:
    """Return the contradictions in a run, one line each."""
    checks = (_manifest, _suite, _splits, _cells, _predictions, _files, _held_out)
    return [line for check in checks for line in check(results)]


def unchecked(results: Results) -> list[str]:
    """Return what cannot be checked because it is missing, one line per model."""
    lines = []
    for model in results.models:
        cells = results.cells[results.cells["model"] == model]
        done = int((cells["status"] == "done").sum())
        absent = results.n_planned - len(cells)
        if absent:
            lines.append(f"{model}: {absent} of {results.n_planned} cells are missing: not run yet, or removed")
        elif 0 < done < results.n_planned:
            lines.append(f"{model}: {results.n_planned - done} of {results.n_planned} cells were not finished")
        if "holdout" in results.run and done == results.n_planned and model not in results.held_out:
            lines.append(f"{model}: its final test is missing: not run yet, or removed")
    return lines


def folder_digest(root: Path) -> str:
    """Return the SHA-256 of sha256sum's output for every file that numbers depend on, sorted by name: a digest to publish or to sign."""
    names = ("run.json", "manifest.parquet", "splits.parquet", "cells", "holdout")
    files = [file for name in names for file in (root / name, *(root / name).rglob("*")) if file.is_file()]
    sums = {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()).hexdigest()


def _manifest(results: Results) -> Iterator[str]:
    used, data = _used(results), results.data
    found = {
        "n_images": len(used),
        "n_groups": used["group"].nunique(),
        "n_excluded": len(results.manifest) - len(used),
    }
    for key, n in found.items():
        if data.get(key, n) != n:
            yield f"run.json states {key} = {data[key]}, manifest.parquet has {n}"
    labels = {label for each in used["labels"] for label in each}
    if labels != set(results.classes):
        yield f"classes of run.json and labels of manifest.parquet differ: {', '.join(sorted(labels ^ set(results.classes)))}"
    if data["task"] == "multiclass" and any(len(each) != 1 for each in used["labels"]):
        yield "run.json states that each image has one label, manifest.parquet does not"
    twice = results.manifest["image_id"].duplicated()
    if twice.any():
        yield f"manifest.parquet has {results.manifest['image_id'][twice].iloc[0]} more than once"
    if "digest" in data and "sha256" in results.manifest and data_digest(results.manifest) != data["digest"]:
        yield f"manifest.parquet has another digest than the data of run.json ({data['digest'][:12]})"


def _suite(results: Results) -> Iterator[str]:
    suite, planned = results.run["suite"], results.run["splits"]
    if "description" in suite and suite_digest(suite) != suite["digest"]:
        yield f"suite of run.json: has another digest than it states ({suite['digest'][:12]}): a model or a parameter differs"
    for key in ("folds", "repeats"):
        if suite.get("cv", planned).get(key) != planned[key]:
            yield f"run.json states {key} = {planned[key]} of its splits and {suite['cv'].get(key)} of its suite"


def _splits(results: Results) -> Iterator[str]:
    splits, stated = results.splits, results.run["splits"]
    digest = splitting.digest(splits)
    if digest != stated["digest"]:
        yield f"splits.parquet has the digest {digest[:12]}, run.json states {stated['digest'][:12]}"
    places = {(repeat, fold) for repeat in range(stated["repeats"]) for fold in range(stated["folds"])}
    if set(zip(splits["repeat"], splits["fold"], strict=True)) != places:
        yield f"splits.parquet has other folds than the {stated['folds']} x {stated['repeats']} of run.json"
        return
    used = _in_folds(results)
    try:
        splitting.check_splits(splits, used["image_id"].tolist(), used["image_id"].to_numpy(), "splits.parquet")
    except splitting.SplitsError as error:
        yield str(error)
        return
    parted = splits.assign(group=splits["image_id"].map(used.set_index("image_id")["group"]))
    leaks = (parted.groupby(["repeat", "fold", "group"])["part"].nunique() > 1).any()
    if leaks and not any(str(note).startswith("D025") for note in results.run.get("notes", [])):
        yield "splits.parquet has images of one group in two parts of a fold, and run.json does not note it"
    if stated.get("published") is False and digest == stated["digest"] and _made_again(results, used) != digest:
        yield f"splits.parquet: differs from the splits that seed {results.run['seed']} gives for these images"


def _made_again(results: Results, used: pd.DataFrame) -> str:
    """Return the digest of the splits that the seed of the run gives."""
    y = np.array([[name in labels for name in results.classes] for labels in used["labels"]], np.int8)
    stated, groups = results.run["splits"], used["group"].to_numpy(str)
    ids = used["image_id"].tolist()
    return splitting.digest(
        splitting.make_splits(
            ids, y, groups, folds=stated["folds"], repeats=stated["repeats"], seed=results.run["seed"]
        )
    )


def _cells(results: Results) -> Iterator[str]:
    groups = results.groups
    parts = {place: rows.set_index("image_id")["part"] for place, rows in results.splits.groupby(["repeat", "fold"])}
    for cell in _records(results.cells):
        place = (cell["repeat"], cell["fold"])
        part = parts.get(place, pd.Series(dtype=str))
        sizes = {name: int((part == name).sum()) for name in _PARTS}
        share = results.models[cell["model"]].get("train_share", 1)
        if share < 1:
            seed = results.run["seed"] + 1000 * place[0] + place[1]
            train = groups.reindex(part.index[part == "train"]).to_numpy(str)
            sizes["train"] = int(splitting.nested_share(train, share, seed).sum())
        for name, n in sizes.items():
            if cell[f"n_{name}"] != n:
                yield f"{_name(cell)}: states n_{name} = {cell[f'n_{name}']}, splits.parquet has {n}"
        refit = {"n_train": sizes["train"] + sizes["valid"]} if results.models[cell["model"]].get("refit") else None
        if cell["status"] == "done" and cell["refit"] != refit:
            yield f"{_name(cell)}: states refit = {cell['refit']}, expected is {refit}"
        if cell["family"] != results.models[cell["model"]]["family"]:
            yield f"{_name(cell)}: states family = {cell['family']}, run.json {results.models[cell['model']]['family']}"


def _predictions(results: Results) -> Iterator[str]:
    labels = results.manifest.drop_duplicates("image_id").set_index("image_id")["labels"]
    for (model, repeat, fold), frame in results.predictions.items():
        where = f"{model}, repeat {repeat}, fold {fold}"
        known = [
            list(each) if isinstance(each, (list, np.ndarray)) else [] for each in labels.reindex(frame["image_id"])
        ]
        wrong = sum(
            int((frame[f"truth/{name}"].to_numpy(bool) != [name in row for row in known]).sum())
            for name in results.classes
        )
        if wrong:
            yield f"{where}: {wrong} labels beside its predictions differ from the manifest"
        values = frame[[f"probability/{name}" for name in results.classes]].to_numpy(float)
        if values.size and (values.min() < 0 or values.max() > 1):
            yield f"{where}: a probability is below 0 or above 1"


def _files(results: Results) -> Iterator[str]:
    """Find files that do not match their checksums, files that no record names, and folders of unplanned cells."""
    folder = RunFolder(results.path)
    planned = {(cell["model"], fold_name(cell["repeat"], cell["fold"])): cell for cell in _records(results.cells)}
    for model in _inside(results.path / "cells"):
        for place in _inside(model) or [model]:
            cell = planned.get((model.name, place.name))
            if cell is None:
                yield f"{place.relative_to(results.path)}: belongs to no model and fold of run.json"
                continue
            record, wrong = folder.read_cell(Cell(cell["model"], cell["repeat"], cell["fold"]))
            known = {"cell.json", *(record or {}).get("checksums", {})}
            names = {file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file()}
            others = sorted(name for name in names - known if not Path(name).name.startswith(_KEPT_BESIDE))
            if wrong or others:
                yield f"{place.relative_to(results.path)}: {wrong or f'{others[0]} is not named in cell.json'}"
    damaged = folder.damaged_pictures()
    if damaged:
        yield f"{damaged}: does not match its checksum in pictures.json"


def _held_out(results: Results) -> Iterator[str]:
    """Check the images of the final test, and the models tested on them."""
    root, stated = results.path / "holdout", results.run.get("holdout")
    for model in _inside(root):
        if model.is_dir() and model.name not in results.held_out:
            yield f"holdout/{model.name}: belongs to no model of run.json, or run.json names no final test"
    for model in {model for look in results.test_accesses for model in look["models"]} - set(results.models):
        yield f"holdout/test_access.json: names {model}, which is not in run.json"
    if stated is None:
        return
    looked = {model for look in results.test_accesses for model in look["models"]}
    if stated["kind"] == "share":
        used = _used(results)
        own = used[~used["image_id"].isin(set(results.splits["image_id"]))]
        yield from _same_images(
            stated, own["image_id"], own["group"], own["labels"], results.classes, "manifest.parquet"
        )
    expected = _label_sets(results)
    for model, (record, table) in results.held_out.items():
        where = f"holdout/{model}"
        if model not in looked:
            yield f"{where}: holdout/test_access.json lists no use of the test set by this model"
        if table is None:
            continue
        truth = table[[f"truth/{name}" for name in results.classes]].to_numpy(bool)
        labels = [[name for name, given in zip(results.classes, row, strict=True) if given] for row in truth]
        yield from _same_images(stated, table["image_id"], table["group"], labels, results.classes, where)
        values = table[[f"probability/{name}" for name in results.classes]].to_numpy(float)
        if not (np.isfinite(values).all() and values.min(initial=0) >= 0 and values.max(initial=0) <= 1):
            yield f"{where}: a probability is not a number between 0 and 1"
        if record["decision"].get("label_sets") != expected:
            yield f"{where}/holdout.json: the label sets of its decision rule are not those of the run"
        yield from _tested_model(results.path / where / "model", record, where)


def _label_sets(results: Results) -> list[list[int]] | None:
    """Return the label sets that a model of the last test decides among; None where it decides by a threshold."""
    if results.decision != LABEL_SETS:
        return None
    return [list(each) for each in label_set_numbers(label_sets_of_run(results))]


def _same_images(
    stated: dict[str, Any], ids: Any, groups: Any, labels: Any, classes: list[str], where: str
) -> Iterator[str]:
    y = np.array([[name in each for name in classes] for each in labels], np.int8).reshape(len(ids), len(classes))
    found = facts_of(stated["kind"], np.asarray(ids, str), np.asarray(groups, str), y)
    for key in ("n_images", "n_groups", "digest"):
        if found[key] != stated[key]:
            yield f"run.json states {key} = {str(stated[key])[:12]} of the held-out images, {where} has {str(found[key])[:12]}"
            return


def _tested_model(folder: Path, record: dict[str, Any], where: str) -> Iterator[str]:
    wrong = damage(folder)
    if wrong:
        yield f"{where}/model/{wrong}"
        return
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    for key in ("decision", "trained_on"):
        if facts.get(key) != record.get(key):
            yield f"{where}: holdout.json and model/model.json differ in {key}"


def _used(results: Results) -> pd.DataFrame:
    return results.manifest[results.manifest["status"] == "ok"].reset_index(drop=True)


def _in_folds(results: Results) -> pd.DataFrame:
    """Return the rows of the manifest that the folds consist of: all usable ones that are not held out."""
    used, stated = _used(results), results.run.get("holdout")
    if stated is None or stated["kind"] != "share":
        return used
    inside = used["image_id"].isin(set(results.splits["image_id"]))
    return used[inside].reset_index(drop=True)


def _inside(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        path
        for path in found
        if path.name not in (TEST_ACCESS, OLD_TEST_ACCESS) and not path.name.startswith(_KEPT_BESIDE)
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", table.to_dict("records"))  # columns are named by strings


def _name(cell: dict[str, Any]) -> str:
    return f"{cell['model']} {fold_name(cell['repeat'], cell['fold'])}"
