"""Cells on Dask workers: the bytes of a local run, whatever dies on the way. The workers are real processes.

The long form kills workers at random ten times in a run of thirty cells: ``pytest -m slow tests/bench/cluster/test_cluster.py``.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.errors import UserError
from bench.executors.interrupts import handlers_kept
from tests.bench.cluster.machines import scheduler, worker

pytest.importorskip("distributed")

DEADLY = """
import os, signal, time
from pathlib import Path
from baselines.prior import Prior

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Once(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        try:
            (Path(os.environ["MARKS"]) / str(seed)).touch(exist_ok=False)
        except FileExistsError:
            return super().fit(X, y, X_valid, y_valid, seed)
        die()

class Deadly(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        return die() if seed else super().fit(X, y, X_valid, y_valid, seed)

class Slow(Prior):
    def fit(self, X, y, X_valid, y_valid, seed):
        time.sleep(3 * seed)
        return super().fit(X, y, X_valid, y_valid, seed)
"""
SUITE = """
name = "mine"
[preprocessing]
side = 64
[cv]
folds = 2
[models.prior]
head = { class = "baselines.prior:Prior" }
[models.thumbnail-svm]
mirror = true
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]
head = { class = "baselines.svm:SVM", C = [1], gamma = [1] }
[models.thumbnail-xgboost]
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]
head = { class = "baselines.boosting:XGBoost", rounds = 5 }
[models.pixels]
family = "classical"
head = { class = "looks:Looks" }
[models.once]
family = "classical"
head = { class = "deadly:Once" }
[models.deadly]
family = "classical"
head = { class = "deadly:Deadly" }
[models.slow]
family = "classical"
head = { class = "deadly:Slow" }
"""
# A head that reads the pixels themselves; it stands beside the suite, where no worker finds it.
LOOKS = """
import json
import numpy as np

class Looks:
    def fit(self, X, y, X_valid, y_valid, seed):
        self.mean_, self.share_ = float(X.mean()), y.mean(axis=0)
        return self
    def predict_proba(self, X):
        return np.clip(self.share_ * (X.mean(axis=(1, 2)) / self.mean_)[:, None], 0, 1)
    def save(self, folder):
        (folder / "looks.json").write_text(json.dumps(self.mean_))
"""
# What a worker loads that stands for one on another machine: it sees no file of the client's.
APART = "import bench.cluster.worker as worker\nworker._candidates = lambda file: []\n"
OTHER = "import bench.cluster.versions as versions\nhere = versions.found_here()\nhere['numpy'] = '1.0.1'\n"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite beside the classes that it names."""
    for name, text in (("deadly.py", DEADLY), ("looks.py", LOOKS), ("mine.toml", SUITE)):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MARKS", str(tmp_path))
    for name in ("deadly", "looks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "mine.toml"


def contents(run: Path) -> dict[str, bytes]:
    """Predictions and models of all cells."""
    files = [*run.glob("cells/*/*/predictions.parquet"), *run.glob("cells/*/*/model/*")]
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted(files)}


def records(run: Path) -> dict[str, dict]:
    found = {p.parent.relative_to(run / "cells").as_posix(): json.loads(p.read_text()) for p in run.rglob("cell.json")}
    return dict(sorted(found.items()))


def test_workers_of_this_machine_give_the_bytes_of_a_local_run(
    phantom_folder: Path, suite: Path, bench_command: Callable
) -> None:
    models = (
        "run",
        "prior",
        "thumbnail-svm",
        "thumbnail-xgboost",
        "pixels",
        "--suite",
        suite,
        "--data",
        phantom_folder,
    )
    alone = bench_command(*models, "--out", "alone")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    shared = bench_command(*models, "--out", "shared", "--cluster", "local:2")
    assert shared.returncode == 0, shared.stdout + shared.stderr
    assert contents(Path("alone")) == contents(Path("shared"))
    found = records(Path("shared"))
    assert [record["key"] for record in found.values()] == [r["key"] for r in records(Path("alone")).values()]
    assert {record["timings"]["jobs"] for record in found.values()} == {2}
    assert all("computed on worker" in record["warnings"][-1] for record in found.values())
    assert not [name for name, record in found.items() if "127.0.0.1" in json.dumps(record)]
    assert "0 cells computed, 8 kept" in bench_command(*models, "--out", "shared").stdout


