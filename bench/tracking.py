"""``--mlflow URI``: a finished run in an MLflow tracking server. The run folder stays the truth; the server gets a copy of what it says.

One MLflow run for the run folder, with its report as artifacts, and below it one for each model, with its parameters, its scores and
times cell by cell (the step is the cell's number), and their means where all cells are done. What is there already is not sent again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from reports.evaluation import Evaluation

_STATE = "xraybench.state"
_LONGEST = 500  # characters of a parameter that every server takes
_AT_ONCE = 1000  # metrics that a server takes in one request
_PARAMS_AT_ONCE = 100


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

    client = MlflowClient(tracking_uri=uri)
    try:
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise UserError(
            f"--mlflow {uri}: {_reason(error)}: start a server with: mlflow server, and give its address"
        ) from None
    return client


def log_run(client: MlflowClient, folder: Path) -> str:
    """Send what a run folder says, with its report, which is written; return a line that says what was done.

    Raises
    ------
    UserError
        If the server refuses or is gone: the run folder has lost nothing.
    """
    from mlflow.exceptions import MlflowException

    from reports.evaluation import evaluate
    from reports.report import write
    from reports.results import load

    results = load(folder)
    evaluation = evaluate(results)
    experiment_name, state = f"xraybench/{results.data['name']}", _state(results.run, evaluation)
    try:
        found = client.get_experiment_by_name(experiment_name)
        experiment = found.experiment_id if found else client.create_experiment(experiment_name)
        if client.search_runs(
            [experiment], f"tags.`{_STATE}` = '{state}' and attributes.status = 'FINISHED'", max_results=1
        ):
            return f"MLflow has this run already, in the experiment {experiment_name}"
        for half in client.search_runs([experiment], f"tags.`{_STATE}` = '{state}' and attributes.status = 'RUNNING'"):
            client.set_terminated(half.info.run_id, "FAILED")  # the server went while it was sent
        tags = {_STATE: state, "mlflow.runName": results.run["run_id"], "xraybench.command": results.run["command"]}
        tags["xraybench.folder"] = folder.name
        parent = client.create_run(experiment, tags=tags).info.run_id
        _log_params(client, parent, dict(_facts(results.run)))
        for model in evaluation.finished:
            _log_model(client, experiment, parent, model, evaluation)
        write(results, html=True, csv=True)
        for name in ("run.json", "splits.parquet"):
            client.log_artifact(parent, str(folder / name))
        client.log_artifacts(parent, str(folder / "report"), "report")
        client.set_terminated(parent)
    except (MlflowException, OSError) as error:
        raise UserError(
            f"--mlflow: {_reason(error)}: the run is whole in {folder}; the same command sends it again"
        ) from None
    return f"logged to MLflow: {results.run['run_id']} in the experiment {experiment_name}"


def _log_model(client: MlflowClient, experiment: str, parent: str, model: str, evaluation: Evaluation) -> None:
    from mlflow.entities import Metric

    from reports.metrics import METRICS

    results = evaluation.results
    tags = {"mlflow.parentRunId": parent, "mlflow.runName": model}
    child = client.create_run(experiment, tags=tags).info.run_id
    _log_params(client, child, dict(_flat(results.models[model])))
    now = int(time.time() * 1000)
    rows = evaluation.scores[evaluation.scores["model"] == model]
    cells = results.cells[results.cells["model"] == model].set_index(["repeat", "fold"])
    metrics = []
    for row in rows.to_dict("records"):
        place = (row["repeat"], row["fold"])
        step = row["repeat"] * results.run["splits"]["folds"] + row["fold"]
        values = {name: row[name] for name in METRICS} | {"fit_seconds": cells.loc[place, "timings"]["fit_seconds"]}
        metrics += [Metric(name, float(value), now, step) for name, value in values.items() if value == value]
    whole = len(rows) == results.n_planned
    means = rows[list(METRICS)].mean().dropna() if whole else rows[list(METRICS)].mean().iloc[:0]
    metrics.append(Metric("n_cells", float(len(rows)), now, 0))
    metrics += [Metric(f"mean_{name}", float(value), now, 0) for name, value in means.items()]
    for begin in range(0, len(metrics), _AT_ONCE):
        client.log_batch(child, metrics=metrics[begin : begin + _AT_ONCE])
    client.set_terminated(child)


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
    """A model's table as dotted names, such as ``encoders.0.cell``."""
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
    """Digest of the run and of every score: another one where anything was added or computed anew."""
    scores = evaluation.scores.to_json(orient="values", double_precision=12)
    facts = [run["run_id"], run["created"], sorted(run["suite"]["models"]), scores]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _reason(error: Exception) -> str:
    return one_line(error, 200)
