"""Finished run folders and caches are damaged on purpose: no wrong number is used, and what is damaged is named and made again, or refused.

By default some mutations drawn by a seed. The long form, 200 of them: ``pytest -m slow tests/faults/test_damage.py``.
"""

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.injection import SUITE, FaultyDisk, build_shim, contents, faulty_disk

COMMAND = ("run", "--all", "--suite", "small.toml", "--data", "data", "--out", "run")
REPORT = ("report", "run", "--csv")
MUTATIONS = ("flip", "cut", "zero", "remove", "swap", "junk")
SHORT, LONG = 6, 200


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDisk]:
    root = tmp_path_factory.mktemp("damage")
    with faulty_disk(root, build_shim(root)) as server:
        yield server


@pytest.fixture(scope="module")
def finished(disk: FaultyDisk, phantom_folder: Path) -> tuple[Path, dict[str, bytes], pd.DataFrame]:
    """A finished run with its cache, what it holds, and its scores."""
    folder = disk.root / "finished"
    shutil.copytree(phantom_folder, folder / "data")
    (folder / "small.toml").write_text(SUITE)
    done = disk.run(*COMMAND, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert disk.run(*REPORT, cwd=folder).returncode == 0
    scores = table(folder)
    shutil.rmtree(folder / "run/report")
    return folder, contents(folder / "run"), scores


def table(folder: Path) -> pd.DataFrame:
    """The scores of a report, without what depends on the clock."""
    summary = pd.read_csv(folder / "run/report/tables/summary.csv")
    return summary[[c for c in summary if re.match(r"model$|family|f1|accuracy|roc|ap_|brier|mcc|cells", c)]]


def damage(folder: Path, rng: random.Random) -> tuple[str, list[Path]]:
    """Do one thing to one file of the run or the cache, or swap two of them."""
    files = sorted(p for place in ("run", "cache") for p in (folder / place).rglob("*") if p.is_file())
    kind, victim = rng.choice(MUTATIONS), rng.choice(files)
    content = bytearray(victim.read_bytes())
    at = rng.randrange(max(1, len(content)))
    if kind == "swap":
        others = [p for p in files if p.name == victim.name and p != victim and p.read_bytes() != content]
        other = rng.choice(others or [p for p in files if p != victim])
        victim.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return kind, [victim, other]
    if kind == "remove":
        victim.unlink()
    elif kind == "junk":
        (victim.parent / f"junk{victim.suffix}").write_bytes(rng.randbytes(200))
    else:
        if kind == "flip":
            content[at] ^= 1 << rng.randrange(8)
        elif kind == "zero":
            content[at : at + 64] = bytes(len(content[at : at + 64]))
        victim.write_bytes(content[:at] if kind == "cut" else content)
    return kind, [victim]


def survive(disk: FaultyDisk, finished: tuple[Path, dict[str, bytes], pd.DataFrame], seed: int) -> str:
    """Damage something, report, run and report; what became of it."""
    pristine, expected, scores = finished
    folder = disk.root / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pristine, folder)
    kind, victims = damage(folder, random.Random(seed))
    what = f"seed {seed}: {kind} {', '.join(str(p.relative_to(folder)) for p in victims)}"
    changed = contents(folder / "run") != expected
    report = disk.run(*REPORT, cwd=folder)
    assert "Traceback" not in report.stderr, (what, report.stderr)
    if report.returncode == 0:
        pd.testing.assert_frame_equal(table(folder), scores, obj=what) if not removed_a_cell(kind, victims[0]) else None
    else:
        assert report.returncode == 2, (what, report.stderr)
        assert len(report.stderr.strip().splitlines()) == 1, (what, report.stderr)
        named = any(path.name in report.stderr for path in victims)
        assert named or "cell" in report.stderr, (what, report.stderr)
    shutil.rmtree(folder / "run/report", ignore_errors=True)
    again = disk.run(*COMMAND, cwd=folder)
    assert again.returncode == 0, (what, again.stdout, again.stderr)
    if changed and kind != "remove":
        assert re.search(r"checksum|damaged|seal|another cell", again.stdout + again.stderr), (what, again.stdout)
    assert contents(folder / "run") == expected, what
    assert disk.run(*REPORT, cwd=folder).returncode == 0, what
    pd.testing.assert_frame_equal(table(folder), scores, obj=what)
    return "refused" if report.returncode else "unharmed"


def removed_a_cell(kind: str, victim: Path) -> bool:
    """Whether what is left is a run with a cell less, as an unfinished one is."""
    return kind == "remove" and victim.name == "cell.json"


@pytest.mark.parametrize("seed", range(SHORT))
def test_no_damage_gives_a_wrong_number(
    disk: FaultyDisk, finished: tuple[Path, dict[str, bytes], pd.DataFrame], seed: int
) -> None:
    survive(disk, finished, seed)


@pytest.mark.slow
def test_two_hundred_damages_give_no_wrong_number(
    disk: FaultyDisk, finished: tuple[Path, dict[str, bytes], pd.DataFrame]
) -> None:
    ends = [survive(disk, finished, seed) for seed in range(LONG)]
    print(
        f"\n{LONG} mutations: {ends.count('refused')} refused by the report, {ends.count('unharmed')} without effect on it"
    )
