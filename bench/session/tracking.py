"""``--mlflow URI``: a finished run in an MLflow tracking server. The run folder remains the reference; the server gets a copy of its content.

One MLflow run for the run folder, with the scores of its best model, every model's score and the report as artifacts, and below it one for
each model, with its parameters, its means where all cells are done, and scores and times cell by cell under names with ``fold_`` before them
(the step is the cell's number). A run there has status FAILED until everything of it was sent: whatever interrupts the upload, nothing remains
that seems to be running. What the server already has is not sent again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, one_line

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from reports.scores.evaluation import Evaluation

_STATE = "xraybench.state"
_LONGEST = 500  # characters of a parameter that every server takes
_AT_ONCE = 1000  # metrics that a server takes in one request
_PARAMS_AT_ONCE = 100
_NO_NAME = re.compile(r"[^\w. -]")  # characters that a metric's name may not contain
_MEANINGS = {
    "Name or service not known": "no such host",
    "Temporary failure in name resolution": "no such host",
    "timed out": "the server does not answer in time",
    "Max retries exceeded": "the server does not answer",
    "Connection refused": "the server does not answer",
    "Connection aborted": "the server ended the connection",
}  # patterns in the libraries' messages


class TrackingError(Exception):
    """The server is gone or refuses; the message says why. The run folder is unaffected."""


def connect(uri: str) -> MlflowClient:
    """Return a client of a server that answers.

    Raises
    ------
    UserError
        If MLflow is not installed, or the server does not answer.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UserError("--mlflow: MLflow is not installed: pip install 'xraybench[mlflow]'")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri=uri)
        with _quiet():
            client.search_experiments(max_results=1)
    except MlflowException as error:
        raise UserError(
            f"--mlflow {uri}: {_reason(error)}: start one with: mlflow server, and give its address"
        ) from None
    return client


def log_run(client: MlflowClient, folder: Path) -> str:
    """Send the content of a run folder and its report, which is written first; return a line on the outcome.

    Raises
    ------
    TrackingError
        If the server refuses or is gone.
    """
    from mlflow.exceptions import MlflowException

    from reports.pages.report import write
    from reports.runs.results import load
    from reports.scores.evaluation import evaluate

    results = load(folder)
    evaluation = evaluate(results)
    write(results, html=True, csv=True)
    try:
        with _quiet():
            return _sent(client, folder, evaluation)
    except (MlflowException, OSError) as error:
        raise TrackingError(_reason(error)) from None


def _sent(client: MlflowClient, folder: Path, evaluation: Evaluation) -> str:
    results = evaluation.results
    experiment_name, state = f"xraybench/{results.data['name']}", _state(results.run, evaluation)
    found = client.get_experiment_by_name(experiment_name)
    experiment = found.experiment_id if found else client.create_experiment(experiment_name)
    finished = f"tags.`{_STATE}` = '{state}' and attributes.status = 'FINISHED'"
    if client.search_runs([experiment], finished, max_results=1):
        return f"MLflow has this run already, in the experiment {experiment_name}"
    tags = {_STATE: state, "mlflow.runName": results.run["run_id"], "xraybench.command": results.run["command"]}
    parent = _begun(client, experiment, tags | {"xraybench.folder": folder.name})
    _log_params(client, parent, dict(_facts(results.run)))
    for model in evaluation.finished:
        _log_model(client, experiment, parent, model, evaluation)
    _log_headline(client, parent, evaluation)
    for name in ("run.json", "splits.parquet"):
        client.log_artifact(parent, str(folder / name))
    client.log_artifacts(parent, str(folder / "report"), "report")
    client.set_terminated(parent)
    return f"logged to MLflow: {results.run['run_id']} in the experiment {experiment_name}"


def _begun(client: MlflowClient, experiment: str, tags: dict[str, str]) -> str:
    """Start a run, with status FAILED until everything is sent, and return its id."""
    run = client.create_run(experiment, tags=tags).info.run_id
    client.set_terminated(run, "FAILED")
    return run


