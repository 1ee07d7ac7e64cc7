"""The command in bad company: closed streams, broken pipes, few descriptors, no home, narrow terminals, a clock that jumps, signals."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.faults.injection import SUITE, contents, leftovers

BENCH = (sys.executable, "-m", "bench.cli")
RUN = (*BENCH, "run", "--all", "--suite", "small.toml", "--data", "data", "--out", "run")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> tuple[Path, dict[str, bytes]]:
    """A working folder with a finished run, and what the run holds."""
    folder = tmp_path_factory.mktemp("company")
    shutil.copytree(phantom_folder, folder / "data")
    (folder / "small.toml").write_text(SUITE)
    subprocess.run(RUN, cwd=folder, env=environment(folder), check=True, capture_output=True)
    return folder, contents(folder / "run")


def begin(place: Path, folder: Path) -> None:
    """Give a folder the data and the suite, and nothing computed."""
    shutil.copytree(place / "data", folder / "data")
    shutil.copyfile(place / "small.toml", folder / "small.toml")


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {**os.environ, "XRAYBENCH_CACHE": str(folder / "cache"), **changes}


@pytest.mark.parametrize(
    ("without", "changes"),
    [
        (("HOME", "XDG_CACHE_HOME", "TMPDIR"), {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        (("LANG",), {"COLUMNS": "20", "TMPDIR": "/nowhere", "TERM": "dumb"}),
    ],
    ids=["no home, no UTF-8", "narrow, no temporary folder"],
)
def test_a_poor_environment_is_enough(
    place: tuple[Path, dict[str, bytes]], tmp_path: Path, without: tuple[str, ...], changes: dict[str, str]
) -> None:
    begin(place[0], tmp_path)
    given = {k: v for k, v in environment(tmp_path, **changes).items() if k not in without}
    done = subprocess.run(RUN, cwd=tmp_path, env=given, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tmp_path / "run") == place[1]
    report = subprocess.run(
        (*BENCH, "report", "run", "--html"), cwd=tmp_path, env=given, capture_output=True, check=False
    )
    assert report.returncode == 0, report.stderr


def test_closed_streams_and_a_broken_pipe_are_no_failure_of_the_run(place: tuple[Path, dict[str, bytes]]) -> None:
    folder, expected = place
    shell = subprocess.run(
        [shutil.which("sh") or "/bin/sh", "-c", f"{' '.join(RUN)} <&- >&- 2>&-; echo $?"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.strip() == "0"
    with subprocess.Popen(
        RUN, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.close()
        error = run.stderr.read() if run.stderr else b""
        run.wait(60)
    assert run.returncode in (0, 1)
    assert b"Traceback" not in error
    assert contents(folder / "run") == expected
    assert not leftovers(folder / "run")


def test_few_descriptors_are_enough_or_named(place: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    begin(place[0], tmp_path)
    done = subprocess.run(
        RUN,
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)),
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "Too many open files" in done.stderr, done.stderr
    again = subprocess.run(RUN, cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False)
    assert again.returncode == 0
    assert contents(tmp_path / "run") == place[1]


@pytest.mark.parametrize(
    "limit", [1000, pytest.param(0, marks=pytest.mark.slow), pytest.param(20_000, marks=pytest.mark.slow)]
)
def test_a_limit_on_the_size_of_files_is_one_line(
    place: tuple[Path, dict[str, bytes]], tmp_path: Path, limit: int
) -> None:
    begin(place[0], tmp_path)
    done = subprocess.run(
        RUN,
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "File too large" in done.stderr
    assert (
        subprocess.run(RUN, cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False).returncode == 0
    )
    assert contents(tmp_path / "run") == place[1]
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_run_at_once_and_says_how_to_go_on(
    place: tuple[Path, dict[str, bytes]], tmp_path: Path, name: str
) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom baselines.prior import Prior\nclass Slow(Prior):\n"
        "    def fit(self, *a):\n        print('fitting', flush=True)\n        time.sleep(60)\n"
    )
    (tmp_path / "slow.toml").write_text('[models.slow]\nfamily = "classical"\nhead = { class = "slow:Slow" }\n')
    command = (
        *BENCH,
        "run",
        "--all",
        "--suite",
        "slow.toml",
        "--data",
        str(place[0] / "data"),
        "--folds",
        "2",
        "--out",
        "run",
    )
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        while "fitting" not in run.stdout.readline():
            assert run.poll() is None
        children = psutil.Process(run.pid).children(recursive=True)
        start = time.monotonic()
        run.send_signal(getattr(signal, name))
        out, error = run.communicate(timeout=30)
    assert time.monotonic() - start < 15
    assert run.returncode == 130
    assert "finished cells are kept" in out
    assert "bench run --all" in out
    assert "Traceback" not in error
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert not leftovers(tmp_path / "run")


@pytest.mark.skipif(not shutil.which("faketime"), reason="no faketime: the clock cannot be made to jump")
@pytest.mark.parametrize("jump", ["-40d", "+40d"])
def test_a_clock_that_is_wrong_changes_nothing(place: tuple[Path, dict[str, bytes]], tmp_path: Path, jump: str) -> None:
    shutil.copytree(place[0], tmp_path / "here")
    shutil.rmtree(tmp_path / "here/run/cells/prior")
    done = subprocess.run(
        ("faketime", "-f", jump, *RUN),
        cwd=tmp_path / "here",
        env=environment(tmp_path / "here"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "here/run") == place[1]


def test_a_run_folder_that_vanishes_is_one_line(place: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text(
        "import shutil\nfrom baselines.prior import Prior\nclass Gone(Prior):\n"
        "    def fit(self, *a):\n        shutil.rmtree('run')\n        return super().fit(*a)\n"
    )
    (tmp_path / "gone.toml").write_text('[models.gone]\nfamily = "classical"\nhead = { class = "gone:Gone" }\n')
    command = (
        *BENCH,
        "run",
        "--all",
        "--suite",
        "gone.toml",
        "--data",
        str(place[0] / "data"),
        "--folds",
        "2",
        "--out",
        "run",
    )
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "run" in done.stderr
