"""Heat maps of models that are known to look at one place, and the command on packaged models."""

import contextlib
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from bench.commands.explain import Method, explain
from bench.errors import UserError
from bench.explaining.occlusion import occlusion
from bench.explaining.overlay import picture
from bench.explaining.scores import faithfulness, likeness
from bench.explaining.subject import Subject
from bench.inference.model import load_model
from bench.recipes.contract import RandomisableHead
from bench.store.run_folder import RunFolder
from reports.pages.explanations import explanations_section
from reports.runs.explanations import load_explanations
from reports.runs.format import is_sealed
from reports.runs.results import load
from tests.bench.made import Made
from tests.reports.pages.test_browser import browser  # noqa: F401 - a fixture

EYE = (slice(0, 56), slice(56, 112))  # the quarter that the synthetic model looks at


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (112, 112), np.uint8)


def looks_at_one_quarter(images: np.ndarray) -> np.ndarray:
    """More probable, the more structure is in one quarter."""
    return np.clip(images[:, *EYE].std(axis=(1, 2)) / 90, 0.001, 0.999)


def looks_at_nothing(images: np.ndarray) -> np.ndarray:
    return np.full(len(images), 0.3)


@pytest.fixture
def run(classical: Made) -> Made:
    """Two classical models and the dummy on forty phantoms."""
    return classical


@pytest.fixture
def run_with_sample(run: Made, tmp_path: Path) -> Made:
    """A copy of the run that holds one sample picture, as `bench run` writes it."""
    copied = Made(tmp_path / "run", run.data, run.environment)
    shutil.copytree(run.run, copied.run)
    (copied.run / "samples").mkdir()
    image = _image(run, Subject(run.model("hog-svm"), device="cpu"))
    for name in ("0-before.png", "0-after.png"):
        (copied.run / "samples" / name).write_bytes(picture(image))
    sample = {"image_id": "one", "labels": ["Hand"], "before": "0-before.png", "after": "0-after.png", "augmented": []}
    (copied.run / "samples" / "samples.json").write_text(json.dumps([sample]))
    RunFolder(copied.run).write_pictures()
    return copied


def command(made: Made, *paths: object, out: Path | None = None, **options: object) -> str:
    """What the command prints."""
    said = io.StringIO()
    settings = {"class_": None, "method": Method.auto, "seed": 0, "device": "cpu", **options}
    with mock.patch.dict(os.environ, made.environment, clear=True), contextlib.redirect_stdout(said):
        explain([str(path) for path in paths], out, **settings)
    return said.getvalue()


def images_of(made: Made, n: int) -> list[Path]:
    return sorted((made.data / "images" / "train").iterdir())[:n]


def test_occlusion_finds_the_quarter_that_a_model_looks_at(noise: np.ndarray) -> None:
    heat = occlusion(looks_at_one_quarter, noise)
    assert heat.shape == (14, 14)
    assert heat[:7, 7:].sum() > 0.85 * heat.sum()
    assert (heat.min(), heat.max()) == (0, 1)


def test_a_true_map_beats_random_ones_and_a_false_one_loses(noise: np.ndarray) -> None:
    heat = occlusion(looks_at_one_quarter, noise)
    true = faithfulness(looks_at_one_quarter, noise, heat, np.random.default_rng(0))
    false = faithfulness(looks_at_one_quarter, noise, heat[::-1, ::-1], np.random.default_rng(0))
    assert true.deletion < true.deletion_random - 0.1
    assert true.insertion > true.insertion_random + 0.1
    assert false.deletion > false.deletion_random + 0.05
    assert false.insertion < false.insertion_random - 0.05


def test_areas_are_the_probability_of_a_model_that_does_not_look(noise: np.ndarray) -> None:
    heat = occlusion(looks_at_nothing, noise)
    assert not heat.any()
    found = faithfulness(looks_at_nothing, noise, heat, np.random.default_rng(0))
    np.testing.assert_allclose(list(vars(found).values()), 0.3)


def test_likeness_is_a_rank_correlation_and_undefined_for_a_flat_map() -> None:
    rising = np.arange(9.0).reshape(3, 3)
    assert likeness(rising, rising**3) == pytest.approx(1)
    assert likeness(rising, -rising) == pytest.approx(-1)
    assert np.isnan(likeness(rising, np.ones((3, 3))))


@pytest.mark.parametrize("name", ["hog-svm", "hog-xgboost"])
def test_a_model_that_forgot_what_it_learned_has_another_map(run: Made, name: str) -> None:
    subject = Subject(run.model(name), device="cpu")
    assert subject.method == "occlusion"
    image = _image(run, subject)
    label = int(subject.model.probabilities(image[None])[0].argmax())
    heat = subject.heat(image, label)
    other = subject.random_heat(image, label, "head", 0)
    assert other is not None
    assert likeness(heat, other) < 0.7
    np.testing.assert_array_equal(heat, subject.heat(image, label))
    drawing = image[::16, ::16].astype(float)  # a map that does not ask the model
    assert likeness(drawing, drawing) == pytest.approx(1)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "method", "parts"),
    [
        ("efficientnet-probe", "grad-cam", ("head", "whole")),
        ("efficientnet-svm", "eigen-cam", ("whole",)),
        ("efficientnet-finetune", "grad-cam", ("head", "whole")),
    ],
)
def test_networks_have_the_method_that_fits_them(deep: Made, name: str, method: str, parts: tuple[str, ...]) -> None:
    subject = Subject(deep.model(name), device="cpu")
    assert (subject.method, subject.parts) == (method, parts)
    image = _image(deep, subject)
    label = int(subject.model.probabilities(image[None])[0].argmax())
    heat = subject.heat(image, label)
    assert (heat.min(), heat.max()) == (pytest.approx(0, abs=0.2), pytest.approx(1))
    for part in parts:
        assert likeness(heat, subject.random_heat(image, label, part, 0)) < 0.8
    assert Subject(deep.model(name), "occlusion", "cpu").method == "occlusion"


