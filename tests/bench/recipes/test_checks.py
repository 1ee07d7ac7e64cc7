"""The contract of encoders and heads: every class of every suite keeps to it, and each way to break it is caught."""

# ruff: noqa: ARG002, ARG005 - methods have a head's signature

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from baselines.prior import Prior
from baselines.svm import SVM
from bench.recipes.build import Resources, build
from bench.recipes.checks import ContractError, check_encoder, check_head
from bench.recipes.suite import ModelSpec, load_suite, suite_names

QUICK = {  # parameters with which a class is quick
    "baselines.boosting:XGBoost": {"rounds": 5},
    "deep.finetune:FineTune": {"epochs": 1},
    "deep.laststages:LastStages": {"epochs": 1},
}


def classes() -> dict[str, ModelSpec]:
    """A model for each class of the shipped suites: the first that uses it, with the network whose weights are installed where there is one."""
    models = [spec for name in suite_names() for spec in load_suite(name).models.values()]
    found: dict[str, ModelSpec] = {}
    for spec in sorted(models, key=lambda spec: "efficientnet" not in spec.model_dump_json()):
        for part in (*spec.encoders, spec.head):
            found.setdefault(part.class_, spec)
    return found


def made(part: Any) -> Any:
    return build(part.changed(**QUICK.get(part.class_, {})), Resources(device="cpu", threads=1, offline=True), "here")


@pytest.mark.parametrize("class_", sorted(classes()))
def test_every_class_of_every_suite_keeps_to_the_contract(class_: str) -> None:
    spec = classes()[class_]
    encoder = next((part for part in spec.encoders if part.class_ == class_), None)
    if encoder is not None:
        check_encoder(made(encoder))
    elif class_ in ("deep.finetune:FineTune", "deep.laststages:LastStages"):
        check_head(made(spec.head), encoders=[made(part) for part in spec.encoders])
    else:
        check_head(made(spec.head))


def test_the_example_of_the_docs_keeps_to_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs" / "add-a-model.md").read_text(encoding="utf-8")
    classes, checks = (
        dedent(text[text.index(begin) : text.index(end)])
        for begin, end in (
            ("    # grey.py", "    # mine.toml\n    [models.grey-mean]"),
            ("    from bench.recipes.checks", "They test the class"),
        )
    )
    (tmp_path / "grey.py").write_text(classes)
    monkeypatch.syspath_prepend(str(tmp_path))
    exec(checks, {})  # noqa: S102 - as a user does


class Grey:
    """Mean grey level, as it should be."""

    def encode(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True).astype(np.float32) / 255


class Nearest:
    """The mean of each class, as it should be."""

    def __init__(self, width: float = 1.0, task: str = "multilabel") -> None:
        self.width = width
        self.task = task

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any, seed: int) -> Any:
        self.means_ = np.stack(
            [X[y[:, k] == 1].mean(axis=0) if y[:, k].any() else X.max(axis=0) for k in range(y.shape[1])]
        )
        self.chosen_ = {"width": 1.0}
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        found = np.exp(-((X[:, None] - self.means_) ** 2).mean(axis=2)).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        (folder / "means.json").write_text(json.dumps(self.means_.tolist()), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Any:
        head = cls()
        head.means_ = np.array(json.loads((folder / "means.json").read_text()), np.float32)
        return head


def test_what_keeps_to_the_contract_passes_as_class_and_as_object() -> None:
    for encoder in (Grey, Grey()):
        check_encoder(encoder)
    for head in (Nearest, Nearest(2.0)):
        check_head(head)
    check_head(Nearest, encoders=[Grey()])


def of_first(images: np.ndarray) -> np.ndarray:
    return (Grey().encode(images) - Grey().encode(images).mean()).astype(np.float32)


def painted(images: np.ndarray) -> np.ndarray:
    images[:, 0] = 0
    return Grey().encode(images)


ENCODERS = {
    "has no encode(images)": {"encode": None},
    "encode returns float64": {"encode": lambda images: Grey().encode(images).astype(float)},
    "encode returns shape (8,)": {"encode": lambda images: Grey().encode(images)[:, 0]},
    "encode returns list": {"encode": lambda images: list(Grey().encode(images))},
    "not finite": {"encode": lambda images: Grey().encode(images) * np.float32(np.nan)},
    "encode changes the images": {"encode": painted},
    "batch influence each other": {"encode": of_first},
    "other values for the same images": {
        "encode": lambda images: Grey().encode(images) + np.random.default_rng().random((len(images), 1), np.float32)
    },
    "fails with ZeroDivisionError": {"encode": lambda images: 1 / 0},
    "fingerprint is not a string or changes": {"fingerprint": lambda: 3},
}


@pytest.mark.parametrize("message", ENCODERS)
def test_an_encoder_that_breaks_the_contract_is_caught(message: str) -> None:
    members = {name: staticmethod(value) if value else None for name, value in ENCODERS[message].items()}
    kind = type("Wrong", (Grey,), members)
    if message.startswith("has no"):
        kind = type("Wrong", (), {})
    with pytest.raises(ContractError, match=re.escape(message)) as error:
        check_encoder(kind)
    assert re.match(r"Wrong: .*: ", str(error.value))
    assert "\n" not in str(error.value)


class Changes(Nearest):
    def fit(self, *parts: Any) -> Any:
        self.width = 3.0
        return super().fit(*parts)


class Spoils(Nearest):
    def fit(self, X: Any, *parts: Any) -> Any:
        X -= X.mean(axis=0)
        return super().fit(X, *parts)


class Global(Nearest):
    def fit(self, X: Any, *parts: Any) -> Any:
        return super().fit(X + np.random.rand(*X.shape), *parts)  # noqa: NPY002 - that is what is wrong


class OneColumn(Nearest):
    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(X)[:, :1]


class Single(Nearest):
    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(X).astype(np.float32)


class Scores(Nearest):
    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(X) * 9 - 4


class Unsure(Nearest):
    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(X) / 2


class Crowd(Nearest):
    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(X - X.mean(axis=0))


class Absent(Nearest):
    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any, seed: int) -> Any:
        if not y.any(axis=0).all():
            raise IndexError("no such class")
        return super().fit(X, y, X_valid, y_valid, seed)


