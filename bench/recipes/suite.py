"""Suites: a TOML file with the preprocessing, the cross-validation, and one table per model. It is the citable recipe."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from radiographs.preprocess import Preprocessing
from radiographs.text import read_toml

from bench.errors import UserError
from bench.recipes.search import Dimension, Key, Tuned
from bench.recipes.vary import varied

_SUITES = files("bench").joinpath("suites")


class Part(BaseModel):
    """An encoder or a head: the class, as ``module:Name``, and its parameters beside it."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    class_: str = Field(alias="class", pattern=r"^[\w.]+:\w+$")

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the class."""
        return dict(self.model_extra or {})

    @property
    def name(self) -> str:
        """Such as ``HOG(cell=16)``."""
        return f"{self.class_.split(':')[1]}({', '.join(f'{k}={v}' for k, v in self.parameters.items())})"

    def changed(self, **parameters: Any) -> Part:
        """Return the part with other parameters."""
        return Part.model_validate({"class": self.class_, **self.parameters, **parameters})


Family = Literal["classical", "deep", "fusion", "dummy"]  # dummy: ignores the images (scikit-learn's word)


class ModelSpec(BaseModel):
    """One model: encoders and a head.

    With `train_share` below 1 it is trained on that share of the training part's groups (patients), chosen so that a smaller share
    is part of a larger one; validation and test part stay whole. With `mirror`, an image and its mirror image are the same to the model: a kernel takes the smaller of the two distances,
    any other head is trained on the encodings of both and predicts their mean.

    With `refit`, the head is fitted a second time, to training and validation part together, with what the validation part chose; this
    one predicts the test part.

    `family` is what the model counts as in the comparison; if not given it follows from what encoders and head declare.
    `search` is what ``bench tune`` may try beside the search spaces that the classes declare, or instead of their entries; a run does not
    use it, so it is not part of any digest. `tuned` is what was chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    family: Family | None = None
    encoders: tuple[Part, ...] = ()
    head: Part
    mirror: bool = False
    train_share: float = Field(default=1.0, gt=0, le=1)
    refit: bool = False
    search: dict[Key, Dimension] = Field(default_factory=dict, exclude=True)
    tuned: Tuned | None = None

    @model_validator(mode="after")
    def _names_its_parts(self) -> ModelSpec:
        if self.refit and self.train_share < 1:
            raise ValueError("refit and train_share: the validation part would be no share: leave one of them out")
        for key in {
            *self.search,
            *(key for values in (self.tuned.folds.values() if self.tuned else ()) for key in values),
        }:
            where, _, name = key.rpartition(".")
            if name == "class":
                raise ValueError(f"{key}: the class cannot be searched: write a model for each")
            if where != "head" and int(where.split(".")[1]) >= len(self.encoders):
                raise ValueError(f"{key}: the model has {len(self.encoders)} encoders, counted from 0")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `tuned`, `family` and `refit` if not set: run folders and digests of models without them do not have these keys."""
        table = serialise(self)
        return {key: value for key, value in table.items() if value or key not in ("tuned", "family", "refit")}

    def with_values(self, values: Mapping[str, Any]) -> ModelSpec:
        """Return the model with other parameters, by keys such as ``head.gamma`` and ``encoders.0.cell``."""
        encoders, head = list(self.encoders), self.head
        for key, value in values.items():
            where, _, name = key.rpartition(".")
            if where == "head":
                head = head.changed(**{name: value})
            else:
                k = int(where.split(".")[1])
                encoders[k] = encoders[k].changed(**{name: value})
        return self.model_copy(update={"encoders": tuple(encoders), "head": head})

    def of_fold(self, repeat: int, fold: int) -> ModelSpec:
        """Return the model as it is in one fold: with the values that were chosen there, where it is tuned."""
        if self.tuned is None:
            return self
        return self.with_values(self.tuned.values(repeat, fold)).model_copy(update={"tuned": None})

    def as_dict(self) -> dict[str, Any]:
        """Plain values with a stable order, as they are kept in run.json and hashed."""
        return json.loads(self.model_dump_json(by_alias=True))


class CrossValidation(BaseModel):
    """Number of folds, and of repeats with different folds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: int = 5
    repeats: int = 1


Name = Annotated[str, Field(pattern=r"^\w[\w .+-]{0,99}$")]  # of suites and models: it becomes the name of a folder


Decision = Literal["threshold", "label_sets"]


