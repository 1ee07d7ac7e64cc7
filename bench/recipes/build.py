"""From a model's table in a suite to its objects, and the one way to fit and predict them all."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.errors import UserError
from bench.recipes.suite import ModelSpec, Part, Suite, did_you_mean

_OWN = {"baselines": "classical", "deep": "deep"}  # rooms of the project, and what their classes are


class Encoder(Protocol):
    """Describes images; learns nothing, so it is done once for all folds."""

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Describe images (n, h, w) uint8 as (n, d) float32."""
        ...


class Head(Protocol):
    """Learns from the training part, tunes and stops on the validation part."""

    def fit(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray, seed: int) -> Any:
        """Learn; y is (n, n_classes) of 0 and 1."""
        ...

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities, (n, n_classes) float64, on the host."""
        ...


class NotInstalledError(RuntimeError):
    """A model whose packages are not installed; its cells are skipped with this reason."""


@dataclass(frozen=True)
class Resources:
    """What the hub knows and a suite does not. A class gets those that its constructor names."""

    task: str = "multilabel"
    device: str = "auto"
    weights_dir: Path | None = None
    offline: bool = False
    threads: int = 0
    on_epoch: Callable[[dict[str, float]], None] | None = None


def build(part: Part, resources: Resources, where: str) -> Any:
    """Make an encoder or a head.

    Raises
    ------
    UserError
        If the class is not there or has no such parameter; the message begins with `where`, the key in the suite.
    NotInstalledError
        If a package that it needs is not installed.
    """
    kind = _resolve(part, where)
    known = inspect.signature(kind).parameters
    given = {name: value for name, value in vars(resources).items() if name in known}
    for name in part.parameters:
        if name not in known or name in given:
            free = [k for k in known if k not in given]
            raise UserError(
                f"{where}: {kind.__name__} has no parameter {name!r}{did_you_mean(name, free)}; it has {', '.join(free) or 'none'}"
            )
    try:
        return kind(**part.parameters, **given)
    except TypeError as error:
        raise UserError(f"{where}: {kind.__name__}: {error}") from None


def _resolve(part: Part, where: str) -> type:
    try:
        return pkgutil.resolve_name(part.class_)
    except ModuleNotFoundError as error:
        room = part.class_.split(".")[0].split(":")[0]
        if error.name and error.name.split(".")[0] == room:
            raise UserError(
                f"{where}: there is no module for class {part.class_!r}: put it beside the suite file, or install it"
            ) from None
        raise NotInstalledError(f"the package {error.name} is not installed{install_hint(part.class_)}") from None
    except AttributeError:
        raise UserError(f"{where}: {part.class_.split(':')[0]} has no class {part.class_.split(':')[1]!r}") from None


def install_hint(class_: str) -> str:
    """Say how the packages of a class of the project are installed, as the end of a line; nothing for a class of a user's own."""
    extra = {"baselines": "classical", "deep": "deep"}.get(class_.partition(":")[0].partition(".")[0])
    return f": pip install 'xraybench[{extra}]'" if extra else ""


def family(spec: ModelSpec) -> str:
    """``classical``, ``deep``, ``fusion`` or ``dummy``: as the suite says, else by what looks at the image: the encoders if there are any.

    Raises
    ------
    UserError
        If the suite does not say and a class is not the project's own.
    """
    if spec.family is not None:
        return spec.family
    foreign = [part.class_ for part in (*spec.encoders, spec.head) if part.class_.split(".")[0] not in _OWN]
    if foreign:
        raise UserError(
            f'{foreign[0]} is not one of the project\'s own classes: say what the model counts as, with a line such as family = "deep" '
            "(or classical, fusion, dummy) in its table"
        )
    if not spec.encoders and spec.head.class_ == "baselines.prior:Prior":
        return "dummy"
    kinds = {_OWN[part.class_.split(".")[0]] for part in spec.encoders or (spec.head,)}
    return kinds.pop() if len(kinds) == 1 else "fusion"


def check_families(suite: Suite) -> None:
    """See that every model of a suite has a family.

    Raises
    ------
    UserError
        Naming the model's table.
    """
    for name, spec in suite.models.items():
        try:
            family(spec)
        except UserError as error:
            raise UserError(f"models.{name}: {error}") from None


def version(part: Part) -> int:
    """Return the VERSION of the module that holds a part, 0 where it states none."""
    return int(getattr(sys.modules.get(part.class_.split(":")[0]), "VERSION", 0))


def skip_reasons() -> tuple[type[Exception], ...]:
    """Errors that mean that a cell cannot be had here, as against one that failed. Torch is not imported for the question."""
    weights = sys.modules.get("deep.weights")
    return (NotInstalledError, weights.WeightsUnavailableError) if weights else (NotInstalledError,)


@dataclass(frozen=True)
class Rows:
    """Rows of an array that may be larger than memory, read when they are asked for; for a head that says ``rowwise = True``."""

    array: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array of these rows."""
        return (len(self.rows), *self.array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return self.array[self.rows[index]]


@dataclass(frozen=True)
class Inputs:
    """What a head gets: (n, d) features, (n_encodings, n, n_train) squared distances, or (n, h, w) pixels.

    `mirrored` holds the features of the mirror images, for a head that is trained on both.
    """

    values: np.ndarray | Rows
    mirrored: np.ndarray | None = None


def fit(head: Head, train: Inputs, y: np.ndarray, valid: Inputs, y_valid: np.ndarray, seed: int) -> None:
    """Fit a head, on the mirror images too where there are features of them."""
    X = train.values
    if train.mirrored is not None:
        X, y = np.concatenate([X, train.mirrored]), np.concatenate([y, y])
    head.fit(X, y, valid.values, y_valid, seed)


def predict(head: Head, inputs: Inputs) -> np.ndarray:
    """Probabilities (n, n_classes) float64, the mean over image and mirror image where there are features of both."""
    probability = head.predict_proba(inputs.values)
    if inputs.mirrored is None:
        return probability
    return (probability + head.predict_proba(inputs.mirrored)) / 2
