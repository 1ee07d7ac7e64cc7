"""bench predict answers every file that it is given, once, and can be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from radiographs.phantom import Recipe, write_folder

from bench.inference.inputs import Item
from bench.inference.model import load_model
from bench.inference.parts import parts_folder
from bench.inference.predict import Settings, predict_to
from tests.bench.made import Made, endless_jpeg


@pytest.fixture
def images(classical: Made) -> list[Path]:
    return sorted((classical.data / "images" / "train").iterdir())


def test_every_input_has_a_row_and_failures_a_reason(classical: Made, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(images[0].read_bytes()[:500])
    (tmp_path / "empty.png").write_bytes(b"")
    inputs = [images[0], tmp_path / "broken.png", tmp_path / "absent.png", tmp_path / "empty.png", images[1]]
    done = classical.bench("predict", classical.model("hog-svm"), *inputs, "--out", tmp_path / "out.csv")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert table["file"].tolist() == [str(path) for path in inputs]
    assert table["status"].tolist() == ["ok", "failed", "failed", "failed", "ok"]
    assert (table.loc[table["status"] == "failed", "reason"] != "").all()
    assert "3 failed" in done.stdout


def test_folders_patterns_and_lists_name_the_same_files(classical: Made, images: list[Path], tmp_path: Path) -> None:
    folder, model = images[0].parent, classical.model("hog-svm")
    tables = []
    for k, (arguments, text) in enumerate(
        [([folder], ""), ([f"{folder}/*.png"], ""), (["-"], "\n".join(map(str, images)) + "\n")]
    ):
        done = classical.bench("predict", model, *arguments, "--out", tmp_path / f"{k}.csv", input=text)
        assert done.returncode == 0, done.stderr
        tables.append((tmp_path / f"{k}.csv").read_bytes())
    assert tables[0] == tables[1] == tables[2]
    none = classical.bench("predict", model, f"{folder}/*.nothing")
    assert none.returncode == 2
    assert "no file matches the pattern" in none.stderr


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_formats_hold_the_same(classical: Made, images: list[Path], tmp_path: Path, suffix: str) -> None:
    model, out = load_model(classical.model("hog-svm")), tmp_path / f"out{suffix}"
    predict_to(out, model, (Item(str(path)) for path in images), Settings(2))
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda path: pd.read_json(path, lines=True)}
    table = read[suffix](out)
    expected = model.predict(np.stack([model.preprocessing.apply(cv2.imread(str(path), 0)) for path in images]))
    probability = table[[f"probability/{name}" for name in model.classes]].to_numpy()
    assert np.allclose(probability, expected.probability, rtol=0, atol=1e-14)


def test_a_killed_prediction_goes_on_where_it_was(classical: Made, tmp_path: Path) -> None:
    """Parts of eight files; the process is killed when a few are there."""
    write_folder(tmp_path / "many", Recipe(64, 5, side=128, parts=("Chest", "Hand", "Knee"), masks=False))
    model, source = classical.model("hog-svm"), tmp_path / "many" / "images"
    script = tmp_path / "predict.py"
    script.write_text(
        "import sys, time\nfrom bench.inference import predict\n"
        "predict_table = predict.predict_table\n"
        "def slowly(*a):\n    time.sleep(float(sys.argv.pop()))\n    sys.argv.append('0.3')\n    return predict_table(*a)\n"
        "if sys.argv[-1] == '0.3':\n    predict.predict_table = slowly\n"
        "from bench.cli import invoke\nsys.exit(invoke(sys.argv[1:-1]))\n"
    )

    def command(out: Path, pause: str) -> list[str]:
        return [
            sys.executable,
            str(script),
            "predict",
            str(model),
            str(source),
            "--out",
            str(out),
            "--part",
            "8",
            pause,
        ]

    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    assert subprocess.run(command(whole, "0"), env=classical.environment, check=False).returncode == 0
    running = subprocess.Popen(command(out, "0.3"), env=classical.environment)
    deadline = time.monotonic() + 60
    while len(list(parts_folder(out).glob("part-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    kept = {path: path.stat().st_mtime_ns for path in parts_folder(out).glob("part-*.parquet")}
    assert len(kept) >= 3
    assert not out.exists()
    damaged = min(kept)
    damaged.write_bytes(damaged.read_bytes()[:-40])
    done = subprocess.run(command(out, "0"), env=classical.environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{8 * (len(kept) - 1)} files had been predicted before" in done.stdout
    assert out.read_bytes() == whole.read_bytes()
    assert not parts_folder(out).exists()


def test_parts_of_another_model_are_not_mixed_in(classical: Made, images: list[Path], tmp_path: Path) -> None:
    out, items = tmp_path / "out.csv", [Item(str(path)) for path in images[:8]]
    stop = iter(range(2))

    def interrupted(_: int) -> None:
        if next(stop) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to(out, load_model(classical.model("hog-svm")), items, Settings(1, part=4), progress=interrupted)
    done = classical.bench("predict", classical.model("hog-xgboost"), *images[:8], "--out", out)
    assert done.returncode == 2
    assert "another model" in done.stderr


def test_what_is_no_radiograph_is_not_answered_surely(classical: Made, tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 256, (12, 12, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "colours.png"), blocks)
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((300, 200), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "noise.png"), rng.integers(0, 256, (300, 300), dtype=np.uint8))
    slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    slice_.save_as(tmp_path / "ct.dcm")
    names = ("blank.png", "colours.png", "ct.dcm", "noise.png")
    for model in ("hog-svm", "hog-xgboost"):
        out = tmp_path / f"{model}.csv"
        done = classical.bench("predict", classical.model(model), *(tmp_path / name for name in names), "--out", out)
        assert done.returncode == 0, done.stderr
        table = pd.read_csv(out, keep_default_na=False)
        assert table["verdict"].tolist()[:3] == ["out of distribution"] * 3
        if (
            model == "hog-svm"
        ):  # far from everything it knows; trees without a network to watch over them do not notice (docs/at-work.md)
            assert table["verdict"][3] in ("out of distribution", "not sure")
        assert table["reason"][2] == "not a radiograph: the header gives the modality CT"


def test_a_submission_is_what_the_competition_takes(classical: Made, images: list[Path], tmp_path: Path) -> None:
    options = ("--out", tmp_path / "out.csv", "--kaggle", tmp_path / "submission.csv")
    done = classical.bench("predict", classical.model("hog-svm"), classical.data / "images", *options)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "submission.csv", dtype=str)
    assert list(table) == ["SOPInstanceUID", "Target"]
    assert table["SOPInstanceUID"].tolist() == [path.name.removesuffix("-c.png") for path in images]
    answers = pd.read_csv(tmp_path / "out.csv")["labels"]
    numbers = {"Chest": "3", "Hand": "9", "Knee": "11"}
    expected = [" ".join(sorted((numbers[n] for n in labels.split("|")), key=int)) for labels in answers]
    assert table["Target"].tolist() == expected
    again = classical.bench("predict", classical.model("hog-svm"), classical.data / "images", *options)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


def test_without_out_answers_are_lines(classical: Made, images: list[Path]) -> None:
    done = classical.bench("predict", classical.model("hog-svm"), images[0])
    assert done.returncode == 0
    assert done.stdout.startswith(f"{images[0]}: ")


def test_hostile_files_cost_their_own_answer_and_no_others(classical: Made, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "slow.jpg").write_bytes(endless_jpeg())
    (tmp_path / "scans.jpg").write_bytes(endless_jpeg(500, 512))
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(20_000_000_000)  # takes no space
    with (tmp_path / "huge.dcm").open("wb") as stream:
        stream.write(bytes(128) + b"DICM")
        stream.truncate(20_000_000_000)
    inputs = [images[0], *(tmp_path / name for name in ("slow.jpg", "scans.jpg", "huge.png", "huge.dcm")), images[1]]
    out = tmp_path / "out.csv"
    done = classical.bench("predict", classical.model("hog-svm"), *inputs, "--out", out, "--max-seconds", 3)
    assert done.returncode == 1, done.stderr
    table = pd.read_csv(out, keep_default_na=False)
    assert table["status"].tolist() == ["ok", "failed", "failed", "failed", "failed", "ok"]
    reasons = table["reason"].tolist()
    assert reasons[1] == "took longer than 3 seconds"
    assert "scans, which no encoder of JPEG makes" in reasons[2]
    assert reasons[3] == reasons[4]
    assert "20,000,000,000 bytes, more than a picture within the limit" in reasons[3]
    other = classical.bench("predict", classical.model("hog-svm"), images[0], "--max-seconds", 0)
    assert other.returncode == 2


def test_a_file_that_contradicts_itself_is_answered_with_a_remark(classical: Made, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.radiographs.test_stored import RAMP, dicom

    (tmp_path / "x.dcm").write_bytes(dicom(RAMP.astype(np.uint16), BitsStored=10, HighBit=9))
    done = classical.bench("predict", classical.model("hog-svm"), tmp_path / "x.dcm", "--out", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    row = pd.read_csv(tmp_path / "out.csv", keep_default_na=False).iloc[0]
    assert row["status"] == "ok"
    assert "need more than the 10 bits" in row["reason"] or row["verdict"] == "out of distribution"


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_a_bit_that_flips_in_a_kept_part_is_answered_again(
    classical: Made, images: list[Path], tmp_path: Path, name: str
) -> None:
    """Wherever it flips: in a page, in the footer, in the plan."""
    model, items = load_model(classical.model("hog-svm")), [Item(str(path)) for path in images[:12]]
    whole, out = tmp_path / f"whole{Path(name).suffix}", tmp_path / name
    predict_to(whole, model, items, Settings(1, part=4))
    stop = iter(range(3))

    def interrupted(_: int) -> None:
        if next(stop) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to(out, model, items, Settings(1, part=4), progress=interrupted)
    pristine = {path: path.read_bytes() for path in parts_folder(out).iterdir()}
    part = next(path for path in pristine if path.name.startswith("part-00000001"))
    for at in (*range(4, len(pristine[part]), len(pristine[part]) // 7), len(pristine[part]) - 6):
        content = bytearray(pristine[part])
        content[at] ^= 1
        for path, before in pristine.items():
            parts_folder(out).mkdir(exist_ok=True)
            path.write_bytes(before)
        part.write_bytes(content)
        (parts_folder(out) / "_SUCCESS").unlink(missing_ok=True)
        tally = predict_to(out, model, items, Settings(1, part=4))
        assert (tally.kept, tally.damaged) == (8, 1)
        if out.suffix:
            assert out.read_bytes() == whole.read_bytes()
        else:
            assert [p.name for p in sorted(out.glob("part-*"))] == [p.name for p in sorted(whole.glob("part-*"))]
            pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))


def test_a_folder_of_answers_that_was_whole_is_mended(classical: Made, images: list[Path], tmp_path: Path) -> None:
    command = ("predict", classical.model("hog-svm"), *images[:8], "--out", tmp_path / "out", "--part", 4)
    assert classical.bench(*command).returncode == 0
    before = pd.read_parquet(tmp_path / "out")
    first, second = sorted((tmp_path / "out").glob("part-*"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 64
    first.write_bytes(content)
    second.unlink()
    done = classical.bench(*command)
    assert done.returncode == 0, done.stderr
    assert "damaged parts, predicted again: 1" in done.stdout
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), before)


@pytest.mark.parametrize("plan", ["[]", "null", "{", '{"model": "0"}', ""])
def test_parts_of_which_nobody_knows_what_made_them_are_answered_again(
    classical: Made, images: list[Path], tmp_path: Path, plan: str
) -> None:
    command = ("predict", classical.model("hog-svm"), *images[:4], "--out", tmp_path / "out")
    assert classical.bench(*command).returncode == 0
    before = pd.read_parquet(tmp_path / "out")
    (tmp_path / "out" / "_plan.json").write_text(plan)
    done = classical.bench(*command)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), before)


def test_a_spreadsheet_runs_nothing_of_the_answers(
    classical: Made, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's name and a SOPInstanceUID may be formulas."""
    monkeypatch.chdir(tmp_path)
    Path("=1+1.png").write_bytes(images[0].read_bytes())
    Path("@sum.png").write_bytes(b"no picture")
    options = ("--out", "out.csv", "--kaggle", "submission.csv")
    assert classical.bench("predict", classical.model("hog-svm"), "=1+1.png", "@sum.png", *options).returncode == 1
    assert pd.read_csv("out.csv")["file"].tolist() == ["'=1+1.png", "'@sum.png"]
    assert pd.read_csv("submission.csv")["SOPInstanceUID"].tolist() == ["'=1+1", "'@sum"]
    assert classical.bench("predict", classical.model("hog-svm"), "=1+1.png", "--out", "out.parquet").returncode == 0
    assert pd.read_parquet("out.parquet")["file"].tolist() == ["=1+1.png"]


def test_an_instance_that_is_a_formula_is_written_as_a_text(classical: Made, tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such an identifier is wrong, which is the point
        slice_.SOPInstanceUID = '=HYPERLINK("http://x")'
        slice_.save_as(tmp_path / "ct.dcm")
    out = tmp_path / "out.csv"
    assert classical.bench("predict", classical.model("hog-svm"), tmp_path / "ct.dcm", "--out", out).returncode == 0
    assert not pd.read_csv(out, keep_default_na=False)["instance"].str.startswith("=").any()
