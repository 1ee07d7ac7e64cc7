"""Which models of a suite are not available on this machine, and why: found once per model, before anything is computed."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from bench.errors import UserError, one_line
from bench.recipes import contract
from bench.recipes.build import NotInstalledError, Resources, build, skip_reasons
from bench.recipes.plugins import ROOMS
from bench.recipes.suite import ModelSpec, Part, Suite

# What the rooms import besides the packages of every installation, and the extra that provides it.
_NEEDS = {
    "baselines.svm": ("classical", ("sklearn",)),
    "baselines.boosting": ("classical", ("xgboost",)),
    "deep": ("deep", ("torch", "torchvision")),
}


def without_packages(suite: Suite) -> dict[str, str]:
    """Models whose packages are not installed, with the reason; determined without loading anything."""
    return {name: reason for name, spec in suite.models.items() if (reason := _packages_missing(spec))}


def without_weights(suite: Suite, resources: Resources) -> dict[str, str]:
    """Models whose pretrained weights or other needs are not available, with the reason; downloads missing weights.

    Builds every part, so that a wrong parameter is found now.

    Raises
    ------
    UserError
        Naming the key in the suite.
    """
    failed: dict[str, Exception] = {}  # by request, so that an unreachable server is asked once
    missing = {}
    for name, spec in suite.models.items():
        reason = _cannot_be_had(name, spec, resources, failed)
        if reason is not None:
            missing[name] = one_line(reason)
    return missing


def grouped(reasons: dict[str, str]) -> dict[str, list[str]]:
    """Models by reason, so that a shared reason is reported once."""
    return {reason: [name for name, why in reasons.items() if why == reason] for reason in reasons.values()}


def _packages_missing(spec: ModelSpec) -> str | None:
    for part in (*spec.encoders, spec.head):
        module = part.class_.partition(":")[0]
        extra, packages = _NEEDS.get(module) or _NEEDS.get(module.split(".")[0]) or ("", ())
        absent = [name for name in packages if find_spec(name) is None]
        if absent:
            return f"{', '.join(absent)} not installed: pip install 'xraybench[{extra}]'"
    return None


def _cannot_be_had(name: str, spec: ModelSpec, resources: Resources, failed: dict[str, Exception]) -> Exception | None:
    """Return the first reason why a model is not available, after all its parts were built."""
    found = None
    places = [(f"models.{name}.encoders.{k}", part) for k, part in enumerate(spec.encoders)]
    for where, part in [*places, (f"models.{name}.head", spec.head)]:
        found = found or _part_missing(where, part, resources, failed)
    return found


def _part_missing(where: str, part: Part, resources: Resources, failed: dict[str, Exception]) -> Exception | None:
    asked = "|".join(str(part.parameters.get(key, "")) for key in ("backbone", "start", "weights"))
    try:
        built = build(part, resources, where)
        if asked in failed and "backbone" in part.parameters:
            return failed[asked]
        contract.fingerprint(built)
    except NotInstalledError as error:
        return error
    except skip_reasons() as error:
        failed[asked] = error
        return error
    except UserError:
        raise
    except ValueError as error:  # such as a backbone that no library knows, or a dictionary that is missing
        if part.class_.split(".")[0] in ROOMS:
            raise UserError(f"{where}: {error}") from None
    except Exception as error:  # noqa: BLE001 - of a user's own class: its cells will fail with it, and say so
        logging.getLogger(__name__).debug("%s: %s", where, error)
    return None
