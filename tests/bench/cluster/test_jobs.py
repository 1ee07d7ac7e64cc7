"""Jobs of a batch system: those that end are submitted again, why they wait is said, and Ctrl-C stays ours.

The batch system is a stub here. With SLURM's commands on this machine the long form tries the real one: ``pytest -m slow tests/bench/cluster/test_jobs.py``.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import UserError
from bench.executors.interrupts import handlers_kept, unheard

pytest.importorskip("distributed")
with handlers_kept():
    pytest.importorskip("dask_jobqueue")

from bench.cluster import connect, jobs
from bench.cluster.config import ClusterLostError, Queue
from bench.cluster.jobs import Jobs, submit

TWO = {"kind": "slurm", "jobs": 2, "cores": 1, "memory": "1GB", "interface": "eth0"}


class Cluster:
    """Stands for one of dask-jobqueue: jobs are numbers from 1 on; `refuses` is what sbatch says."""

    def __init__(self) -> None:
        self.workers: dict[str, Any] = {}
        self.worker_spec: dict[str, object] = {}
        self.new_spec: dict[str, object] = {}
        self.submitted = 0
        self.refuses = ""

    def sync(self, function: Callable) -> None:
        asyncio.run(function())

    async def _correct_state(self) -> None:
        for name in [name for name in self.worker_spec if name not in self.workers]:
            self.workers[name] = SimpleNamespace(job_id=None)
            if self.refuses:
                raise RuntimeError(f"Command exited with non-zero exit code.\nstderr:\n{self.refuses}\n")
            self.submitted += 1
            self.workers[name].job_id = str(self.submitted)

    def name(self, number: str) -> str:
        return next(name for name, job in self.workers.items() if job.job_id == number)


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `squeue` prints, in a file."""
    (tmp_path / "bin").mkdir()
    answer = tmp_path / "answer"
    answer.write_text("")
    command = tmp_path / "bin/squeue"
    command.write_text(f"#!/bin/sh\ncat {answer}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(jobs, "_LOOK", 0)
    return answer


@pytest.fixture
def watched() -> tuple[Cluster, Jobs, list[str]]:
    """Two jobs in the queue, and what is said of them."""
    cluster, said = Cluster(), []
    submit(cluster, 2)
    return cluster, Jobs(Queue.model_validate(TWO), cluster, said.append), said


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("1|TIMEOUT|TimeLimit", "job 1 has ended (TIMEOUT: TimeLimit): submitted again as 3"),
        ("1|CANCELLED|Resources", "job 1 has ended (CANCELLED): submitted again as 3"),
        ("1|OUT_OF_MEMORY|OutOfMemory", "job 1 has ended (OUT_OF_MEMORY: OutOfMemory): submitted again as 3"),
        ("1|NODE_FAIL|NodeDown", "job 1 has ended (NODE_FAIL: NodeDown): submitted again as 3"),
        ("", "job 1 has ended (COMPLETED): submitted again as 3"),  # forgotten by SLURM
    ],
)
def test_a_job_that_ends_is_submitted_again_under_another_name(
    squeue: Path, watched: tuple[Cluster, Jobs, list[str]], state: str, words: str
) -> None:
    cluster, watched_jobs, said = watched
    ended = cluster.name("1")
    squeue.write_text(f"{state}\n2|RUNNING|None\n".lstrip())
    watched_jobs.check()
    assert said == [words]
    assert ended not in cluster.worker_spec
    assert len(cluster.worker_spec) == 2
    squeue.write_text("2|RUNNING|None\n3|COMPLETING|None\n")
    watched_jobs.check()
    assert said == [words]


def test_jobs_that_end_without_a_result_are_submitted_again_three_times_each_then_the_run_ends(
    squeue: Path, watched: tuple[Cluster, Jobs, list[str]]
) -> None:
    cluster, watched_jobs, _ = watched
    squeue.write_text("")
    for _ in range(3):
        watched_jobs.check()
    assert cluster.submitted == 2 + 3 * 2
    with pytest.raises(ClusterLostError, match=r"last: job 8 has ended \(COMPLETED\).*too short a walltime"):
        watched_jobs.check()


