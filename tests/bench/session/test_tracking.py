"""`--mlflow`: a run in a real MLflow server, which stands in an environment of its own (XRAYBENCH_MLFLOW names its command)."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.errors import UserError
from reports.runs.results import load
from reports.scores.evaluation import evaluate

pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with its own store."""
    command = os.environ.get("XRAYBENCH_MLFLOW")
    if not command:
        pytest.skip(
            "XRAYBENCH_MLFLOW is not set: uv venv m && uv pip install -p m mlflow; XRAYBENCH_MLFLOW=m/bin/mlflow"
        )
    root = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    stores = ["--backend-store-uri", f"sqlite:///{root}/store.db", "--artifacts-destination", str(root / "artifacts")]
    line = [command, "server", *stores, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    alone = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"
    }  # jobs are six processes more, which nobody asks for anything
    with (
        (root / "log").open("w") as log,
        subprocess.Popen(line, cwd=root, env=alone, stdout=log, stderr=log) as process,
    ):
        try:
            _wait(address, process, root / "log")
            yield address
        finally:
            process.terminate()


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2)  # noqa: S310 - our own server
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


def test_a_run_is_in_the_server_as_it_is_in_its_folder_and_once(
    server: str, phantom_folder: Path, bench_command: Callable, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    line = ("run", "prior", "hog-svm", "--data", phantom_folder, "--folds", "3", "--out", "run", "--mlflow", server)
    done = bench_command(*line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "logged to MLflow" in done.stdout
    results = load(Path("run"))
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name(f"xraybench/{results.data['name']}")
    assert experiment
    runs = {run.data.tags["mlflow.runName"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {results.run["run_id"], "prior", "hog-svm"}
    parent = runs[results.run["run_id"]]
    assert parent.data.params["splits.digest"] == results.run["splits"]["digest"]
    assert runs["hog-svm"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert runs["hog-svm"].data.params["head.class"] == "baselines.svm:SVM"
    assert runs["hog-svm"].data.params["encoders.0.cell"] == "16"
    scores = evaluate(results).scores
    expected = scores[scores["model"] == "hog-svm"].sort_values("fold")["f1_samples"]
    history = client.get_metric_history(runs["hog-svm"].info.run_id, "fold_f1_samples")
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == pytest.approx(expected.tolist())
    assert runs["hog-svm"].data.metrics["f1_samples"] == pytest.approx(expected.mean())
    means = scores.groupby("model")[["f1_samples", "accuracy"]].mean()
    shown = parent.data.metrics  # of the best model, and the score of every model
    assert [shown["f1_samples"], shown["accuracy"]] == pytest.approx(means.loc["hog-svm"].tolist())
    assert parent.data.tags["xraybench.best_model"] == "hog-svm"
    assert [shown[f"f1_samples.{name}"] for name in means.index] == pytest.approx(means["f1_samples"].tolist())
    assert not [name for name in shown if name.startswith("fold_")]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    files = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"run.json", "splits.parquet", "report"} <= files
    page = client.download_artifacts(parent.info.run_id, "report/report.html", str(tmp_path))
    assert "hog-svm" in Path(page).read_text()
    again = bench_command(*line)
    assert "MLflow has this run already" in again.stdout
    assert len(client.search_runs([experiment.experiment_id])) == 3


def test_a_server_that_goes_leaves_the_run_whole_and_nothing_that_seems_to_run(
    server: str, phantom_folder: Path, bench_command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def gone(*_: object) -> None:
        raise ConnectionError("HTTPConnectionPool(host='127.0.0.1', port=5000): Max retries exceeded with url: /api")

    line = ("run", "prior", "--data", phantom_folder, "--folds", "2", "--seed", "3", "--out", "run", "--mlflow", server)
    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "log_artifacts", gone)
        short = bench_command(*line)
    assert short.returncode == 1
    assert short.stderr == ""
    assert "2 cells computed" in short.stdout
    assert (
        "warning: not logged to MLflow (the server does not answer): the run is whole in run; the same command sends it"
        in short.stdout
    )
    client = MlflowClient(tracking_uri=server)
    run_id = load(Path("run")).run["run_id"]
    experiment = client.get_experiment_by_name(f"xraybench/{load(Path('run')).data['name']}")
    assert experiment

    def statuses() -> list[str]:
        found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.runName` = '{run_id}'")
        return sorted(run.info.status for run in found)

    assert statuses() == ["FAILED"]
    again = bench_command(*line)
    assert "logged to MLflow" in again.stdout
    assert statuses() == ["FAILED", "FINISHED"]


def test_a_server_that_is_gone_when_the_run_is_done_costs_no_result(
    phantom_folder: Path, bench_command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.session import run as session
    from bench.session import tracking

    asked = []

    def connect(uri: str) -> None:
        asked.append(uri)
        if len(asked) > 1:
            raise UserError(f"--mlflow {uri}: the server does not answer")

    monkeypatch.setattr(tracking, "connect", connect)
    done = bench_command(
        "run", "prior", "--data", phantom_folder, "--folds", "2", "--out", "run", "--mlflow", "http://a:1"
    )
    assert done.returncode == session.SOME_FAILED
    assert "2 cells computed" in done.stdout
    assert "warning: not logged to MLflow (--mlflow http://a:1: the server does not answer)" in done.stdout


def test_a_server_that_is_not_there_is_said_before_anything_is_computed(
    phantom_folder: Path, bench_command: Callable
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = bench_command("run", "prior", "--data", phantom_folder, "--out", "run", "--mlflow", address)
    assert done.returncode == 2
    assert f"--mlflow {address}: the server does not answer: start one with: mlflow server" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("run").exists()
