"""CLAIM 2024 and TRIPOD+AI: items that follow from a run are answered, the others are left to the author."""

import tomllib
from importlib import resources

import pandas as pd

from reports.comparison.fixed_test import has_one_test_set
from reports.comparison.pairwise import TestSettings
from reports.runs.format import LABEL_SETS, THRESHOLD
from reports.runs.provenance import DIGEST_LENGTH, count_groups, counted, describe_weights, pretrained
from reports.runs.results import Results
from reports.scores.naming import title
from reports.scores.ranking import primary_metric
from reports.tables.export import markdown_text

AUTHOR = "**the author's**"


def checklist(results: Results, settings: TestSettings) -> str:
    """Write both checklists as Markdown tables."""
    known = answers(results, settings)
    texts = [
        f"# Reporting checklists for {results.run['run_id']}",
        f"Answers follow from the run folder. Items marked {AUTHOR} must be answered by the author. Details: methods.md.",
    ]
    for each in _lists().values():
        table = pd.DataFrame(
            {
                "Item": [item["id"] for item in each["items"]],
                "Topic": [item["item"] for item in each["items"]],
                "Answer": [known.get(item.get("answer", ""), "@") for item in each["items"]],
            }
        )
        texts += [f"## {each['title']}", markdown_text(table, "").strip().replace("| @ |", f"| {AUTHOR} |")]
    return "\n\n".join(texts) + "\n"


def answers(results: Results, settings: TestSettings) -> dict[str, str]:
    """Answer what follows from the run, by the keys that `checklist.toml` uses."""
    run, data, splits = results.run, results.data, results.run["splits"]
    noun = data.get("group_noun") or "group"
    families = sorted({model["family"] for model in results.models.values()})
    starts = sorted(
        {
            str(part.get("start", "imagenet"))
            for model in results.models.values()
            for part in (*model.get("encoders", ()), model.get("head") or {})
            if "backbone" in part
        }
    )
    sources = "".join(f"; {describe_weights(each)}" for each in pretrained(results))
    done = len(results.predictions)
    metric = title(primary_metric(results), results)
    digests = f"splits {splits['digest'][:DIGEST_LENGTH]}, data {str(data.get('digest', ''))[:DIGEST_LENGTH]}"
    n_excluded = int((results.manifest["status"] == "excluded").sum())
    size = f"{data['n_images']:,} images of {count_groups(results)} in {len(data['classes'])} classes"
    return {
        "goal": f"Compare {', '.join(families)} models on {len(data['classes'])} classes; development and internal evaluation",
        "data": f"{data.get('title') or data['name']}{' (SYNTHETIC: simulated images)' if data.get('synthetic') else ''}; licence: {data.get('licence') or 'not stated'}",
        "excluded": f"All readable, labelled images; {counted(n_excluded, 'file')} excluded, each with its reason in excluded.csv",
        "preprocessing": "The same for all models, without learned parameters; settings in methods.md",
        "subsets": "None: all usable images",
        "missing": "Unlabelled or unreadable images are excluded and listed; no value is imputed",
        "reference": f"The labels of the data set ({'several' if data['task'] == 'multilabel' else 'one'} per image), as registered",
        "partitions": f"One fixed test set, seed {run['seed']}, {digests}"
        if has_one_test_set(results)
        else f"{splits['folds']}-fold cross-validation x {splits['repeats']}, stratified over labels, seed {run['seed']}, {digests}",
        "disjoint": f"{noun.capitalize()}: no {noun} is in two parts of a fold; identical images share a {noun}",
        "size": f"{size}; not determined in advance by the run",
        "models": f"{counted(len(results.models), 'model')}; classes and parameters in run.json and methods.md",
        "software": f"xraybench {run.get('xraybench', '')}; versions in methods.md, BibTeX in citations.bib",
        "starts": f"Backbones start from: {', '.join(starts)}{sources}" if starts else "No network was trained",
        "training": "In run.json; chosen parameters and history of every cell in cell.json",
        "selection": _selection(results),
        "ensembling": "None, except models of the family fusion, which concatenate encodings",
        "metrics": f"Primary: {metric}; others in summary.csv",
        "uncertainty": f"{'McNemar, exact' if has_one_test_set(results) else 'Corrected resampled t-test'}, Holm, alpha {settings.alpha:g}; "
        f"bootstrap over {noun}s",
        "internal": "Cross-validation on one data set: training and test data come from the same source",
        "numbers": f"{size}; {counted(n_excluded, 'file')} excluded; counts of each part in fold_balance.csv",
        "performance": "summary.csv and per_class.csv",
        "precision": "Intervals in summary.csv and pairwise.csv",
        "failures": "Confusions and scores of each class in report.html; per-image predictions in cells/",
        "protocol": f"The suite {run['suite']['name']} in run.json (SHA-256 {str(run['suite'].get('digest', ''))[:DIGEST_LENGTH]})",
        "availability": f"Code: xraybench; splits and per-image predictions: the run folder {run['run_id']}; data: the author's",
        "predictors": "Pixels of the preprocessed images alone",
        "analysis": "methods.md",
        "imbalance": "Stratified folds; no resampling; class weights where a model's parameters set them",
        "output": f"A probability for each class; {_decision(results)}",
        "cells": f"{done} cells finished of {results.n_planned * len(results.models)}; n of each part in cells.csv",
    }


def _selection(results: Results) -> str:
    what = "Parameters, epochs and thresholds" if results.decision == THRESHOLD else "Parameters and epochs"
    again = (
        f"; then refitted to training and validation part: {', '.join(results.refitted)}" if results.refitted else ""
    )
    return f"{what} on the validation part of each fold, never on the test part{again}"


def _decision(results: Results) -> str:
    if results.data["task"] != "multilabel":
        return "the most probable class"
    if results.decision == LABEL_SETS:
        return "the label set with the highest expected F1 among those of training and validation images"
    return "one threshold for all classes from the validation part"


def _lists() -> dict[str, dict]:
    return tomllib.loads(resources.files("reports").joinpath("citation", "checklist.toml").read_text(encoding="utf-8"))