class Forgets(Nearest):
    @classmethod
    def load(cls, folder: Path) -> Any:
        head = super().load(folder)
        head.means_ = head.means_ * 0
        return head


class Pickles(Nearest):
    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "model.bin").write_bytes(pickle.dumps(self.means_))


class Arrays(Nearest):
    def fit(self, *parts: Any) -> Any:
        super().fit(*parts)
        self.chosen_ = {"means": self.means_}


class Epochless(Nearest):
    def fit(self, *parts: Any) -> Any:
        super().fit(*parts).history_ = [{"loss": 1.0}]


class Space(Nearest):
    search_space = {"widht": [1, 2]}  # noqa: RUF012


class Range(Nearest):
    search_space = {"width": {"low": 2, "high": 1}}  # noqa: RUF012


class Refits(Nearest):
    def refit(self, X: Any, y: Any, folds: Any, seed: int) -> Any:
        self.means_ = X[:1] + np.float32(folds[0]["scale"])


class Prunes(SVM):
    def prune_to_support(self) -> np.ndarray:
        return super().prune_to_support()[::-1]


class Randomises(Nearest):
    def randomise_weights(self, seed: int) -> Any:
        self.means_ = self.means_[:, ::-1]
        return self


class Both(Nearest):
    pairwise = rowwise = True


class NoLoad:
    fit, predict_proba, save = Nearest.fit, Nearest.predict_proba, Nearest.save


HEADS = {
    Changes: "fit changes the constructor's parameter 'width'",
    Spoils: "fit changes its input",
    Global: "other probabilities when it is fitted again with the same seed",
    OneColumn: "predict_proba returns shape (12, 1)",
    Single: "predict_proba returns float32",
    Scores: "values outside of 0 .. 1",
    Unsure: "do not add up to 1",
    Crowd: "predicts an image differently in a smaller batch",
    Absent: "fit fails with IndexError (no such class)",
    Forgets: "predicts differently after save and load",
    Pickles: "save writes a pickle (model.bin)",
    Arrays: "chosen_ or history_ cannot be written as JSON",
    Epochless: "history_ has records without an epoch",
    Space: "search_space names 'widht'",
    Range: "search_space['width']: give a list of choices, or low and a larger high",
    Refits: "refit fails with KeyError",
    Prunes: "predicts differently after prune_to_support",
    Randomises: "randomise_weights changes the head itself",
    Both: "is pairwise and rowwise",
    NoLoad: "has save(folder) and no load",
    Grey: "lacks fit or predict_proba",
}


@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.__name__)
def test_a_head_that_breaks_the_contract_is_caught(kind: type) -> None:
    with pytest.raises(ContractError, match=re.escape(HEADS[kind])) as error:
        check_head(kind)
    assert re.match(rf"{kind.__name__}.*: .*: ", str(error.value))
    assert "\n" not in str(error.value)


def test_a_class_with_parameters_is_given_as_an_object() -> None:
    class Needs(Prior):
        def __init__(self, depth: int) -> None:
            self.depth = depth

        @classmethod
        def load(cls, folder: Path) -> Any:
            return Prior.load(folder)

    check_head(Needs(3))
    with pytest.raises(ContractError, match=r"Needs: needs parameters .*: give an object instead of the class"):
        check_head(Needs)
