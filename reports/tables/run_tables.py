"""The other tables: per class, per cell, the balance of the folds, the excluded files."""

import json
import math

import numpy as np
import pandas as pd

from reports.comparison.bootstrap import bootstrap
from reports.comparison.final_test import held_out_table
from reports.comparison.fixed_test import has_one_test_set, mcnemar_table
from reports.comparison.learning import curve_table, curves, has_shares
from reports.comparison.pairwise import TestSettings, pairwise
from reports.runs.results import Results, ResultsError
from reports.scores.calibration import calibration
from reports.scores.evaluation import Decided, Evaluation
from reports.scores.metrics import (
    class_average_precision,
    class_f1,
    class_precision,
    class_recall,
    class_roc_auc,
    mean_of_defined,
)
from reports.scores.suspects import hardest, suspects
from reports.scores.thresholds import decision_rules, thresholds
from reports.tables.summary import summary


def all_tables(evaluation: Evaluation, settings: TestSettings | None = None) -> dict[str, pd.DataFrame]:
    """Every table by the name of its file; tests are read at `settings`.

    Raises
    ------
    reports.runs.results.ResultsError
        If the reference model of `settings` has no finished cell.
    """
    settings = settings or TestSettings()
    if settings.reference is not None and settings.reference not in evaluation.finished:
        raise ResultsError(
            f"--reference {settings.reference}: has no finished cell in this run; there are {', '.join(evaluation.finished) or 'none'}"
        )
    draws = bootstrap(evaluation)
    on_shares = curves(evaluation) if has_shares(evaluation.results) else []
    return {
        "summary": summary(evaluation, draws, settings.alpha),
        "pairwise": pairwise(evaluation, draws, settings),
        **({"mcnemar": mcnemar_table(evaluation)} if has_one_test_set(evaluation.results) else {}),
        "per_class": per_class(evaluation),
        "cells": cells(evaluation),
        "fold_balance": fold_balance(evaluation.results),
        "excluded": excluded(evaluation.results),
        **({"holdout": held_out_table(evaluation.results, settings.alpha)} if evaluation.results.held_out else {}),
        **({"learning": curve_table(on_shares, settings.alpha)} if on_shares else {}),
        "calibration": calibration(evaluation),
        "decision_rules": decision_rules(evaluation),
        "thresholds": thresholds(evaluation),
        "suspects": suspects(evaluation),
        "hardest": hardest(evaluation),
    }


def per_class(evaluation: Evaluation) -> pd.DataFrame:
    """Score every class for every model with finished cells.

    Returns
    -------
    DataFrame
        model, class, n_images, n_groups (in the data set), n_folds_with_test (cells of the plan whose test part has the
        class); precision, recall, f1 on the pooled test predictions of a repeat, mean over repeats; roc_auc and
        average_precision, means over the cells where defined, with that number as _cells; true_positives,
        false_positives, false_negatives, true_negatives over all finished cells.
    """
    results = evaluation.results
    sizes = class_sizes(results)
    frames = []
    for model in evaluation.finished:
        parts, pooled = evaluation.parts(model), evaluation.pooled(model)
        roc_auc = np.array([class_roc_auc(part.truth, part.probability) for part in parts])  # (n_cells, n_classes)
        precision = np.array([class_average_precision(part.truth, part.probability) for part in parts])
        frame = sizes.assign(
            precision=_mean_over([class_precision(part.truth, part.decided) for part in pooled]),
            recall=_mean_over([class_recall(part.truth, part.decided) for part in pooled]),
            f1=_mean_over([class_f1(part.truth, part.decided) for part in pooled]),
            roc_auc=_mean_over(roc_auc),
            roc_auc_cells=np.isfinite(roc_auc).sum(axis=0),
            average_precision=_mean_over(precision),
            average_precision_cells=np.isfinite(precision).sum(axis=0),
            **_counts(parts),
        )
        frame.insert(0, "model", model)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else sizes.iloc[:0].assign(model=[])


def class_sizes(results: Results) -> pd.DataFrame:
    """Count images, groups and cells with test images of each class: class, n_images, n_groups, n_folds_with_test."""
    used = results.manifest[results.manifest["status"] == "ok"].explode("labels")
    by_class = used.groupby("labels")
    balance = fold_balance(results)
    tested = balance[(balance["part"] == "test") & (balance["n_images"] > 0)]
    counts = {
        "n_images": by_class["image_id"].nunique(),
        "n_groups": by_class["group"].nunique(),
        "n_folds_with_test": tested.groupby("class").size(),
    }
    frame = pd.DataFrame(counts).reindex(results.classes).fillna(0).astype(int)
    return frame.rename_axis("class").reset_index()


