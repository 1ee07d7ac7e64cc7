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

from reports.evaluation import evaluate
from reports.results import load

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
    history = client.get_metric_history(runs["hog-svm"].info.run_id, "f1_samples")
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == pytest.approx(expected.tolist())
    files = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"run.json", "splits.parquet", "report"} <= files
    page = client.download_artifacts(parent.info.run_id, "report/report.html", str(tmp_path))
    assert "hog-svm" in Path(page).read_text()
    again = bench_command(*line)
    assert "MLflow has this run already" in again.stdout
    assert len(client.search_runs([experiment.experiment_id])) == 3


def test_a_server_that_is_not_there_is_said_before_anything_is_computed(
    phantom_folder: Path, bench_command: Callable
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = bench_command("run", "prior", "--data", phantom_folder, "--out", "run", "--mlflow", address)
    assert done.returncode == 2
    assert f"--mlflow {address}" in done.stderr
    assert done.stderr.count("\n") <= 4
    assert not Path("run").exists()
