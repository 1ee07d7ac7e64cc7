"""What each model costs: time per stage from the raw samples, memory and size."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reports.runs.results import Results
from reports.runs.rows import rows_of

STAGES = ("preprocess", "encode", "fit", "predict")
SPREAD_LIMIT = 0.10  # of raw samples, over their median or mean; pyperf warns at the same ratio


def stage_times(results: Results) -> pd.DataFrame:
    """List every raw timing sample as milliseconds per image.

    Returns
    -------
    DataFrame
        Columns model, stage (one of `STAGES`), ms_per_image. Fitting is divided by the number of training images,
        encoding is the sum over the model's encoders, a stage that a model does not have is absent.
    """
    rows = []
    for cell in done_cells(results):
        timings = cell["timings"]
        samples = {
            "preprocess": [timings["preprocess_seconds"] / max(results.data["n_images"], 1)],
            "encode": [sum(each["seconds"] / each["n_images"] for each in timings["encode"])],
            "fit": [fit_seconds(timings) / max(cell["n_train"], 1)],
            "predict": [seconds / max(timings["predict_images"], 1) for seconds in timings["predict_seconds"]],
        }
        rows += [
            {"model": cell["model"], "stage": stage, "ms_per_image": 1000 * seconds}
            for stage in STAGES
            for seconds in samples[stage]
            if seconds > 0
        ]
    return pd.DataFrame(rows, columns=["model", "stage", "ms_per_image"])


def fit_seconds(timings: dict[str, Any]) -> float:
    """Seconds that fitting took, with the second fit of a model that is refitted; NaN where nothing was fitted."""
    first = timings["fit_seconds"]
    return float("nan") if first is None else first + timings.get("refit_seconds", 0.0)


def model_costs(results: Results) -> pd.DataFrame:
    """Summarise the cost of each model over its finished cells.

    Returns
    -------
    DataFrame
        Indexed by model: fit_seconds_mean and _sd over the cells; encode_ms_per_image and predict_ms_per_image, medians
        of the raw samples; predict_spread, the standard deviation of those samples over their mean; peak_memory_mb, the
        largest (10^6 bytes); n_parameters and model_mb, means.
    """
    times = stage_times(results)
    cells = pd.DataFrame(done_cells(results), columns=results.cells.columns)
    fit = cells.assign(seconds=[fit_seconds(each) for each in cells["timings"]]).groupby("model")["seconds"]
    encode = times[times["stage"] == "encode"].groupby("model")["ms_per_image"]
    predict = times[times["stage"] == "predict"].groupby("model")["ms_per_image"]
    by_model = cells.astype({"peak_memory_bytes": float, "n_parameters": float, "model_bytes": float}).groupby("model")
    return pd.DataFrame(
        {
            "fit_seconds_mean": fit.mean(),
            "fit_seconds_sd": fit.std(),
            "encode_ms_per_image": encode.median(),
            "predict_ms_per_image": predict.median(),
            "predict_spread": predict.std() / predict.mean(),
            "peak_memory_mb": by_model["peak_memory_bytes"].max().div(1e6),
            "n_parameters": by_model["n_parameters"].mean(),
            "model_mb": by_model["model_bytes"].mean().div(1e6),
        }
    )


def pareto_front(cost: ArrayLike, score: ArrayLike) -> NDArray[np.bool_]:
    """Mark what nothing else beats: no other is as cheap and better, or as good and cheaper. Shapes (n,)."""
    cost, score = np.asarray(cost, dtype=float), np.asarray(score, dtype=float)
    no_worse = (cost[None, :] <= cost[:, None]) & (score[None, :] >= score[:, None])  # (n, n): column against row
    better = (cost[None, :] < cost[:, None]) | (score[None, :] > score[:, None])
    return np.logical_not((no_worse & better).any(axis=1))


def done_cells(results: Results) -> list[dict[str, Any]]:
    """Return the records of the finished cells."""
    return rows_of(results.cells[results.cells["status"] == "done"])