def _log_headline(client: MlflowClient, parent: str, evaluation: Evaluation) -> None:
    """Log the means of the best model, and every model's score, such as ``f1_samples.hog-svm``."""
    from reports.scores.ranking import best_model, primary_metric

    metric = primary_metric(evaluation.results)
    means = {model: _means(model, evaluation) for model in evaluation.finished}
    scores = {
        f"{metric}.{_NO_NAME.sub('_', model)}": found[metric] for model, found in means.items() if metric in found
    }
    best = best_model(evaluation)
    if best:
        client.set_tag(parent, "xraybench.best_model", best)
    _log_metrics(
        client,
        parent,
        [(name, value, 0) for name, value in {**(means.get(best, {}) if best else {}), **scores}.items()],
    )


def _log_model(client: MlflowClient, experiment: str, parent: str, model: str, evaluation: Evaluation) -> None:
    results = evaluation.results
    child = _begun(client, experiment, {"mlflow.parentRunId": parent, "mlflow.runName": model})
    _log_params(client, child, dict(_flat(results.models[model])))
    rows = _cells(model, evaluation)
    folds = results.run["splits"]["folds"]
    metrics = [("n_cells", len(rows), 0), *((name, value, 0) for name, value in _means(model, evaluation).items())]
    for row in rows.to_dict("records"):
        step = row.pop("repeat") * folds + row.pop("fold")
        metrics += [(f"fold_{name}", value, step) for name, value in row.items()]
    _log_metrics(client, child, metrics)
    client.set_terminated(child)


def _cells(model: str, evaluation: Evaluation) -> pd.DataFrame:
    """Scores and fit time of a model's cells: repeat, fold, every metric, fit_seconds."""
    from reports.runs.costs import fit_seconds
    from reports.scores.metrics import METRICS

    cells = evaluation.results.cells
    times = cells.assign(fit_seconds=[fit_seconds(timings) for timings in cells["timings"]])
    rows = evaluation.scores.loc[evaluation.scores["model"] == model, ["model", "repeat", "fold", *METRICS]]
    key = ["model", "repeat", "fold"]
    return rows.merge(times[[*key, "fit_seconds"]], on=key).drop(columns="model")


def _means(model: str, evaluation: Evaluation) -> dict[str, float]:
    """Means over the cells of a model that has all of them."""
    rows = _cells(model, evaluation)
    if len(rows) < evaluation.results.n_planned:
        return {}
    means = rows.drop(columns=["repeat", "fold"]).mean().dropna()
    return {str(name): float(value) for name, value in means.items()}


def _log_metrics(client: MlflowClient, run: str, values: list[tuple[str, float, int]]) -> None:
    """Log names, values and steps; values that are not finite are left out."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, float(value), now, step) for name, value, step in values if value == value]
    for begin in range(0, len(metrics), _AT_ONCE):
        client.log_batch(run, metrics=metrics[begin : begin + _AT_ONCE])


def _log_params(client: MlflowClient, run: str, values: dict[str, Any]) -> None:
    from mlflow.entities import Param

    params = [Param(name, str(value)[:_LONGEST]) for name, value in values.items()]
    for begin in range(0, len(params), _PARAMS_AT_ONCE):
        client.log_batch(run, params=params[begin : begin + _PARAMS_AT_ONCE])


def _facts(run: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "suite", run["suite"]["name"]
    yield "seed", run["seed"]
    yield "device", run["device"]
    yield "xraybench", run["xraybench"]
    yield from ((f"data.{name}", run["data"][name]) for name in ("name", "digest", "n_images", "n_groups", "task"))
    yield from ((f"splits.{name}", run["splits"][name]) for name in ("digest", "folds", "repeats"))
    yield from ((f"preprocessing.{name}", value) for name, value in run["suite"]["preprocessing"].items())


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return a model's table as dotted names, such as ``encoders.0.cell``."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = enumerate(value)
    else:
        yield name or "value", value
        return
    for key, each in items:
        yield from _flat(each, f"{name}.{key}" if name else str(key))


def _state(run: dict[str, Any], evaluation: Evaluation) -> str:
    """Digest of the run and of every score; it changes if anything is added or recomputed."""
    scores = evaluation.scores.to_json(orient="values", double_precision=12)
    facts = [run["run_id"], run["created"], sorted(run["suite"]["models"]), scores]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence each attempt: this program reports the outcome in one line."""
    loggers = [logging.getLogger(name) for name in ("urllib3", "mlflow")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


def _reason(error: Exception) -> str:
    """Return what went wrong, without the library's addresses and object names."""
    message = one_line(error, 2000)
    for words, meaning in _MEANINGS.items():
        if words in message:
            return meaning
    return message[:200]
