"""Whatever stands in a file, reading it ends in what it says or in one of our own errors. Findings are kept as tests of their own.

The short form is drawn anew by hypothesis. For ten minutes: ``XRAYBENCH_FUZZ_SECONDS=600 pytest -m slow -s tests/faults/test_fuzz.py``.
"""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from radiographs.cards import CardError, read_card
from radiographs.disk import write_file
from radiographs.read import UnreadableImageError, read_picture
from radiographs.sources import Hints, SourceError, open_source
from radiographs.splits import PARTS, SplitsError, check_splits, digest, make_splits, read_splits, write_splits

from bench.errors import UserError
from bench.recipes.suite import load_suite, parse_setting
from bench.store.run_folder import Cell, RunFolder
from reports.runs.format import is_sealed, sealed
from reports.runs.results import ResultsError, load

GOLDEN = Path(__file__).parents[1] / "golden"
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
OURS = (UserError, SourceError, SplitsError, CardError, UnreadableImageError, ResultsError)


def expect_words(error: Exception) -> None:
    assert 0 < len(str(error)) < 2000


@FEW
@given(record=st.dictionaries(TEXT.filter(lambda key: key != "seal"), JSON, max_size=6))
def test_a_seal_fits_what_was_sealed_and_nothing_else(record: dict) -> None:
    whole = json.loads(json.dumps(sealed(record)))
    assert is_sealed(whole)
    assert not is_sealed({**whole, "more": 1})


@FEW
@given(text=TEXT | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_any_text_as_a_table_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"file,label\n{text}", encoding="utf-8", errors="surrogatepass")
    try:
        items = open_source(path, Hints()).items
    except OURS as error:
        expect_words(error)
    else:
        assert items["image_id"].is_unique


@FEW
@given(text=TEXT | st.text("[]{}=\"'.#\n ab10", max_size=80))
def test_any_text_as_a_suite_a_setting_or_a_card_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    for read in (lambda: load_suite(str(path), {}), lambda: read_card(path), lambda: parse_setting(text)):
        try:
            read()
        except OURS as error:
            expect_words(error)


@FEW
@given(
    rows=st.lists(
        st.tuples(TEXT, st.integers(-2, 3), st.integers(-2, 3), st.sampled_from([*PARTS, "x", ""])), max_size=12
    )
)
def test_any_rows_as_splits_are_checked(tmp_path: Path, rows: list[tuple[str, int, int, str]]) -> None:
    table = pd.DataFrame(rows, columns=["image_id", "repeat", "fold", "part"])
    path = tmp_path / "splits.json"
    table.to_json(path, orient="records")
    try:
        check_splits(read_splits(path), ["a", "b"], np.array(["a", "b"]), "these")
    except SplitsError as error:
        expect_words(error)