def cells(evaluation: Evaluation) -> pd.DataFrame:
    """List every cell of the plan with its status, every metric and its costs."""
    results = evaluation.results
    plan = pd.MultiIndex.from_product(
        [results.models, range(results.run["splits"]["repeats"]), range(results.run["splits"]["folds"])],
        names=["model", "repeat", "fold"],
    ).to_frame(index=False)
    known = results.cells[["model", "repeat", "fold", "status", "reason", "n_train", "n_valid", "n_test"]]
    costs = pd.DataFrame([_cell_costs(cell) for cell in results.cells.to_dict("records") if cell["status"] == "done"])
    table = plan.merge(known, how="left").merge(evaluation.scores, how="left")
    table = table.merge(costs, how="left") if len(costs) else table
    table = table.fillna({"status": "missing", "reason": ""})
    table = table.astype(
        {name: "Int64" for name in table.columns if name.startswith("n_") or name.endswith("_classes")}
    )
    table.insert(1, "family", [results.models[model]["family"] for model in table["model"]])
    return table


def fold_balance(results: Results) -> pd.DataFrame:
    """Count images and groups of each class in each part of each fold, with the zeros.

    Returns
    -------
    DataFrame
        repeat, fold, part, class, n_images, n_groups.
    """
    labelled = results.splits.merge(results.manifest[["image_id", "labels", "group"]], on="image_id").explode("labels")
    by_place = labelled.groupby(["repeat", "fold", "part", "labels"])
    counted = pd.DataFrame({"n_images": by_place["image_id"].nunique(), "n_groups": by_place["group"].nunique()})
    places = results.splits[["repeat", "fold", "part"]].drop_duplicates()
    grid = places.merge(pd.DataFrame({"labels": results.classes}), how="cross")
    table = grid.merge(counted.reset_index(), how="left").fillna({"n_images": 0, "n_groups": 0})
    table = table.astype({"n_images": int, "n_groups": int}).rename(columns={"labels": "class"})
    return table.sort_values(["repeat", "fold", "part"], kind="stable", ignore_index=True)


def excluded(results: Results) -> pd.DataFrame:
    """List the files that were not used: image_id, file, reason."""
    table = results.manifest.loc[results.manifest["status"] == "excluded", ["image_id", "file", "reason"]]
    return table.reset_index(drop=True)


def rare_classes(results: Results) -> pd.DataFrame:
    """List the classes with fewer groups than folds, which some test part must lack."""
    sizes = class_sizes(results)
    return sizes[sizes["n_groups"] < results.run["splits"]["folds"]].reset_index(drop=True)


def _mean_over(values) -> np.ndarray:
    """Mean over the first axis of the values that are defined, shape (n_classes,)."""
    return np.array([mean_of_defined(column) for column in np.transpose(values)])


def _counts(parts: list[Decided]) -> dict[str, np.ndarray]:
    truth, decided = (np.concatenate([getattr(part, name) for part in parts]) for name in ("truth", "decided"))
    return {
        "true_positives": (truth & decided).sum(axis=0),
        "false_positives": (~truth & decided).sum(axis=0),
        "false_negatives": (truth & ~decided).sum(axis=0),
        "true_negatives": (~truth & ~decided).sum(axis=0),
    }


def _cell_costs(cell: dict) -> dict:
    timings = cell["timings"]
    per_image = [seconds / timings["predict_images"] for seconds in timings["predict_seconds"]]
    return {
        "model": cell["model"],
        "repeat": cell["repeat"],
        "fold": cell["fold"],
        "fit_seconds": timings["fit_seconds"],
        "encode_ms_per_image": 1000 * sum(each["seconds"] / each["n_images"] for each in timings["encode"]) or math.nan,
        "predict_ms_per_image": 1000 * float(np.median(per_image)) if per_image else math.nan,
        "peak_memory_mb": (cell["peak_memory_bytes"] or math.nan) / 1e6,
        "chosen": json.dumps(cell["chosen"], sort_keys=True),
    }