def test_random_heads_keep_what_they_are_made_of(run: Made) -> None:
    native = Subject(run.model("hog-svm"), device="cpu").native
    fresh = native.head.randomise_weights(0)
    before, after = native.head.machine_.dual, fresh.machine_.dual
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert not isinstance(Subject(run.model("prior"), device="cpu").native.head, RandomisableHead)


def test_a_subject_says_what_the_model_says(run: Made) -> None:
    subject = Subject(run.model("hog-svm"), device="cpu")
    image = _image(run, subject)
    expected = load_model(run.model("hog-svm"), "native", "cpu").probabilities(image[None])[:, 1]
    np.testing.assert_array_equal(subject.score(1)(image[None]), expected)


def test_models_and_images_become_a_sealed_folder(run: Made, tmp_path: Path) -> None:
    out = tmp_path / "explanations"
    said = command(run, run.model("hog-xgboost"), run.model("prior"), *images_of(run, 1), out=out)
    assert "prior: no evidence for the class in any image" in said
    record = json.loads((out / "explanations.json").read_text())
    assert is_sealed(record)
    assert {*record["files"], "explanations.json"} == {path.name for path in out.iterdir()}
    for name, digest in record["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    table = (out / "scores.csv").read_text().splitlines()
    assert len(table) == 1 + 2
    page = (out / "explanations.html").read_text()
    assert page.count('src="data:image/png') == 3 + 1
    again = tmp_path / "again"
    command(run, run.model("hog-xgboost"), run.model("prior"), *images_of(run, 1), out=again)
    assert (again / "explanations.json").read_bytes() == (out / "explanations.json").read_bytes()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_accessible_and_fits_a_phone(run: Made, tmp_path: Path, browser, width: int) -> None:  # noqa: F811 - the fixture
    command(run, run.model("hog-xgboost"), run.model("prior"), *images_of(run, 1), out=tmp_path / "out")
    browser.ask("window/rect", {"width": width, "height": 900})
    browser.open(tmp_path / "out" / "explanations.html")
    assert browser.log("browser") == []
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")


def test_a_class_can_be_asked_for(run: Made, tmp_path: Path) -> None:
    command(run, run.model("hog-xgboost"), *images_of(run, 1), out=tmp_path / "out", class_="Knee")
    record = json.loads((tmp_path / "out" / "explanations.json").read_text())
    assert [image["class"] for image in record["images"]] == ["Knee"]


def test_a_run_is_explained_on_its_samples_without_the_floor(run_with_sample: Made) -> None:
    run = run_with_sample
    command(run, run.run)
    found = load_explanations(run.run)
    assert found is not None
    assert [model["name"] for model in found.record["models"]] == ["hog-svm", "hog-xgboost"]
    assert [(image["name"], image["labels"]) for image in found.record["images"]] == [("one", ["Hand"])]
    shown = explanations_section(load(run.run))
    assert shown is not None
    assert not any("refitted" in line for line in shown["words"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda run: ([run.model("hog-svm")], {}), "no images"),
        (lambda run: (images_of(run, 1), {}), "no argument is a model folder"),
        (lambda run: ([run.run, *images_of(run, 1)], {}), "is a run: give it alone"),
        (lambda run: ([run.model("hog-svm"), *images_of(run, 1)], {"class_": "Tail"}), "--class Tail"),
        (lambda run: ([run.model("hog-svm"), run.run / "run.json"], {}), "can be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_one_line(run: Made, tmp_path: Path, wrong, message: str) -> None:
    paths, options = wrong(run)
    with pytest.raises(UserError, match=message) as caught:
        command(run, *paths, out=tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_another_folder_is_not_replaced(run: Made, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds something else"):
        command(run, run.model("hog-svm"), *images_of(run, 1), out=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def _image(made: Made, subject: Subject) -> np.ndarray:
    from radiographs.read import read_picture

    return subject.model.preprocessing.apply(read_picture(images_of(made, 1)[0]).grey)


def test_files_are_called_by_their_content_unless_their_names_may_be_kept(run: Made, tmp_path: Path) -> None:
    for folder in ("SMITH-JOHN", "DOE-JANE"):
        (tmp_path / folder).mkdir()
    for folder, source in zip(("SMITH-JOHN", "DOE-JANE"), images_of(run, 2), strict=True):
        shutil.copy(source, tmp_path / folder / "MEIER-ANNA.png")
    files = sorted(tmp_path.glob("*/MEIER-ANNA.png"))
    for words in ({}, {"keep_identifiers": True}):
        out = tmp_path / f"out{len(words)}"
        command(run, run.model("hog-xgboost"), *files, out=out, **words)
        written = b"".join(path.read_bytes() for path in out.iterdir())
        record = json.loads((out / "explanations.json").read_text())
        names = [image["name"] for image in record["images"]]
        assert len(set(names)) == 2
        assert any(word in written for word in (b"MEIER", b"SMITH", b"DOE-")) == bool(words)
        if not words:
            assert names == [f"x{hashlib.sha256(file.read_bytes()).hexdigest()[:20]}" for file in files]
