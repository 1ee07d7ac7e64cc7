"""A model folder gives the numbers that were tested, by itself, and refuses what is not as it was written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from radiographs.disk import write_checksums
from radiographs.read import read_picture

from bench.inference.decision import choose_rule
from bench.inference.model import load_model
from bench.inference.novelty import fit_ood_detector
from bench.inference.package import PackageError, read_facts, write_facts
from tests.bench.made import Made

CLASSICAL, DEEP = (
    ("prior", "hog-svm", "hog-xgboost"),
    ("efficientnet-probe", "efficientnet-svm", "efficientnet-finetune"),
)
_ALONE = """
import sys
for name in ("sklearn", "bench.cells.runner", "bench.executors.loop", "bench.export.refit"):
    sys.modules[name] = None
import numpy as np
from bench.inference.model import load_model
model = load_model(sys.argv[1], sys.argv[2])
np.save(sys.argv[4], model.probabilities(np.load(sys.argv[3])))
"""


def pixels(made: Made, model: Path, n: int = 11) -> np.ndarray:
    settings = load_model(model).preprocessing
    files = sorted((made.data / "images" / "train").iterdir())[:n]
    return np.stack([settings.apply(read_picture(file).grey) for file in files])


@pytest.mark.parametrize("name", CLASSICAL)
def test_an_image_gets_the_same_numbers_alone_as_among_others(classical: Made, name: str) -> None:
    check_alone(classical, name)


@pytest.mark.shared
@pytest.mark.parametrize("name", DEEP)
def test_an_image_gets_the_same_numbers_from_a_network_alone_as_among_others(deep: Made, name: str) -> None:
    check_alone(deep, name)


def check_alone(made: Made, name: str) -> None:
    model = load_model(made.model(name))
    images = pixels(made, made.model(name))
    together = model.predict(images)
    for k in (0, 4, 10):
        alone = model.predict(images[k : k + 1])
        assert np.array_equal(alone.probability[0], together.probability[k])
        assert alone.ood_score[0] == together.ood_score[k]


@pytest.mark.parametrize("name", CLASSICAL)
def test_predict_gives_the_numbers_of_the_last_test(classical: Made, name: str, tmp_path: Path) -> None:
    check_reproduces(classical, name, tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("name", DEEP)
def test_predict_with_a_network_gives_the_numbers_of_the_last_test(deep: Made, name: str, tmp_path: Path) -> None:
    check_reproduces(deep, name, tmp_path)


def check_reproduces(made: Made, name: str, tmp_path: Path) -> None:
    """From the files, through the command, to the bits of what the run stored."""
    exported = tmp_path / "model"
    assert made.bench("export", made.run, "--model", name, "--out", exported).returncode == 0
    tested = pd.read_parquet(made.run / "holdout" / name / "predictions.parquet")
    files = [made.data / "images" / "train" / f"{image}-c.png" for image in tested["image_id"]]
    done = made.bench("predict", exported, *files, "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    found = pd.read_parquet(tmp_path / "out.parquet")
    columns = [column for column in tested if column.startswith("probability/")]
    assert np.array_equal(found[columns].to_numpy(), tested[columns].to_numpy())


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_model_needs_nothing_that_trained_it(classical: Made, name: str, tmp_path: Path) -> None:
    images = pixels(classical, classical.model(name))
    np.save(tmp_path / "in.npy", images)
    arguments = [classical.model(name), "native", tmp_path / "in.npy", tmp_path / "out.npy"]
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "out.npy"), load_model(classical.model(name)).probabilities(images))


@pytest.mark.shared
@pytest.mark.parametrize("name", DEEP)
def test_the_graph_needs_no_torch_and_gives_the_same_answers(deep: Made, name: str, tmp_path: Path) -> None:
    images = pixels(deep, deep.model(name))
    np.save(tmp_path / "in.npy", images)
    code = "import sys; sys.modules['torch'] = None\n" + _ALONE
    arguments = [deep.model(name), "onnx", tmp_path / "in.npy", tmp_path / "out.npy"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = read_facts(deep.model(name))
    assert facts["graph"]["onnx_to_torch"] < 1e-3
    native = load_model(deep.model(name)).probabilities(images)
    assert np.abs(np.load(tmp_path / "out.npy") - native).max() < 0.03  # bfloat16 against float32


@pytest.mark.shared
@pytest.mark.parametrize("name", ["hog-svm", *DEEP])
def test_openvino_gives_the_answers_of_the_native_classes(deep: Made, name: str) -> None:
    pytest.importorskip("openvino")
    images = pixels(deep, deep.model(name))
    native, other = load_model(deep.model(name)), load_model(deep.model(name), "openvino")
    assert (other.engine.name, native.engine.name) == ("openvino", "native")
    expected, found = native.predict(images), other.predict(images)
    assert np.abs(found.probability - expected.probability).max() < 0.03  # two ways to round to bfloat16
    assert np.abs(found.ood_score / expected.ood_score - 1).max() < 0.06  # depthwise layers round more: measured 0.047
    if name == "hog-svm":  # only the network that watches is compiled
        assert np.array_equal(found.probability, expected.probability)
        assert not np.array_equal(found.ood_score, expected.ood_score)
    for k in (0, 4, 10):
        alone = other.predict(images[k : k + 1])
        assert np.array_equal(alone.probability[0], found.probability[k])
        assert alone.ood_score[0] == found.ood_score[k]


def test_openvino_is_refused_where_there_is_nothing_to_do_for_it(
    classical: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts: dict[str, Any] = {"descriptor_network": None}
    monkeypatch.setattr("bench.inference.model.read_facts", lambda folder: read_facts(folder) | facts)
    with pytest.raises(PackageError, match="has no network for OpenVINO to run"):
        load_model(classical.model("hog-svm"), "openvino")
    facts["descriptor_network"] = {"class": "deep.frozen:Frozen", "backbone": "tf_efficientnet_lite0"}
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(PackageError, match=r"--engine openvino: .* pip install 'xraybench\[openvino\]'"):
        load_model(classical.model("hog-svm"), "openvino")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_every_file_of_an_export_has_the_mode_of_a_new_file(classical: Made, tmp_path: Path, umask: int) -> None:
    """Of a model that was tested, whatever the modes of its files are, and of one that is fitted now."""
    shutil.copytree(classical.run, tmp_path / "run")
    (tmp_path / "run/holdout/hog-svm/model/references.safetensors").chmod(0o600)
    before = os.umask(umask)
    try:
        assert (
            classical.bench("export", tmp_path / "run", "--model", "hog-svm", "--out", tmp_path / "a").returncode == 0
        )
        shutil.rmtree(tmp_path / "run/holdout/hog-svm")
        assert (
            classical.bench("export", tmp_path / "run", "--model", "hog-svm", "--out", tmp_path / "b").returncode == 0
        )
    finally:
        os.umask(before)
    for path in (*(tmp_path / "a").rglob("*"), *(tmp_path / "b").rglob("*")):
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o666 & ~umask, path


def test_a_changed_file_is_refused_by_name(classical: Made, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(classical.model("hog-svm"), copy)
    (copy / ".DS_Store").write_bytes(b"left by a file manager")
    load_model(copy)
    arrays = copy / "references.safetensors"
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(bytes(content))
    with pytest.raises(PackageError, match=r"references\.safetensors: was changed or damaged"):
        load_model(copy)


def _emptied(sums: Path) -> None:
    sums.write_text("")


def _garbage(sums: Path) -> None:
    sums.write_bytes(b"\x00\x01 no checksum at all\n\xff")


def _only_a_remark(sums: Path) -> None:
    sums.write_text("# checksums were here\n")


def _one_file_alone(sums: Path) -> None:
    sums.write_text(next(line for line in sums.read_text().splitlines() if "model.json" in line) + "\n")


def _without_its_first(sums: Path) -> None:
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if "head/svm.saf" not in line))


def _cut(sums: Path) -> None:
    sums.write_bytes(sums.read_bytes()[:-30])


def _twice_with_another_digest(sums: Path) -> None:
    changed = hashlib.sha256((sums.parent / "head/svm.safetensors").read_bytes()).hexdigest()
    sums.write_text(f"{sums.read_text()}{changed}  head/svm.safetensors\n")


def _garbage_between(sums: Path) -> None:
    sums.write_text(f"{sums.read_text()}see the other file\n")


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        _emptied,
        _garbage,
        _only_a_remark,
        _one_file_alone,
        _without_its_first,
        _cut,
        _twice_with_another_digest,
        _garbage_between,
    ],
)
def test_a_changed_file_is_refused_whatever_became_of_the_checksums(
    classical: Made, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(classical.model("hog-svm"), copy)
    arrays = copy / "head/svm.safetensors"
    content = bytearray(arrays.read_bytes())
    content[-3] ^= 0x40
    arrays.write_bytes(content)
    spoil(copy / "SHA256SUMS")
    with pytest.raises(PackageError, match=r"is missing, or not a list of checksums|is not as it was|is not named in"):
        load_model(copy)


@pytest.mark.parametrize("rewrite", [lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("  ", " *./")])
def test_checksums_as_other_programs_write_them_are_read(
    classical: Made, tmp_path: Path, rewrite: Callable[[str], str]
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(classical.model("prior"), copy)
    sums = copy / "SHA256SUMS"
    sums.write_bytes(rewrite(sums.read_text()).encode())
    assert load_model(copy).name == "prior"


@pytest.mark.parametrize("name", ["model.onnx", "head/other.json", "encoders/0.safetensors"])
def test_a_file_that_would_be_loaded_and_is_not_named_is_refused(classical: Made, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "model"
    shutil.copytree(classical.model("hog-svm"), copy)
    (copy / name).write_bytes(b"from somebody else")
    with pytest.raises(PackageError, match=f"{name}: is not named in SHA256SUMS: export or copy the model again"):
        load_model(copy)


def test_a_link_to_another_folder_is_not_followed(classical: Made, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(classical.model("hog-svm"), copy)
    (copy / "head").rename(tmp_path / "elsewhere")
    (copy / "head").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match="head: is not named in SHA256SUMS"):
        load_model(copy)
    sums = (copy / "SHA256SUMS").read_text().splitlines(keepends=True)
    (copy / "SHA256SUMS").write_text("".join(line for line in sums if "head/" not in line))
    with pytest.raises(PackageError, match="head: is not named in SHA256SUMS"):
        load_model(copy)


@pytest.mark.parametrize("content", ["[]", "7", '{"schema": null}', '{"schema": 1}', ""])
def test_facts_that_say_nothing_are_refused_in_one_line(classical: Made, tmp_path: Path, content: str) -> None:
    copy = tmp_path / "model"
    shutil.copytree(classical.model("prior"), copy)
    (copy / "model.json").write_text(content)
    with pytest.raises(PackageError, match=r"model\.json: .*export"):
        load_model(copy)
    write_facts(copy, {"name": "prior"})
    write_checksums(copy)
    with pytest.raises(PackageError, match=r"model\.json: lacks 'family': export the model again"):
        load_model(copy)


def test_a_tested_model_that_was_damaged_is_made_again_by_its_run(classical: Made, tmp_path: Path) -> None:
    options = ("--suite", "quick", "--folds", "2", "--holdout", "0.25", "--no-pictures", "--data", classical.data)
    command = ("run", "prior", *options, "--out", tmp_path / "run")
    assert classical.bench(*command).returncode == 0
    (tmp_path / "run/holdout/prior/model/SHA256SUMS").write_text("")
    done = classical.bench("export", tmp_path / "run", "--out", tmp_path / "model")
    assert done.returncode == 2
    assert "SHA256SUMS: is missing, or not a list of checksums" in done.stderr
    assert classical.bench(*command).returncode == 0
    assert classical.bench("export", tmp_path / "run", "--out", tmp_path / "model").returncode == 0


def test_a_model_cannot_name_code_to_run(classical: Made, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(classical.model("prior"), copy)
    facts = read_facts(copy)
    facts["encoders"] = [{"class": "subprocess:Popen", "args": ["touch", str(tmp_path / "ran")]}]
    write_facts(copy, facts)
    write_checksums(copy)
    with pytest.raises(PackageError, match="subprocess:Popen, which is not part of xraybench"):
        load_model(copy)
    assert not (tmp_path / "ran").exists()


def test_a_run_is_no_model_and_says_what_to_do(classical: Made) -> None:
    done = classical.bench("predict", classical.run, classical.data)
    assert done.returncode == 2
    assert "export a model of it with bench export" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_card_tells_what_people_ask(classical: Made) -> None:
    card = (classical.model("hog-svm") / "README.md").read_text(encoding="utf-8")
    facts = read_facts(classical.model("hog-svm"))
    for words in ("SYNTHETIC", "Not a medical device", "Licences", facts["run"]["splits"]["digest"], "95 % interval"):
        assert words in card
    value = facts["holdout"]["metrics"]["F1 per image"]["value"]
    assert f"| F1 per image | {value:.3f} |" in card


def test_export_without_a_last_test_fits_to_every_image(classical: Made, tmp_path: Path) -> None:
    options = ("--suite", "quick", "--folds", "2", "--no-pictures", "--data", classical.data, "--out", tmp_path / "run")
    assert classical.bench("run", "hog-svm", "hog-xgboost", *options).returncode == 0
    done = classical.bench("export", tmp_path / "run", "--out", tmp_path / "best")
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    facts = read_facts(tmp_path / "best")
    assert facts["trained_on"]["n_images"] == run["data"]["n_images"]
    assert facts["holdout"] is None
    again = classical.bench("export", tmp_path / "run", "--out", tmp_path / "best")
    assert again.returncode == 2
    assert "already exists" in again.stderr
    said = tmp_path / "run/cells/hog-svm/r0-f0/model/svm.json"
    content = said.read_text()
    said.write_text(content.replace("1", "2", 1))
    damaged = classical.bench("export", tmp_path / "run", "--model", "hog-svm", "--out", tmp_path / "other")
    assert damaged.returncode == 2
    assert "r0-f0: model/svm.json does not match its checksum: repeat the same `bench run`" in damaged.stderr
    said.write_text(content)
    unknown = classical.bench("export", tmp_path / "run", "--model", "hog-svn", "--out", tmp_path / "other")
    assert unknown.returncode == 2
    assert "it has hog-svm, hog-xgboost" in unknown.stderr
    gone = {**classical.environment, "XRAYBENCH_CACHE": str(tmp_path / "empty")}
    without = Made(classical.run, classical.data, gone).bench("export", tmp_path / "run", "--out", tmp_path / "third")
    assert without.returncode == 2
    assert "repeat the same `bench run`" in without.stderr


def test_the_sure_are_right_as_often_as_was_asked() -> None:
    rng = np.random.default_rng(0)
    truth = np.eye(4, dtype=int)[rng.integers(0, 4, 2000)]
    logits = 2 * truth + rng.normal(0, 1, truth.shape)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rule = choose_rule(truth[:1000], probability[:1000], "multiclass", at_least_one=True, target=0.95)
    decision = rule.decide(probability[1000:])
    right = truth[1000:][np.arange(1000), probability[1000:].argmax(axis=1)] == 1
    assert 0.92 < right[decision.sure].mean() < 0.98
    assert right.mean() < 0.9
    assert abs(decision.sure.mean() - rule.coverage) < 0.06


def test_nobody_is_sure_where_nothing_is_right_often_enough() -> None:
    truth = np.eye(2, dtype=int)[np.arange(200) % 2]
    probability = np.full((200, 2), 0.5)
    rule = choose_rule(truth, probability, "multiclass", at_least_one=True, target=0.95)
    assert rule.coverage == 0
    assert not rule.decide(probability).sure.any()


@pytest.mark.parametrize("whitened", [False, True])
def test_what_lies_apart_from_other_patients_is_strange(whitened: bool) -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 3)
    usual = rng.normal(size=(100, 12))[groups] + rng.normal(0, 0.05, (300, 12))
    found = fit_ood_detector(usual, groups, whitened=whitened)
    assert (found.score(usual + 20) > 1).all()
    assert (found.score(rng.normal(size=(200, 12))) > 1).mean() < 0.2
    own = np.mean(found.score(usual))
    assert own < 1