def test_a_result_counts_the_ends_anew(squeue: Path, watched: tuple[Cluster, Jobs, list[str]]) -> None:
    cluster, watched_jobs, _ = watched
    squeue.write_text("")
    for _ in range(20):
        watched_jobs.check()
        watched_jobs.has_result()
    assert cluster.submitted == 2 + 20 * 2


def test_a_queue_that_refuses_is_asked_again_and_says_why(
    squeue: Path, watched: tuple[Cluster, Jobs, list[str]]
) -> None:
    cluster, watched_jobs, said = watched
    cluster.refuses = "sbatch: error: Socket timed out"
    squeue.write_text("2|RUNNING|None\n")
    watched_jobs.check()
    assert said[-1].endswith("the job was rejected: sbatch: error: Socket timed out")
    cluster.refuses = ""
    watched_jobs.check()
    assert said[-1] == "jobs were missing: submitted again as 3"
    cluster.refuses = "sbatch: error: invalid partition specified: nosuch"
    with pytest.raises(UserError, match="the job was rejected: sbatch: error: invalid partition specified: nosuch"):
        submit(cluster, 1)
    assert len(cluster.worker_spec) == 2


def test_why_jobs_wait_is_said_once(squeue: Path, watched: tuple[Cluster, Jobs, list[str]]) -> None:
    _, watched_jobs, said = watched
    squeue.write_text("1|PENDING|Resources\n2|PENDING|QOSMaxCpuPerUserLimit\n")
    for _ in range(4):
        watched_jobs.check()
    assert said == ["jobs 1, 2 waiting in the queue (QOSMaxCpuPerUserLimit, Resources)"]
    assert watched_jobs.why_waiting() == said[0]
    squeue.write_text("1|RUNNING|None\n2|PENDING|None\n")
    watched_jobs.check()
    assert watched_jobs.why_waiting() == "waiting for the jobs 1, 2, of which squeue says more"


@pytest.mark.parametrize("answer", ["slurm_load_jobs error: Unable to contact slurm controller\n", "a|b\n"])
def test_a_queue_that_does_not_say_ends_nothing(
    squeue: Path, watched: tuple[Cluster, Jobs, list[str]], answer: str
) -> None:
    cluster, watched_jobs, said = watched
    squeue.write_text(answer)
    watched_jobs.check()
    assert (said, cluster.submitted) == ([], 2)


def test_without_slurm_a_job_has_ended_when_dask_misses_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_LOOK", 0)
    cluster, said = Cluster(), []
    submit(cluster, 2)
    watched_jobs = Jobs(Queue.model_validate({**TWO, "kind": "pbs"}), cluster, said.append)
    watched_jobs.check()
    assert said == []
    del cluster.workers[cluster.name("2")]  # as Dask does
    watched_jobs.check()
    assert said == ["job 2 has ended (COMPLETED: its worker is gone): submitted again as 3"]


def queue(**more: object) -> Queue:
    return Queue.model_validate({"kind": "slurm", "jobs": 1, "cores": 1, "memory": "1GB", **more})


def test_the_scheduler_listens_on_this_machine_alone_or_on_the_network_that_is_named() -> None:
    alone, named = queue(), queue(interface="eth0")
    assert connect.scheduler_options(alone)["host"] == "127.0.0.1"
    assert "--host 127.0.0.1" in " ".join(connect.batch_options(alone)["worker_extra_args"])
    assert "host" not in connect.scheduler_options(named)
    assert connect.batch_options(named)["interface"] == "eth0"
    assert "--host" not in connect.batch_options(named)["worker_extra_args"]
    own = queue(scheduler_options={"host": "10.0.0.1"})
    assert connect.scheduler_options(own)["host"] == "10.0.0.1"
    said: list[str] = []
    for each in (alone, named, own):
        Jobs(each, None, said.append)
    assert len(said) == 1
    assert said[0].startswith(
        "the scheduler listens on this machine alone (127.0.0.1): jobs on other machines need a line"
    )


