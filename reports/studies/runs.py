"""The runs of a study, read from its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from reports.comparison.across import Across, across, check_same_decision
from reports.runs.format import seal
from reports.runs.results import Results, ResultsError, load
from reports.scores.evaluation import Evaluation, evaluate
from reports.scores.ranking import primary_metric

BASE = "base"
FILE = "study.json"
_NAME = re.compile(r"^\w[\w .+-]{0,199}$")
_FIELDS = ("name", "data", "suite", "variant", "seed", "test")


@dataclass(frozen=True)
class StudyRun:
    """A run and its place in the study.

    Attributes
    ----------
    data : tuple of str
        Data sets that it was trained on.
    test : str or None
        Data set on which its models were tested besides.
    """

    name: str
    data: tuple[str, ...]
    suite: str
    variant: str
    seed: int
    test: str | None
    evaluation: Evaluation

    @property
    def results(self) -> Results:
        """The run folder."""
        return self.evaluation.results

    @property
    def models(self) -> list[str]:
        """Models that are trained on all patients of the training part, with all cells done."""
        recipes = self.results.models
        return [name for name in self.evaluation.complete if recipes[name].get("train_share", 1) == 1]

    def folds(self, model: str, metric: str) -> pd.Series:
        """Return a metric of each cell of a model, indexed by repeat and fold."""
        rows = self.evaluation.scores
        return rows[rows["model"] == model].set_index(["repeat", "fold"])[metric].sort_index()

    def ratio(self, model: str) -> float:
        """Test images over training images, mean over the cells."""
        cells = self.results.cells
        cells = cells[(cells["model"] == model) & (cells["status"] == "done")]
        return float((cells["n_test"] / cells["n_train"]).mean())


@dataclass(frozen=True)
class StudyResults:
    """All runs of a study that have begun; `absent` names those that have not begun."""

    path: Path
    name: str
    runs: tuple[StudyRun, ...]
    absent: tuple[str, ...]

    @cached_property
    def metric(self) -> str:
        """The metric that all tables of the study rest on: accuracy where every run has one label per image, else F1 per image."""
        metrics = {primary_metric(run.results) for run in self.runs}
        return metrics.pop() if len(metrics) == 1 else "f1_samples"

    @property
    def single_data_runs(self) -> list[StudyRun]:
        """Runs on one data set alone."""
        return [run for run in self.runs if run.test is None]

    def groups(self) -> Iterator[tuple[str, str, list[StudyRun]]]:
        """Give data set, suite, and the runs on them; base and first seed first."""
        keys = dict.fromkeys((run.data[0], run.suite) for run in self.single_data_runs)
        for data, suite in keys:
            yield data, suite, [run for run in self.single_data_runs if (run.data[0], run.suite) == (data, suite)]

    def bases(self) -> list[StudyRun]:
        """For each data set and suite the run without changes, with the first seed."""
        return [runs[0] for _, _, runs in self.groups() if runs[0].variant == BASE]


def load_study(folder: Path) -> StudyResults:
    """Read a study's folder.

    Raises
    ------
    ResultsError
        If the list of runs or a run folder is damaged, no run has begun, or their labels are decided by different rules.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content.get("schema", 1) != 1 or "seal" in content) and content.get("seal") != seal(content):
            raise ValueError("it does not match its seal")
        facts = [{key: each[key] for key in _FIELDS} for each in content["runs"]]
        name = str(content["name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path}: cannot be read as a study ({error}): repeat the same `bench study`") from None
    runs, absent = [], []
    for each in facts:
        if not _NAME.match(str(each["name"])):
            raise ResultsError(f"{path}: {each['name']!r} is not a valid name of a run")
        texts = [each["suite"], each["variant"], *(each["data"] if isinstance(each["data"], list) else [None])]
        if not all(isinstance(text, str) for text in texts):
            raise ResultsError(f"{path}: {each['name']}: data, suite and variant must be text")
        root = folder / "runs" / each["name"]
        if (root / "run.json").is_file():
            results = load(root)
            if results.run["seed"] != each["seed"] or results.run["suite"]["name"] != each["suite"]:
                raise ResultsError(
                    f"{root}: is of another suite or seed than {path} says: repeat the same `bench study`"
                )
            runs.append(StudyRun(**each | {"data": tuple(each["data"]), "evaluation": evaluate(results)}))
        else:
            absent.append(each["name"])
    check_same_decision([run.results for run in runs])
    if not runs:
        raise ResultsError(f"{folder}: no run of this study has begun: repeat the same `bench study`")
    return StudyResults(folder, name, tuple(runs), tuple(absent))


def scores_table(study: StudyResults) -> pd.DataFrame:
    """One row per run and model: run, data, suite, variant, seed, model, family, mean and sd over the cells, cells."""
    rows = []
    for run in study.runs:
        for model in run.models:
            values = run.folds(model, study.metric)
            rows.append(
                {
                    "run": run.name,
                    "data": " + ".join(run.data),
                    "suite": run.suite,
                    "variant": run.variant,
                    "seed": run.seed,
                    "model": model,
                    "family": run.results.models[model]["family"],
                    "mean": values.mean(),
                    "sd": values.std(),
                    "cells": len(values),
                }
            )
    return pd.DataFrame(rows)


def ranks(study: StudyResults, alpha: float) -> tuple[list[Across], list[str]]:
    """Ranks over the data sets for each suite, or why there are none."""
    found, problems = [], []
    for suite in dict.fromkeys(run.suite for run in study.bases()):
        runs = [run for run in study.bases() if run.suite == suite]
        if len(runs) < 2:
            continue
        try:
            models = [m for m in runs[0].models if all(m in run.models for run in runs)]
            found.append(across([run.evaluation for run in runs], alpha, models, [run.data[0] for run in runs]))
        except ResultsError as error:
            problems.append(f"No ranks over the data sets: {error}.")
    return found, problems


def summarise_unfinished(study: StudyResults) -> list[str]:
    """Name the runs and models that are not finished."""
    unfinished = []
    for run in study.runs:
        complete = run.evaluation.complete
        if lacking := [model for model in run.results.models if model not in complete]:
            unfinished.append(f"{run.name} ({', '.join(lacking)})")
    names = [*unfinished, *study.absent]
    return [f"Not finished, and left out: {'; '.join(names)}."] if names else []