@FEW
@given(n=st.integers(12, 60), classes=st.integers(2, 5), folds=st.integers(2, 4), seed=st.integers(0, 99))
def test_splits_keep_groups_whole_and_come_back_as_written(
    tmp_path: Path, n: int, classes: int, folds: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y = np.eye(classes, dtype=np.int8)[rng.integers(0, classes, n)] | (rng.random((n, classes)) < 0.1)
    ids, groups = [f"i{k}" for k in range(n)], rng.integers(0, max(folds * 3, n // 3), n).astype(str)
    try:
        table = make_splits(ids, y, groups, folds=folds, repeats=1, seed=seed)
    except SplitsError as error:
        expect_words(error)
        return
    check_splits(table, ids, groups, "these")
    write_splits(table, tmp_path / "splits.csv")
    assert digest(read_splits(tmp_path / "splits.csv")) == digest(table)


@FEW
@given(content=JSON, where=st.sampled_from(["run.json", "cells/prior/r0-f0/cell.json"]))
def test_any_json_in_a_run_folder_is_no_result(tmp_path: Path, content: object, where: str) -> None:
    folder = RunFolder(GOLDEN / "schema-2")
    target = tmp_path / "run"
    if not target.exists():
        import shutil

        shutil.copytree(folder.root, target)
    good = (folder.root / where).read_text()
    write_file(target / where, lambda path: path.write_text(json.dumps(content)))
    try:
        with pytest.raises(ResultsError) as error:
            load(target)
        expect_words(error.value)
        record, wrong = (
            RunFolder(target).read_run() if where == "run.json" else RunFolder(target).read_cell(Cell("prior", 0, 0))
        )
        assert record is None
        assert wrong
    finally:
        (target / where).write_text(good)


def corpus(tmp_path: Path) -> list[tuple[Path, Callable[[Path], object]]]:
    """A good file of each kind that is read, and what reads it."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (24, 20), np.uint8)
    files: list[tuple[Path, Callable[[Path], object]]] = []
    for name in ("a.png", "a.jpg", "a.tif"):
        cv2.imwrite(str(tmp_path / name), picture)
        files.append((tmp_path / name, read_picture))
    Image.fromarray(picture.astype(np.uint16) * 200).save(tmp_path / "deep.png")
    files.append((tmp_path / "deep.png", read_picture))
    try:
        from pydicom.data import get_testdata_file

        for name in ("CT_small.dcm", "MR_small_RLE.dcm"):
            (tmp_path / name).write_bytes(Path(str(get_testdata_file(name, download=False))).read_bytes())
            files.append((tmp_path / name, read_picture))
    except ImportError:
        pass
    splits = make_splits(
        [f"i{k}" for k in range(30)],
        np.eye(3, dtype=np.int8)[np.arange(30) % 3],
        np.arange(30).astype(str),
        folds=3,
        repeats=1,
        seed=0,
    )
    for suffix in (".csv", ".json", ".parquet"):
        write_splits(splits, tmp_path / f"splits{suffix}")
        files.append((tmp_path / f"splits{suffix}", read_splits))
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{k}.png,part{k % 3}\n" for k in range(20)))
    files.append((tmp_path / "labels.csv", lambda path: open_source(path, Hints())))
    (tmp_path / "own.toml").write_text('[models.a]\nhead = { class = "baselines.prior:Prior" }\n[cv]\nfolds = 3\n')
    files.append((tmp_path / "own.toml", lambda path: load_suite(str(path), {})))
    return files


def mutated(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data) or 1)
        kind = rng.randrange(5)
        if kind == 0 and data:
            data[at] = rng.randrange(256)
        elif kind == 1 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[at : at + rng.randrange(1, 16)]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 8))
        else:
            data = data[:at]
    return bytes(data)


def fuzz(tmp_path: Path, seconds: float, seed: int) -> dict[str, int]:
    """Read damaged files for so long; how often they were read and refused."""
    rng, ends, files = random.Random(seed), {"read": 0, "refused": 0}, corpus(tmp_path)
    contents = [path.read_bytes() for path, _ in files]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        k = rng.randrange(len(files))
        path, read = files[k]
        target = path.with_name(f"damaged{path.suffix}")
        target.write_bytes(mutated(contents[k], rng))
        try:
            read(target)
            ends["read"] += 1
        except OURS as error:
            expect_words(error)
            ends["refused"] += 1
        except BaseException:
            kept = Path(os.environ.get("XRAYBENCH_FUZZ_KEEP", tmp_path)) / f"finding{path.suffix}"
            kept.write_bytes(target.read_bytes())
            print(f"\nkept as {kept}")
            raise
    return ends


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "findings").iterdir()), ids=lambda path: path.name)
def test_what_fuzzing_found_is_refused(path: Path) -> None:
    readers = {"splits": read_splits, "picture": read_picture, "table": open_source}
    with pytest.raises(OURS):
        readers[path.name.split("-")[0]](path)


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    ends = fuzz(tmp_path, 4, seed=0)
    assert ends["refused"] > 50


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_for_long(tmp_path: Path) -> None:
    ends = fuzz(tmp_path, float(os.environ.get("XRAYBENCH_FUZZ_SECONDS", "600")), seed=int(time.time()))
    print(f"\n{ends}")