class Suite(BaseModel):
    """A whole recipe.

    `decision` is the rule by which labels are decided where an image may have several; without one a new run takes the default, and a run
    that is resumed keeps its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    description: str = ""
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    cv: CrossValidation = Field(default_factory=CrossValidation)
    decision: Decision | None = None
    models: dict[Name, ModelSpec]

    @model_serializer(mode="wrap")
    def _plain(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `decision` where there is none: digests of suites without do not know of it."""
        return {key: value for key, value in serialise(self).items() if value is not None or key != "decision"}

    @property
    def digest(self) -> str:
        """SHA-256 over everything that decides a number."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    def select(self, names: Iterable[str]) -> Suite:
        """Return the suite with these models only, in the suite's own order.

        Raises
        ------
        UserError
            If a name is unknown.
        """
        wanted = list(names)
        for name in wanted:
            if name not in self.models:
                raise UserError(
                    f"model {name!r} is not in the suite {self.name!r}{did_you_mean(name, self.models)}; see: bench list models"
                )
        return self.model_copy(update={"models": {k: v for k, v in self.models.items() if k in wanted}})


def suite_names() -> list[str]:
    """Return the suites that come with the package."""
    return sorted(f.name.removesuffix(".toml") for f in _SUITES.iterdir() if f.name.endswith(".toml"))


def load_suite(name: str, changes: Mapping[str, Any] | None = None) -> Suite:
    """Read a suite by name or from a file, with dotted keys changed.

    Parameters
    ----------
    name : str
        A suite of the package, or a path that ends in ``.toml``.
    changes : mapping, optional
        Values by dotted key, such as ``{"models.hog-svm.head.C": [1, 10]}``.

    Raises
    ------
    UserError
        If there is no such suite, it is not TOML, or a key is unknown or of the wrong kind.
    """
    raw = _read(name)
    for key, value in (changes or {}).items():
        _change(raw, key, value, name)
    try:
        return Suite.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"suite {name!r}: {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    """Return what is wrong with the first wrong key, and the way out."""
    found = error.errors()
    first = next(
        (each for each in found if each["type"] == "extra_forbidden"), found[0]
    )  # a key misspelt is missing too
    *above, last = [str(k) for k in first["loc"] if k != "[key]"]
    place = ".".join([*above, last])
    match first["type"]:
        case "extra_forbidden":
            known = {*_keys(Suite), *_keys(ModelSpec), *_keys(Preprocessing), *_keys(CrossValidation)}
            return f"{place}: unknown key{did_you_mean(last, known)}"
        case "missing":
            return f"{place}: is missing"
        case "tuple_type":
            return f"{place}: give a list, in brackets: {last} = [...]"
        case "string_pattern_mismatch" if last == "class":
            return f"{place}: {first['input']!r} is not module:Class, such as baselines.hog:HOG"
        case "string_pattern_mismatch":
            return f"{place}: {first['input']!r} is not a valid name: use letters, digits, spaces and . + - only"
        case _:
            message = first["msg"].removeprefix("Value error, ")
            return f"{place}: {message[0].lower()}{message[1:]}"


def _keys(table: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in table.model_fields.items()}


def _read(name: str) -> dict[str, Any]:
    """Raw tables of a suite, merged into those of the suite that it extends."""
    path = Path(name) if name.endswith(".toml") else Path(str(_SUITES.joinpath(f"{name}.toml")))
    if not path.is_file():
        if name.endswith(".toml"):
            raise UserError(f"{name}: no such suite file")
        raise UserError(
            f"suite {name!r} is unknown{did_you_mean(name, suite_names())}; there are {', '.join(suite_names())}, or give a .toml file"
        )
    try:
        raw = read_toml(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a suite ({error})") from None
    raw.setdefault("name", path.stem)
    if vary := raw.pop("vary", None):
        try:
            raw["models"] = varied(raw.get("models", {}), vary)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"suite {name!r}: {error}") from None
    base = raw.pop("extends", None)
    return _merged(_read(base), raw) if base else raw


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables of `over` merged into those of `base`; a model is replaced as a whole."""
    models = {**base.get("models", {}), **over.get("models", {})}
    tables = {key: {**base.get(key, {}), **over.get(key, {})} for key in ("preprocessing", "cv")}
    return {**base, **over, **tables, "models": models}


def _change(raw: dict[str, Any], key: str, value: Any, name: str) -> None:
    """Put a value at a dotted key; only the last step may be new."""
    raw.setdefault("preprocessing", {})
    raw.setdefault("cv", {})
    *path, last = key.split(".")
    table: Any = raw
    for step in path:
        if isinstance(table, list) and step.isdigit() and int(step) < len(table):
            table = table[int(step)]
        elif isinstance(table, dict) and step in table:
            table = table[step]
        else:
            raise UserError(f"--set {key}: {step!r} is not in the suite {name!r}{did_you_mean(step, table)}")
    _refuse_tuned(raw, key)
    table[last] = value


def _refuse_tuned(raw: dict[str, Any], key: str) -> None:
    """Refuse to change what a tuned model takes from its fold: the change would do nothing."""
    models, model, parameter = [*key.split(".", 2), "", ""][:3]
    tuned = raw["models"][model].get("tuned", {}) if models == "models" and model in raw.get("models", {}) else {}
    if any(parameter in values for values in tuned.get("folds", {}).values()):
        raise UserError(
            f"--set {key}: was tuned for each fold: change it in the suite file, below models.{model}.tuned"
        )


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE``; the value is read as TOML, or as text if it is not TOML.

    >>> parse_setting("models.hog-svm.head.C=[1, 10]")
    ('models.hog-svm.head.C', [1, 10])
    >>> parse_setting("preprocessing.denoise=median")
    ('preprocessing.denoise', 'median')
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: write KEY=VALUE, such as preprocessing.denoise=median")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def with_epochs(suite: Suite, epochs: int) -> Suite:
    """Return the suite with `epochs` in every head that states its epochs."""
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: give 1 or more")

    def changed(spec: ModelSpec) -> ModelSpec:
        if "epochs" not in spec.head.parameters:
            return spec
        return spec.model_copy(update={"head": spec.head.changed(epochs=epochs)})

    return suite.model_copy(update={"models": {name: changed(spec) for name, spec in suite.models.items()}})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'`` or nothing."""
    close = difflib.get_close_matches(word, [k for k in known if isinstance(k, str)], n=1)
    return f"; did you mean {close[0]!r}" if close else ""
