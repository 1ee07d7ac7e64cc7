"""Several runs on one folder: one works, the others say who; a dead owner is replaced by one alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store.lock import Lock
from bench.store.run_folder import RunFolder, StoreError
from tests.faults.injection import SUITE, contents, leftovers

COMMAND = [sys.executable, "-m", "bench.cli", "run", "--all", "--suite", "small.toml", "--data", "data", "--out", "run"]
RACE = """
import sys
from pathlib import Path
from bench.store.lock import Lock
from bench.store.run_folder import RunFolder, StoreError
folder = RunFolder(Path(sys.argv[1]))
sys.stdin.readline()
try:
    with Lock(folder) as lock:
        print("held", flush=True)
        sys.stdin.readline()
        lock.check()
except StoreError as error:
    print("refused" if "in use by process" in str(error) else error, flush=True)
"""


WHOLE = {"host": socket.gethostname(), "pid": 2**22 - 1, "started": "1", "since": "2026-01-01", "mark": "dead"}


def dead_owner(folder: Path, **changes: object) -> None:
    (folder / "lock").write_text(json.dumps({**WHOLE, **changes}))


def test_of_four_runs_at_once_one_works_and_the_others_name_it(phantom_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(phantom_folder, tmp_path / "data")
    (tmp_path / "small.toml").write_text(SUITE)
    environment = {**os.environ, "XRAYBENCH_CACHE": str(tmp_path / "cache")}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(COMMAND, cwd=tmp_path, env=environment, **streams) for _ in range(4)]
    ends = [(run.communicate(timeout=200), run.returncode) for run in runs]
    computed = [int(out.split(" cells computed")[0].split()[-1]) for (out, _), code in ends if code == 0]
    assert sum(computed) == 4  # no cell twice
    for (_, error), code in ends:
        if code:
            assert code == 2
            assert len(error.strip().splitlines()) == 1, error
            assert "in use by process" in error or "several runs" in error
    single = tmp_path / "single"
    shutil.copytree(phantom_folder, single / "data")
    (single / "small.toml").write_text(SUITE)
    subprocess.run(
        COMMAND,
        cwd=single,
        env={**environment, "XRAYBENCH_CACHE": str(single / "cache")},
        check=True,
        capture_output=True,
    )
    assert contents(tmp_path / "run") == contents(single / "run")
    assert not leftovers(tmp_path / "run")


def test_of_eight_that_find_a_dead_owner_one_takes_over(tmp_path: Path) -> None:
    for _ in range(2):
        dead_owner(tmp_path)
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(8)
        ]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
        for racer in racers:
            racer.communicate("\n", timeout=30)
        assert sorted(said) == ["held", *["refused"] * 7]
        assert not [*tmp_path.iterdir()]


def test_an_owner_on_another_host_lives_while_it_gives_signs_of_life(tmp_path: Path) -> None:
    dead_owner(tmp_path, host="elsewhere")
    with (
        pytest.raises(StoreError, match="in use by process 4194303 on elsewhere since 2026-01-01"),
        Lock(RunFolder(tmp_path)),
    ):
        pass
    silent = (tmp_path / "lock").stat().st_mtime - 3600
    os.utime(tmp_path / "lock", (silent, silent))
    with Lock(RunFolder(tmp_path)) as lock:
        assert lock.is_mine()


def test_a_damaged_lock_that_nobody_touches_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("{")
    os.utime(tmp_path / "lock", (0, 0))
    with Lock(RunFolder(tmp_path)) as lock:
        assert lock.is_mine()


DAMAGED = (
    *("", "{", "[]", "null", "7", "{}", '{"pid": 1}', "\0\0\0", "[" * 100_000),
    *(json.dumps({**WHOLE, "pid": pid}) for pid in ("12", 12.5, None, True, [1], {}, -1, 0, 1 << 40, 10**30)),
    *(json.dumps({**WHOLE, key: value}) for key in ("host", "since", "mark") for value in (None, 5, ["x"])),
)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_lock_is_said_to_be_damaged_and_replaced_later(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with (
        pytest.raises(StoreError, match="lock: is damaged, so its owner is unknown: wait 5 minutes"),
        Lock(RunFolder(tmp_path)),
    ):
        pass
    os.utime(tmp_path / "lock", (0, 0))
    with Lock(RunFolder(tmp_path)) as lock:
        assert lock.is_mine()


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nowhere"), lambda path: path.symlink_to("/etc/passwd")],
)
def test_what_is_no_file_in_the_place_of_a_lock_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "lock")
    with pytest.raises(StoreError, match="lock: is not a lock file of a run: remove it"), Lock(RunFolder(tmp_path)):
        pass
    assert os.path.lexists(tmp_path / "lock")


def test_an_owner_that_was_taken_for_dead_writes_nothing_more(tmp_path: Path) -> None:
    with Lock(RunFolder(tmp_path)) as lock:
        lock.check()
        dead_owner(tmp_path, mark="another")
        with pytest.raises(StoreError, match="another run took over this folder"):
            lock.check()
    assert json.loads((tmp_path / "lock").read_text())["mark"] == "another"


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Lock(RunFolder(tmp_path)) as lock:
        assert lock.is_mine()
        with pytest.raises(StoreError, match="in use by process"), Lock(RunFolder(tmp_path)):
            pass
    assert not [*tmp_path.iterdir()]