def test_a_cell_whose_worker_dies_is_computed_again_and_after_three_deaths_has_failed(
    phantom_folder: Path, suite: Path, bench_command: Callable
) -> None:
    models = ("run", "prior", "once", "deadly", "--suite", suite, "--data", phantom_folder, "--out", "run")
    done = bench_command(*models, "--cluster", "local:2")
    assert done.returncode == 1, done.stdout + done.stderr
    found = records(Path("run"))
    failed = found.pop("deadly/r0-f1")
    assert failed["status"] == "failed"
    assert "its worker died three times (last: worker" in failed["reason"]
    assert {record["status"] for record in found.values()} == {"done"}
    files = contents(Path("run"))
    for fold in ("r0-f0", "r0-f1"):
        name = f"{fold}/predictions.parquet"
        assert files[f"cells/once/{name}"] == files[f"cells/prior/{name}"]
    assert "once r0-f0: worker" in done.stdout


def test_a_machine_without_a_shared_disk_is_sent_what_it_needs_and_one_with_other_versions_is_refused(
    phantom_folder: Path, suite: Path, bench_command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ("run", "thumbnail-svm", "thumbnail-xgboost", "pixels", "--suite", suite, "--data", phantom_folder)
    assert bench_command(*models, "--out", "alone").returncode == 0
    with scheduler(tmp_path / "scheduler") as (address, _), worker(address, tmp_path / "apart", APART):
        shared = bench_command(*models, "--out", "shared", "--scheduler", address)
        assert shared.returncode == 0, shared.stdout + shared.stderr
        assert contents(Path("alone")) == contents(Path("shared"))
        assert not [*(tmp_path / "apart").rglob("xraybench-*")]  # nothing that was lent stays
        with worker(address, tmp_path / "other", OTHER):
            refused = bench_command(*models, "--out", "refused", "--scheduler", address)
            assert refused.returncode == 2
            assert "numpy is" in refused.stderr
            assert "1.0.1 there" in refused.stderr
            assert not records(Path("refused"))
            monkeypatch.setattr("bench.cluster.versions.check_all", lambda _: None)  # as if it had come later
            late = bench_command(*models, "--out", "late", "--scheduler", address)
        assert late.returncode == 0, late.stdout + late.stderr
        assert "1.0.1 there: it gets no cells" in late.stdout
        assert contents(Path("late")) == contents(Path("alone"))


def test_a_run_whose_scheduler_is_lost_can_be_resumed(
    phantom_folder: Path, suite: Path, bench_command: Callable, tmp_path: Path
) -> None:
    models = ("run", "slow", "--suite", suite, "--data", phantom_folder, "--out", "run")
    with scheduler(tmp_path / "scheduler") as (address, started), worker(address, tmp_path / "worker", ""):
        threading.Thread(target=kill_after_first_cell, args=(tmp_path / "run", started), daemon=True).start()
        lost = bench_command(*models, "--scheduler", address)
    assert lost.returncode == 1, lost.stdout + lost.stderr
    assert "the scheduler is gone" in lost.stdout
    assert f"bench run slow --suite {suite}" in lost.stdout
    assert "Traceback" not in lost.stderr
    again = bench_command(*models)
    assert "1 cells computed, 1 kept" in again.stdout
    refused = bench_command(*models, "--scheduler", address)
    assert refused.returncode == 2
    assert "no scheduler answers" in refused.stderr


def kill_after_first_cell(run: Path, started: subprocess.Popen) -> None:
    while not [*run.glob("cells/*/*/cell.json")]:
        time.sleep(0.05)
    time.sleep(1)
    started.kill()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cluster", "local:2", "--jobs", "2"), "leave out --jobs"),
        (("--cluster", "local:2", "--scheduler", "tcp://a:1"), "give one of them"),
        (("--cluster", "local:999"), "give 1 to"),
        (("--cluster", "slurm"), "a .toml file"),
        (("--cluster", "absent.toml"), "absent.toml: cannot be read"),
        (("--cluster", "wrong.toml"), "wrong.toml: memory: Field required"),
        (("--scheduler", "host"), "is not an address"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    bench_command: Callable, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "wrong.toml").write_text('kind = "slurm"\njobs = 2\ncores = 8\n')
    done = bench_command("run", "prior", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") <= 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("slurm", "#SBATCH --gres=gpu:1"),
        ("pbs", "ngpus=1"),
        ("lsf", '#BSUB -gpu "num=1"'),
        ("sge", "#$ -l gpu=1"),
        ("htcondor", "request_gpus = 1"),
    ],
)
def test_a_job_of_each_batch_system_asks_for_its_gpu_and_starts_one_worker(
    tmp_path: Path, kind: str, words: str
) -> None:
    with handlers_kept():
        jobqueue = pytest.importorskip("dask_jobqueue")
    from bench.cluster.config import read_queue
    from bench.cluster.connect import batch_options

    names = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF", "sge": "SGE", "htcondor": "HTCondor"}
    text = f'kind = "{kind}"\njobs = 2\ncores = 8\nmemory = "32GB"\ngpus = 1\n'
    (tmp_path / "queue.toml").write_text(text + ('disk = "1GB"\n' if kind == "htcondor" else 'walltime = "01:00"\n'))
    job = getattr(jobqueue.__dict__[kind], f"{names[kind]}Job")
    script = job("tcp://127.0.0.1:1", name="worker", **batch_options(read_queue(tmp_path / "queue.toml"))).job_script()
    assert words in script
    assert "--resources GPU=1" in script
    assert "--nthreads 8" in script
    assert "OMP_NUM_THREADS=8" in script


