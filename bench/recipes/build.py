"""From a model's table in a suite to its objects."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.recipes import contract
from bench.recipes.search import Dimension
from bench.recipes.suite import ModelSpec, Part, Suite, did_you_mean


class NotInstalledError(RuntimeError):
    """A model whose packages are not installed; its cells are skipped with this reason."""


@dataclass(frozen=True)
class Resources:
    """What the hub provides and a suite does not. A class gets those that its constructor names."""

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
        If the class is missing or has no such parameter; the message begins with `where`, the key in the suite.
    NotInstalledError
        If a package that it needs is not installed.
    """
    kind = resolve(part, where)
    known = inspect.signature(kind).parameters
    parameters = {contract.former_names(kind).get(name, name): value for name, value in part.parameters.items()}
    given = {name: value for name, value in vars(resources).items() if name in known}
    for name in parameters:
        if name not in known or name in given:
            free = [k for k in known if k not in given]
            raise UserError(
                f"{where}: {kind.__name__} has no parameter {name!r}{did_you_mean(name, free)}; it has {', '.join(free) or 'none'}"
            )
    try:
        return kind(**parameters, **given)
    except TypeError as error:
        raise UserError(f"{where}: {kind.__name__}: {error}") from None


def resolve(part: Part, where: str) -> type:
    """Return the class of an encoder or head, with errors as of `build`."""
    try:
        return pkgutil.resolve_name(part.class_)
    except ModuleNotFoundError as error:
        room = part.class_.split(".")[0].split(":")[0]
        if error.name and error.name.split(".")[0] == room:
            raise UserError(
                f"{where}: no module for class {part.class_!r}: put it beside the suite file, install it, or set PYTHONPATH to its folder"
            ) from None
        raise NotInstalledError(f"the package {error.name} is not installed{install_hint(part.class_)}") from None
    except AttributeError:
        raise UserError(f"{where}: {part.class_.split(':')[0]} has no class {part.class_.split(':')[1]!r}") from None


def install_hint(class_: str) -> str:
    """Return a hint on installing the packages of one of the project's classes, to end a line with; empty for a user's own class."""
    extra = {"baselines": "classical", "deep": "deep"}.get(class_.partition(":")[0].partition(".")[0])
    return f": pip install 'xraybench[{extra}]'" if extra else ""


def with_search_spaces(suite: Suite) -> Suite:
    """Return the suite with the search spaces that the classes of each model declare, unless its own `search` overrides them."""
    models = {name: spec.model_copy(update={"search": _search(name, spec)}) for name, spec in suite.models.items()}
    return suite.model_copy(update={"models": models})


def _search(name: str, spec: ModelSpec) -> dict[str, Dimension]:
    found: dict[str, Dimension] = {}
    places = [*((f"encoders.{k}", part) for k, part in enumerate(spec.encoders)), ("head", spec.head)]
    for where, part in places:
        try:
            space = contract.search_space(resolve(part, f"models.{name}.{where}"))
        except NotInstalledError:
            continue
        found |= {f"{where}.{key}": Dimension.model_validate(table) for key, table in space.items()}
    if "search" in spec.model_fields_set and not spec.search:  # an empty table: nothing to try
        return {}
    found |= spec.search
    return {key: dimension for key, dimension in found.items() if not dimension.left_out}


def family(spec: ModelSpec) -> str:
    """``classical``, ``deep``, ``fusion`` or ``dummy``: as the suite states, else as the encoders declare, or the head if there are none.

    Raises
    ------
    UserError
        If the suite does not state it and a class does not declare it.
    """
    if spec.family is not None:
        return spec.family
    declared = {part.class_: contract.declared_family(part.class_) for part in (*spec.encoders, spec.head)}
    for class_, found in declared.items():
        if found not in contract.FAMILIES:
            what = f"declares the family {found!r}" if found else "declares no family"
            raise UserError(
                f'{class_} {what}: state what the model counts as, with a line such as family = "deep" '
                "(or classical, fusion, dummy) in its table or in the class"
            )
    kinds = {str(declared[part.class_]) for part in spec.encoders or (spec.head,)}
    return kinds.pop() if len(kinds) == 1 else contract.FUSION


def check_families(suite: Suite) -> None:
    """Check that every model of a suite has a family.

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


def skip_reasons() -> tuple[type[Exception], ...]:
    """Errors that mean that a cell is skipped rather than failed. Does not import torch."""
    weights = sys.modules.get("deep.weights")
    return (NotInstalledError, weights.WeightsUnavailableError) if weights else (NotInstalledError,)