def test_there_is_no_dashboard_unless_it_is_asked_for() -> None:
    off = connect.scheduler_options(queue(interface="eth0"))
    assert (off["dashboard"], off["dashboard_address"]) == (False, "127.0.0.1:0")
    on = connect.scheduler_options(queue(scheduler_options={"dashboard_address": "127.0.0.1:8787"}))
    assert on == {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:8787"}
    assert "--no-dashboard" in connect.batch_options(queue())["worker_extra_args"]


def test_a_library_that_takes_ctrl_c_away_gives_it_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with handlers_kept():
        importlib.reload(importlib.import_module("dask_jobqueue.runner"))
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked here")
def test_what_is_begun_for_this_process_does_not_hear_ctrl_c() -> None:
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def heard() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    with unheard():
        assert heard() == "True"
    assert heard() == "False"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt), unheard():  # heard afterwards
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


SLOW = """
import time
from baselines.prior import Prior
class Slow(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        time.sleep(10)
        return super().fit(X, y, X_valid, y_valid, seed)
"""
SUITE = """
name = "mine"
[preprocessing]
side = 64
[cv]
folds = 3
[models.slow]
family = "dummy"
head = { class = "slow:Slow" }
"""
SLURM = pytest.mark.skipif(not shutil.which("sbatch"), reason="no SLURM here")


def start(folder: Path, data: Path, cluster: str) -> subprocess.Popen:
    """Start a run of three slow cells in a session of its own, as a terminal does."""
    (folder / "slow.py").write_text(SLOW)
    (folder / "mine.toml").write_text(SUITE)
    (folder / "slurm.toml").write_text('kind = "slurm"\njobs = 1\ncores = 1\nmemory = "1GB"\nwalltime = "00:05:00"\n')
    options = ["--suite", "mine.toml", "--data", str(data), "--out", "run", "--cluster", cluster]
    line = [sys.executable, "-m", "bench.cli", "run", "slow", *options]
    where = os.environ | {"XRAYBENCH_CACHE": str(folder / "cache")}
    with (folder / "said").open("w") as said:
        return subprocess.Popen(line, cwd=folder, env=where, stdout=said, stderr=said, start_new_session=True)


def wait_for_cell(folder: Path, run: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and run.poll() is None and not [*folder.glob("run/cells/*/*/cell.json")]:
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local:2", pytest.param("slurm.toml", marks=SLURM)])
def test_ctrl_c_in_a_terminal_ends_a_cluster_with_the_usual_words(
    phantom_folder: Path, tmp_path: Path, cluster: str
) -> None:
    with start(tmp_path, phantom_folder, cluster) as run:
        wait_for_cell(tmp_path, run)
        os.killpg(run.pid, signal.SIGINT)
        code = run.wait(timeout=60)
    said = (tmp_path / "said").read_text()
    assert code == 130, said
    assert "interrupted: finished cells are kept in run; resume with:" in said
    assert "Traceback" not in said
    assert "Warning" not in said


@pytest.mark.slow
@SLURM
def test_a_job_that_is_cancelled_on_slurm_costs_no_cell(phantom_folder: Path, tmp_path: Path) -> None:
    with start(tmp_path, phantom_folder, "slurm.toml") as run:
        wait_for_cell(tmp_path, run)
        own = subprocess.run(["squeue", "--noheader", "--name=dask-worker", "--format=%i"], capture_output=True, text=True, check=True)  # fmt: skip
        subprocess.run(["scancel", *own.stdout.split()], check=True)
        code = run.wait(timeout=200)
    said = (tmp_path / "said").read_text()
    assert code == 0, said
    assert "has ended (CANCELLED): submitted again as" in said
    assert "3 cells computed" in said
