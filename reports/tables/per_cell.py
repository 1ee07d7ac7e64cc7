"""Every cell of the plan: its status, scores and costs."""

import json
import math

import numpy as np
import pandas as pd

from reports.runs.costs import fit_seconds
from reports.runs.rows import rows_of
from reports.scores.evaluation import Evaluation


def cells(evaluation: Evaluation) -> pd.DataFrame:
    """List every cell of the plan with its status, every metric and its costs."""
    results = evaluation.results
    plan = pd.MultiIndex.from_product(
        [results.models, range(results.run["splits"]["repeats"]), range(results.run["splits"]["folds"])],
        names=["model", "repeat", "fold"],
    ).to_frame(index=False)
    known = results.cells[["model", "repeat", "fold", "status", "reason", "n_train", "n_valid", "n_test"]]
    costs = pd.DataFrame([_cell_costs(cell) for cell in rows_of(results.cells) if cell["status"] == "done"])
    table = plan.merge(known, how="left").merge(evaluation.scores, how="left")
    table = table.merge(costs, how="left") if len(costs) else table
    table = table.fillna({"status": "missing", "reason": ""})
    table = table.astype(
        {name: "Int64" for name in table.columns if name.startswith("n_") or name.endswith("_classes")}
    )
    table.insert(1, "family", [results.models[model]["family"] for model in table["model"]])
    return table


def _cell_costs(cell: dict) -> dict:
    timings = cell["timings"]
    per_image = [seconds / timings["predict_images"] for seconds in timings["predict_seconds"]]
    return {
        "model": cell["model"],
        "repeat": cell["repeat"],
        "fold": cell["fold"],
        "fit_seconds": fit_seconds(timings),
        "encode_ms_per_image": 1000 * sum(each["seconds"] / each["n_images"] for each in timings["encode"]) or math.nan,
        "predict_ms_per_image": 1000 * float(np.median(per_image)) if per_image else math.nan,
        "peak_memory_mb": (cell["peak_memory_bytes"] or math.nan) / 1e6,
        "chosen": json.dumps(cell["chosen"], sort_keys=True),
    }
