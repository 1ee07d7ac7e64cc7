"""A run is killed, torn, starved of space or refused at single operations on its files; the run that follows loses and falsifies nothing.

By default at a few operations drawn by a seed. At every one of them: ``pytest -m slow -s tests/faults/test_disk.py`` (an hour), at every
third with ``XRAYBENCH_FAULTS_STEP=3``.
"""

import os
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.injection import SUITE, FaultyDisk, build_shim, contents, faulty_disk, leftovers

KINDS = ("kill", "torn", "enospc", "eio")
A_FEW = 3
COMMAND = ("run", "--all", "--suite", "small.toml", "--data", "data", "--out", "run")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDisk]:
    root = tmp_path_factory.mktemp("faults")
    shim = build_shim(root)
    if shim is None:
        pytest.skip("no C compiler, or not Linux: no faulty disk")
    with faulty_disk(root, shim) as server:
        yield server


@pytest.fixture(scope="module")
def place(disk: FaultyDisk, phantom_folder: Path) -> Path:
    """A working folder with data and suite, and nothing computed yet."""
    folder = disk.root / "pristine"
    shutil.copytree(phantom_folder, folder / "data")
    (folder / "small.toml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def undisturbed(disk: FaultyDisk, place: Path) -> tuple[dict[str, bytes], list[str]]:
    """What a run gives that nothing happens to, and its operations."""
    folder = fresh(disk, place, "undisturbed")
    operations = disk.operations(*COMMAND, cwd=folder)
    return contents(folder / "run"), operations


def fresh(disk: FaultyDisk, place: Path, name: str) -> Path:
    folder = disk.root / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(place, folder)
    return folder


def finished(folder: Path) -> dict[str, int]:
    return {str(p.parent.relative_to(folder)): p.stat().st_mtime_ns for p in folder.glob("run/cells/*/r*/cell.json")}


def check(disk: FaultyDisk, place: Path, expected: dict[str, bytes], kind: str, at: int) -> str:
    """One fault, and the run that follows it; what the first said."""
    folder = fresh(disk, place, "faulty")
    hit = disk.run(*COMMAND, kind=kind, at=at, cwd=folder)
    if kind in ("kill", "torn"):
        assert hit.returncode in (-signal.SIGKILL, 0), hit.stdout + hit.stderr
    elif hit.returncode:  # an error where it does no harm, such as in clearing away, may pass
        assert hit.returncode in (1, 2), hit.stdout + hit.stderr
        said = hit.stderr.strip().splitlines()
        assert len(said) == 1, hit.stderr
        assert re.search(r"No space left on device|Input/output error", said[0]), said
        assert str(disk.root) in said[0] or re.search(r"\b(run|cache)\b", said[0]), said
    before = finished(folder)
    after = disk.run(*COMMAND, cwd=folder)
    assert after.returncode == 0, (kind, at, after.stdout, after.stderr)
    assert contents(folder / "run") == expected
    assert not leftovers(folder)
    assert all(finished(folder)[cell] == when for cell, when in before.items())  # none lost, none computed twice
    return hit.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_a_few_operations_loses_nothing(
    disk: FaultyDisk, place: Path, undisturbed: tuple[dict[str, bytes], list[str]], kind: str
) -> None:
    expected, operations = undisturbed
    for at in sorted(random.Random(kind).sample(range(1, len(operations) + 1), A_FEW)):
        check(disk, place, expected, kind, at)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_loses_nothing(
    disk: FaultyDisk, place: Path, undisturbed: tuple[dict[str, bytes], list[str]], kind: str
) -> None:
    expected, operations = undisturbed
    tried = range(1, len(operations) + 1, int(os.environ.get("XRAYBENCH_FAULTS_STEP", "1")))
    for at in tried:
        try:
            check(disk, place, expected, kind, at)
        except AssertionError as error:
            raise AssertionError(f"{kind} at operation {at}, {operations[at - 1]}: {error}") from error
    print(f"\n{kind}: at {len(tried)} of {len(operations)} operations, nothing lost")


def test_the_operations_of_a_run_are_those_that_are_meant(undisturbed: tuple[dict[str, bytes], list[str]]) -> None:
    _, operations = undisturbed
    kinds = {line.split()[0] for line in operations}
    assert {"open", "write", "mkdir", "rename", "fsync", "link", "unlink", "fallocate"} <= kinds
    assert len(operations) > 100
