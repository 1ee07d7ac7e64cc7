"""Suites: the recipe that can be cited, and its errors."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.recipes.build import Resources, build, family
from bench.recipes.suite import Part, load_suite, parse_setting, suite_names, with_epochs

QUICK = {
    "prior": "dummy",
    "hog-svm": "classical",
    "lbp-svm": "classical",
    "hog-lbp-svm": "classical",
    "fisher-svm": "classical",
    "hog-xgboost": "classical",
    "lbp-xgboost": "classical",
    "hog-lbp-xgboost": "classical",
    "efficientnet-probe": "deep",
    "efficientnet-svm": "deep",
    "fusion-svm": "fusion",
    "fisher-fusion-svm": "fusion",
    "efficientnet-finetune": "deep",
}
STANDARD = [
    *QUICK,
    "squeezenet-probe",
    "squeezenet-svm",
    "squeezenet-finetune",
    "squeezenet-last-stage",
    "two-networks-svm",
    "resnet18-probe",
    "resnet18-finetune",
    "resnet18-scratch",
    "resnet50-finetune",
    "xception-finetune",
    "convnext-tiny-finetune",
]


def test_the_suites_hold_the_models_that_are_promised() -> None:
    assert suite_names() == ["learning", "quick", "standard", "starts"]
    assert {name: family(spec) for name, spec in load_suite("quick").models.items()} == QUICK
    assert list(load_suite("standard").models) == STANDARD


def test_the_starts_differ_in_nothing_but_start_and_share() -> None:
    models = load_suite("starts").models
    assert len(models) == 3 * 2 * 3
    for name, spec in models.items():
        start, method, share = name.split("-")
        twin = models[f"imagenet-{method}-100"].as_dict()
        parts = [spec.head, *spec.encoders] if method == "finetune" else list(spec.encoders)
        assert parts[0].parameters["start"] == start
        assert spec.train_share == int(share) / 100
        plain = json.loads(json.dumps(spec.as_dict()).replace(f'"start": "{start}"', '"start": "imagenet"'))
        assert plain | {"description": "", "train_share": 1.0} == twin | {"description": ""}


@pytest.mark.parametrize(("suite", "name"), [("standard", m) for m in STANDARD] + [("starts", "random-probe-25")])
def test_every_model_of_every_suite_can_be_built(suite: str, name: str) -> None:
    spec = load_suite(suite).models[name]
    for part in spec.encoders:
        assert hasattr(build(part, Resources(), "encoder"), "encode")
    head = build(spec.head, Resources(task="multiclass"), "head")
    assert all(hasattr(head, method) for method in ("fit", "predict_proba", "save"))


def test_a_setting_changes_what_is_named_and_the_digest() -> None:
    changed = load_suite("quick", {"models.hog-svm.encoders.0.cell": 8, "preprocessing.denoise": "median"})
    assert changed.models["hog-svm"].encoders[0].parameters == {"cell": 8}
    assert changed.preprocessing.denoise == "median"
    assert changed.digest != load_suite("quick").digest


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "models.hog-smv.head.C",
            [1],
            "--set models.hog-smv.head.C: 'hog-smv' is not in the suite 'quick'; did you mean 'hog-svm'",
        ),
        ("preprocessing.sid", 3, "suite 'quick': preprocessing.sid: unknown key; did you mean 'side'"),
        ("preprocessing.side", "big", "suite 'quick': preprocessing.side: "),
        (
            "models.hog-svm.head.class",
            "no colon",
            "suite 'quick': models.hog-svm.head.class: 'no colon' is not module:Class",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_key(key: str, value: object, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_suite("quick", {key: value})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("quikc", "suite 'quikc' is unknown; did you mean 'quick'"), ("gone.toml", "gone.toml: no such suite file")],
)
def test_an_unknown_suite_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_suite(name)


def test_a_users_suite_extends_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'extends = "quick"\n[cv]\nfolds = 3\n[models.own]\nhead = { class = "baselines.prior:Prior" }\n'
    )
    suite = load_suite(str(tmp_path / "mine.toml"))
    assert (suite.name, suite.cv.folds, suite.cv.repeats) == ("mine", 3, 1)
    assert list(suite.models) == [*QUICK, "own"]
    (tmp_path / "mine.toml").write_text("[models\n")
    with pytest.raises(UserError, match=r"mine\.toml: cannot be read as a suite"):
        load_suite(str(tmp_path / "mine.toml"))


def test_epochs_go_to_every_head_that_has_them() -> None:
    suite = with_epochs(load_suite("standard"), 3)
    assert suite.models["resnet18-scratch"].head.parameters["epochs"] == 3
    assert suite.models["hog-svm"] == load_suite("standard").models["hog-svm"]
    with pytest.raises(UserError, match="--epochs 0"):
        with_epochs(suite, 0)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            {"class": "baselines.hog:HOG", "cel": 8},
            "here: HOG has no parameter 'cel'; did you mean 'cell'; it has cell, block, orientations",
        ),
        ({"class": "baselines.hog:HOGG"}, "here: baselines.hog has no class 'HOGG'"),
        ({"class": "nowhere.at.all:X"}, "here: no module for class 'nowhere.at.all:X'"),
        ({"class": "deep.frozen:Frozen"}, "here: Frozen: "),
        (
            {"class": "deep.frozen:Frozen", "backbone": "resnet18", "offline": True},
            "here: Frozen has no parameter 'offline'",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_by_the_key_in_the_suite(part: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        build(Part.model_validate(part), Resources(), "here")
    assert message in str(error.value)


KEYS = st.text(st.characters(exclude_characters="="), min_size=1)


@given(KEYS, st.text())
def test_any_key_and_value_is_a_setting(key: str, value: str) -> None:
    assert parse_setting(f"{key}={value}")[0] == key.strip()


@given(KEYS)
def test_what_has_no_value_or_no_key_is_refused(text: str) -> None:
    for wrong in (text, f"={text}"):
        with pytest.raises(UserError, match="write KEY=VALUE"):
            parse_setting(wrong)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[preprocesing]\nside = 32", "preprocesing: unknown key; did you mean 'preprocessing'"),
        ("[models.a]\nencoders = []", "models.a.head: is missing"),
        (
            '[models.a]\nencoder = []\nhead = { class = "x:Y" }',
            "models.a.encoder: unknown key; did you mean 'encoders'",
        ),
        ('[models.a]\nhead = { clas = "x:Y" }', "models.a.head.class: is missing"),
        ('[models.a]\nhead = { class = "knn.KNN" }', "models.a.head.class: 'knn.KNN' is not module:Class, such as"),
        (
            '[models.a]\nencoders = {}\nhead = { class = "x:Y" }',
            "models.a.encoders: give a list, in brackets: encoders = ",
        ),
        ('[models."a/b"]\nhead = { class = "x:Y" }', "models.a/b: 'a/b' is not a valid name: use letters, digits"),
    ],
)
def test_a_wrong_key_is_named_with_the_way_out(table: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'name = "mine"\n{table}\n')
    with pytest.raises(UserError) as error:
        load_suite(str(tmp_path / "mine.toml"))
    assert message in str(error.value)
