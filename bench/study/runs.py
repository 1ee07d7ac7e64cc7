"""A study as a list of runs, each with a suite of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.recipes.build import check_families
from bench.recipes.suite import ModelSpec, Suite, load_suite
from bench.study.plan import BASE, DataSet, Study


@dataclass(frozen=True)
class Planned:
    """One run of a study.

    Attributes
    ----------
    name : str
        Of its folder below the study's ``runs``.
    data : tuple of DataSet
        What it is trained on; several data sets stand beside each other as one.
    splits_of : str or None
        The run whose splits it takes, so that it can be compared with that fold by fold; None where it makes its own.
    test : DataSet or None
        A data set that all its models are tested on once more.
    """

    name: str
    data: tuple[DataSet, ...]
    suite: Suite
    variant: str
    seed: int
    splits_of: str | None = None
    test: DataSet | None = None

    def facts(self) -> dict[str, Any]:
        """Return the facts that the report needs."""
        return {
            "name": self.name,
            "data": [each.name for each in self.data],
            "suite": self.suite.name,
            "variant": self.variant,
            "seed": self.seed,
            "test": self.test.name if self.test else None,
            "source": self._source(),
        }

    def _source(self) -> str:
        """Digest of the location of the data, which does not reveal it."""
        paths = [str(Path(each.path).resolve()) for each in (*self.data, *([self.test] if self.test else []))]
        return hashlib.sha256("\n".join(paths).encode()).hexdigest()[:16]


def expand(study: Study, folder: Path) -> list[Planned]:
    """List the runs of a study in the order of computation.

    Parameters
    ----------
    study : Study
    folder : Path
        Folder of the study file, where suites are searched.

    Returns
    -------
    list of Planned

    Raises
    ------
    UserError
        If a model or a key of a variant is not in any of the suites, or a model of the runs has no family.
    """
    suites = {name: _suites(study, name, folder) for name in study.suites}
    known = {model for variants in suites.values() for model in variants[BASE].models}
    for model in study.models:
        if model not in known:
            raise UserError(
                f"models: {model!r} is not in any of the suites {', '.join(study.suites)}: bench list models"
            )
    for variant, changes in study.variants.items():
        for model in filter(None, map(_model_of, changes)):
            if model not in known:
                raise UserError(
                    f"variants.{variant}: model {model!r} is not in any of the suites {', '.join(study.suites)}"
                )
    runs = [run for data in study.data for name in study.suites for run in _runs(study, data, suites[name])]
    for run in runs:
        check_families(run.suite)
    if study.leave_one_out:
        runs += [_left_out(study, data, suites[name][BASE]) for data in study.data for name in study.suites]
    names = Counter(run.name for run in runs)
    twice = next((name for name, n in names.items() if n > 1), None)
    if twice:
        raise UserError(f"two runs would be named {twice!r}: rename data sets, suites or variants")
    return runs


def share_name(model: str, share: float) -> str:
    """Name of a model on a share of the training patients.

    >>> share_name("hog-svm", 0.125), share_name("hog-svm", 1)
    ('hog-svm-12.5', 'hog-svm')
    """
    return model if share == 1 else f"{model}-{100 * share:g}"


def _suites(study: Study, name: str, folder: Path) -> dict[str, Suite]:
    """Return the suite of each variant, base first; without variants that only change models which this suite does not have."""
    path = str(suite_file(name, folder) or name)
    models = load_suite(path, {}).models
    found = {}
    for variant, changes in {BASE: {}, **study.variants}.items():
        here = {key: value for key, value in changes.items() if _model_of(key) in (None, *models)}
        if changes and not here:
            continue
        suite = load_suite(path, here)
        cv = {key: value for key in ("folds", "repeats") if (value := getattr(study, key)) is not None}
        suite = suite.model_copy(update={"cv": suite.cv.model_copy(update=cv)})
        wanted = [model for model in study.models if model in suite.models]
        found[variant] = suite.select(wanted) if wanted else suite
    return found


def suite_file(name: str, folder: Path) -> Path | None:
    """File of a suite below the study's folder, or None."""
    there = folder / name
    return there if name.endswith(".toml") and there.exists() else None


def _model_of(key: str) -> str | None:
    """Return the model that a key of a variant changes, if it changes only one."""
    first, _, rest = key.partition(".")
    return rest.split(".")[0] if first == "models" else None


def _stem(study: Study, data: str, suite: Suite) -> str:
    return data if len(study.suites) == 1 else f"{data}-{suite.name}"


def _runs(study: Study, data: DataSet, suites: Mapping[str, Suite]) -> Iterator[Planned]:
    stem = _stem(study, data.name, suites[BASE])
    for variant, suite in suites.items():
        for seed in study.seeds:
            first = variant == BASE and seed == study.seeds[0]
            changed = [variant] if variant != BASE else []
            changed += [f"seed{seed}"] if seed != study.seeds[0] else []
            grown = suite
            if first and study.learning_curve:
                grown = suite.model_copy(update={"models": _shares(suite.models, study.learning_curve.steps)})
            yield Planned("-".join([stem, *changed]), (data,), grown, variant, seed, None if first else stem)


def _left_out(study: Study, data: DataSet, suite: Suite) -> Planned:
    """Train on all data sets but one, and test on that."""
    others = tuple(each for each in study.data if each is not data)
    return Planned(
        _stem(study, f"without-{data.name}", suite), others, suite, BASE, study.seeds[0], splits_of=None, test=data
    )


def _shares(models: Mapping[str, ModelSpec], shares: tuple[float, ...]) -> dict[str, ModelSpec]:
    """Every model on every share, small ones first."""
    partial = next((name for name, spec in models.items() if spec.train_share < 1), None)
    if partial:
        raise UserError(f"learning_curve: {partial} has a train_share of its own in the suite: name other models")
    return {
        share_name(name, share): spec.model_copy(update={"train_share": share})
        for name, spec in models.items()
        for share in shares
    }
