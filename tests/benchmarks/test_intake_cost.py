"""What reading large DICOM files costs: memory that does not grow with their number, and both cores at work. Run with -s."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
ROWS, COLUMNS = 2140, 1760
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from radiographs.pixels import load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import open_source
listing = open_source(Path(sys.argv[1]))
start, cpu = time.perf_counter(), time.process_time()
pixels = load_pixels(listing, Preprocessing(), Path(sys.argv[2]), workers=int(sys.argv[3]))
wall, cpu = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps({"n": len(pixels.images), "seconds": wall, "cores": cpu / wall, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def measured(folder: Path, cache: Path, workers: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(cache), str(workers)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def folders(tmp_path: Path, *sizes: int) -> list[Path]:
    """Folders of so many large files; of four files there are many names."""
    from tests.radiographs.test_dicom import twin

    files = []
    for k in range(4):
        noise = np.random.default_rng(k).normal(0, 4, (ROWS, COLUMNS))
        shade = np.add.outer(np.linspace(0, 120, ROWS), np.linspace(0, 100, COLUMNS))
        path = tmp_path / f"{k}.bin"
        path.write_bytes(twin((shade + noise).clip(0, 255).astype(np.uint8), bits=16, monochrome=1 + k % 2))
        files.append(path)
    out = []
    for size in sizes:
        for k in range(size):
            place = tmp_path / f"of{size}" / "xy"[k % 2] / f"{k:05d}.dcm"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(files[k % 4], place)
        (tmp_path / f"of{size}" / "labels.csv").write_text(
            "file,label,patient\n" + "".join(f"{'xy'[k % 2]}/{k:05d}.dcm,{'xy'[k % 2]},{k}\n" for k in range(size))
        )
        out.append(tmp_path / f"of{size}")
    return out


def test_memory_does_not_grow_with_the_number_of_large_files(tmp_path: Path) -> None:
    few, many = folders(tmp_path, 40, 400)
    small, large = measured(few, tmp_path / "a", 2), measured(many, tmp_path / "b", 2)
    growth = (large["peak_mb"] - small["peak_mb"]) / (large["n"] - small["n"]) * 1000
    print(
        f"\n{ROWS} x {COLUMNS} x 16 bit DICOM: peak {small['peak_mb']:.0f} MB for 40, {large['peak_mb']:.0f} MB for 400: {growth:.0f} MB per 1,000"
    )
    assert growth < 30


def test_decoding_uses_both_cores(tmp_path: Path) -> None:
    (folder,) = folders(tmp_path, 120)
    rates = {}
    for workers in (1, 2):
        found = measured(folder, tmp_path / f"cache{workers}", workers)
        rates[workers] = found["n"] / found["seconds"]
        print(
            f"\n{workers} workers: {rates[workers]:.1f} images/s of {ROWS} x {COLUMNS} x 16 bit, {found['cores']:.2f} cores at work"
        )
    print(f"two workers over one: {rates[2] / rates[1]:.2f}")
    assert rates[2] > 1.2 * rates[1]


def test_a_table_of_a_million_rows_is_listed_in_seconds(tmp_path: Path) -> None:
    parts = ("Hand", "Knee", "01", "nan", "NA")
    with (tmp_path / "labels.csv").open("w") as stream:
        stream.write("file;label;patient\r\n")
        for k in range(1_000_000):
            stream.write(f'"images/patient{k // 3:07d}/image_{k:08d}.png";{parts[k % 5]};P{k // 3}\r\n')
    program = """
import json, resource, sys, time
from pathlib import Path
from radiographs.sources import Hints, open_source
start = time.perf_counter()
items = open_source(Path(sys.argv[1]), Hints(group="patient")).items
labels = sorted({label for labels in items["labels"] for label in labels})
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"n": len(items), "labels": labels, "groups": items["group"].nunique(), "seconds": time.perf_counter() - start, "peak_mb": peak}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "labels.csv")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    print(f"\n{found}")
    assert (found["n"], found["groups"], found["labels"]) == (1_000_000, 333_334, ["01", "Hand", "Knee", "NA", "nan"])
    assert found["peak_mb"] < 1000