def test_a_file_may_not_change_what_decides_results(tmp_path: Path) -> None:
    from bench.cluster.config import read_queue

    (tmp_path / "queue.toml").write_text('kind = "cron"\njobs = 1\ncores = 1\nmemory = "1GB"\n')
    with pytest.raises(UserError, match="kind"):
        read_queue(tmp_path / "queue.toml")


@pytest.mark.slow
def test_workers_killed_at_random_cost_no_byte(phantom_folder: Path, tmp_path: Path) -> None:
    models = (
        "hog-svm",
        "lbp-svm",
        "hog-xgboost",
        "--data",
        str(phantom_folder),
        "--folds",
        "5",
        "--set",
        "cv.repeats=2",
    )
    line = [sys.executable, "-m", "bench.cli", "run", *models]
    where = {**os.environ, "XRAYBENCH_CACHE": str(tmp_path / "cache")}
    subprocess.run([*line, "--out", "alone"], cwd=tmp_path, env=where, check=True, capture_output=True)
    rng, kills = random.Random(0), 0  # noqa: S311 - faults are drawn by seeds
    with subprocess.Popen(
        [*line, "--out", "shared", "--cluster", "local:2"], cwd=tmp_path, env=where, stdout=subprocess.PIPE, text=True
    ) as run:
        reader = threading.Thread(target=lambda: said.append(run.stdout.read() if run.stdout else ""))
        said: list[str] = []
        reader.start()
        while run.poll() is None and kills < 10:
            time.sleep(rng.uniform(0.5, 3))
            kills += kill_a_worker(run.pid, rng)
        reader.join(timeout=500)
    assert run.returncode == 0, said[0]
    assert contents(tmp_path / "alone") == contents(tmp_path / "shared")
    assert len(contents(tmp_path / "shared")) > 60
    print(f"\n{kills} kills, {said[0].count('died over it')} of them over a cell: no byte differs")  # noqa: T201 - says what it tried


def kill_a_worker(pid: int, rng: random.Random) -> int:
    """Kill one worker of a run that computes; the number of those killed."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        workers = [c for c in children if "spawn_main" in str(c.cmdline()) and c.cpu_times().user > 1]
        victim = rng.choice(workers)
        victim.kill()
    except (psutil.Error, IndexError):
        return 0
    return 1
