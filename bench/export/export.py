"""``bench export``: from a finished run to a model folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from radiographs.disk import fresh_folder

import bench
from bench.cells.runner import weights_of
from bench.export.assemble import assemble, seal
from bench.export.card import card, licences
from bench.export.refit import choices, refit
from bench.export.run_inputs import RunInputs, open_run_inputs
from bench.inference.decision import Rule, choose_rule
from bench.inference.package import CARD, PackageError
from bench.recipes.availability import without_packages, without_weights
from bench.recipes.build import Resources
from bench.recipes.suite import ModelSpec, Suite
from bench.store.run_folder import RunFolder

BEST = "best"


def export(run: Path, model: str, out: Path, cache: Path, resources: Resources, *, target: float) -> dict[str, Any]:
    """Write a model of a run as a folder of its own, and return its facts.

    A model that was tested on held-out images is written as it was tested. Otherwise it is
    fitted now, to every image of the run.

    Parameters
    ----------
    model : str
        A model of the run, or "best": the highest mean over the folds of the primary metric.
    target : float
        Share of sure predictions that must be correct on validation data.

    Raises
    ------
    PackageError
        If there is no such model, or `out` holds something else.
    """
    from reports.runs.results import load

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PackageError(f"{out}: already exists: give another --out")
    results = load(run)
    name = chosen_model(results, model)
    resources = replace(resources, task=results.data["task"])
    tested = RunFolder(run).holdout_folder(name) / "model"
    if tested.is_dir():
        return _copied(tested, out)
    inputs = open_run_inputs(run, cache, resources)
    with fresh_folder(out, durable=True) as fresh:
        return write_model(fresh, name, inputs, resources, results, target)


def write_model(
    folder: Path, name: str, run: RunInputs, resources: Resources, results: Any, target: float
) -> dict[str, Any]:
    """Fit a model to all training images of a run, and write it into an empty folder.

    Raises
    ------
    PackageError
        If the weights or packages that it was run with are not available.
    """
    from reports.runs.provenance import pretrained

    _check_at_hand(run.spec(name), name, resources, pretrained(results, [name]))
    seed = int(run.run["seed"])
    resources = replace(resources, task=run.data.task)
    refitted = refit(run.spec(name), name, run.data, run.encodings, resources, seed, choices(run.folder, name))
    rule = rule_of(results, name, target)
    facts = assemble(
        folder,
        name,
        refitted,
        run.data,
        run.encodings,
        resources,
        seed,
        _provenance(run.run, rule) | {"tests": tests_of(results, name)},
    )
    facts.setdefault("holdout", None)
    facts["licences"] = licences(run.run, facts, pretrained(results, [name]))
    (folder / CARD).write_text(card(facts), encoding="utf-8")
    seal(folder, facts)
    return facts


def _check_at_hand(spec: ModelSpec, name: str, resources: Resources, used: Sequence[dict[str, Any]]) -> None:
    """Refuse, before anything is fitted, to export a different model: without weights, or with others than the run's."""
    again = "give the --weights-dir of the run" if used else "see: bench doctor"
    suite = Suite(name="export", models={name: spec})
    missing = without_packages(suite) or without_weights(suite, resources)
    if missing:
        raise PackageError(f"{name}: {missing[name]}; {again}")
    for now in weights_of(spec, resources):
        before = [each for each in used if each["backbone"] == now["backbone"]]
        if before and now["sha256"] not in {each["sha256"] for each in before}:
            raise PackageError(
                f"{name}: was run with other weights of {now['backbone']} ({before[0]['file']} from {before[0]['origin']}; found now: "
                f"{now['file']} from {now['origin']}): {again}"
            )


def rule_of(results: Any, name: str, target: float) -> Rule:
    """Decision rule from the validation parts of all folds of a model together; of the kind that the run has."""
    from reports.runs.format import LABEL_SETS
    from reports.scores.evaluation import label_sets_of_run, matrices

    found = [matrices(table, "valid", results.classes) for key, table in results.predictions.items() if key[0] == name]
    truth, probability = (np.concatenate(parts) for parts in zip(*found, strict=True))
    sets = label_sets_of_run(results) if results.decision == LABEL_SETS else None
    return choose_rule(truth, probability, results.data["task"], results.data["at_least_one"], target, sets)


def tests_of(results: Any, name: str) -> dict[str, Any]:
    """Metrics of a model over the folds of its run, with intervals over draws of patients."""
    from reports.comparison.bootstrap import bootstrap
    from reports.scores.evaluation import evaluate
    from reports.scores.naming import VISIBLE_METRICS, title
    from reports.tables.summary import summary

    alone = replace(results, predictions={key: table for key, table in results.predictions.items() if key[0] == name})
    evaluation = evaluate(alone)
    row = summary(evaluation, bootstrap(evaluation)).set_index("model").to_dict("index")[name]
    numbers = ("mean", "sd", "low", "high")
    return {
        title(metric, results): {kind: _number(row[f"{metric}_{kind}"]) for kind in numbers}
        for metric in VISIBLE_METRICS
        if not math.isnan(row[f"{metric}_mean"])
    }


def chosen_model(results: Any, model: str) -> str:
    """Return the name of a model of a run, or of its best one.

    Raises
    ------
    PackageError
        If the run has no such model, or none that is finished.
    """
    from reports.scores.evaluation import evaluate
    from reports.scores.ranking import best_model

    if model == BEST:
        found = best_model(evaluate(results))
        if found is None:
            raise PackageError(f"{results.path}: no model is finished: run it first")
        return found
    if model not in results.models:
        raise PackageError(f"--model {model}: not in {results.path}; it has {', '.join(results.models)}")
    return model


def _copied(tested: Path, out: Path) -> dict[str, Any]:
    import shutil

    from bench.inference.package import read_facts

    facts = read_facts(tested)
    with fresh_folder(out, durable=True) as fresh:
        shutil.copytree(tested, fresh, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return facts


def _provenance(run: dict[str, Any], rule: Rule) -> dict[str, Any]:
    data = ("name", "title", "synthetic", "n_images", "n_groups", "group_noun", "licence", "citation", "digest")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "xraybench": bench.__version__,
        "at_least_one": run["data"]["at_least_one"],
        "preprocessing": run["suite"]["preprocessing"],
        "decision": rule.as_dict(),
        "run": {"id": run["run_id"], "suite": run["suite"]["name"], "seed": run["seed"], "splits": run["splits"]},
        "data": {key: run["data"][key] for key in data},
        "environment": run["environment"]["packages"],
    }


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else round(float(value), 6)
