"""Scores of the heat maps that ``bench explain`` drew: per image, per model, and in sentences."""

from typing import Any

import numpy as np
import pandas as pd

from reports.runs.rows import rows_of
from reports.tables.export import csv_text

ALIKE = 0.5  # rank correlation from which a map of random weights is considered the same map


def scores(record: dict[str, Any]) -> pd.DataFrame:
    """List the prediction and the scores of the map for each image and model."""
    rows = [
        {"image": image["name"], "class": image["class"], "model": model["name"], "method": model["method"]}
        | {**found, "labels": "|".join(found["labels"])}
        for image in record["images"]
        for model, found in zip(record["models"], image["maps"], strict=True)
    ]
    return pd.DataFrame(rows)


def scores_csv(record: dict[str, Any]) -> str:
    """Write `scores` as CSV."""
    return csv_text(scores(record))


def by_model(record: dict[str, Any]) -> pd.DataFrame:
    """Means over the images for each model, and on how many images its map beats the random ones."""
    rows = []
    for name, part in scores(record).groupby("model", sort=False):
        row: dict[str, Any] = {"model": name, "method": part["method"].iloc[0], "n": len(part)}
        for kind in ("deletion", "insertion", "deletion_random", "insertion_random"):
            row[kind] = part[kind].mean()
        row["deletion_better"] = int((part["deletion"] < part["deletion_random"]).sum())
        row["insertion_better"] = int((part["insertion"] > part["insertion_random"]).sum())
        row["empty"] = int(part["empty"].sum())
        for kind in ("random_head", "random_whole"):
            row[kind] = part[kind].astype(float).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def summarise_explanations(record: dict[str, Any]) -> list[str]:
    """State for each model whether its maps are better than random ones and depend on its weights."""
    return [_summary(row) for row in rows_of(by_model(record))]


def _summary(row: dict[str, Any]) -> str:
    n = row["n"]
    if row["empty"] == n:
        return f"{row['model']}: no evidence for the class in any image; there is no map to interpret."
    better = f"on {row['deletion_better']} of {n} by deletion and on {row['insertion_better']} of {n} by insertion"
    areas = (
        f"deletion {row['deletion']:.2f} against {row['deletion_random']:.2f}, "
        f"insertion {row['insertion']:.2f} against {row['insertion_random']:.2f}"
    )
    alike = np.array([row["random_head"], row["random_whole"]], dtype=float)
    alike = alike[~np.isnan(alike)]
    if not len(alike):
        sanity = "not tested against random weights"
    elif alike.max() >= ALIKE:
        sanity = f"random weights give a similar map (rank correlation {correlation_text(alike.max())}): do not interpret it as what the model learned"
    else:
        sanity = f"random weights give a different map (rank correlation {correlation_text(alike.max())})"
    lost = [
        kind for kind, sign in (("deletion", 1), ("insertion", -1)) if sign * (row[kind] - row[f"{kind}_random"]) >= 0
    ]
    warning = f" By {' and '.join(lost)} it is no better than random: do not rely on it." if lost else ""
    return f"{row['model']} ({row['method']}): better than random maps {better} ({areas}); {sanity}.{warning}"


def correlation_text(value: float | None) -> str:
    """Write a rank correlation with two decimals; – where it was not measured."""
    return "–" if value is None or np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
