"""Effects of variants on each model and each family."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from reports.comparison.pairwise import TestSettings
from reports.comparison.significance import FloatArray, bayesian_t_test, corrected_t_test, holm
from reports.runs.results import ResultsError
from reports.studies.runs import BASE, StudyResults, StudyRun

Pairs = list[tuple[StudyRun, StudyRun]]  # base and changed, with the same seed

EFFECT_COLUMNS = [
    *("data", "suite", "variant", "model", "family", "base", "changed", "difference", "ci_low", "ci_high"),
    *("n_cells", "n_seeds", "n_test_over_n_train", "p", "p_holm", "p_worse", "p_equal", "p_better"),
]


def effects_table(study: StudyResults, settings: TestSettings) -> pd.DataFrame:
    """Measure the effect of each variant on each model: changed minus base on the same folds, the mean over the seeds that both have.

    The corrected resampled t-test over the folds, with Holm's adjustment over all rows: seeds share their folds and are not independent.

    Returns
    -------
    DataFrame
        `EFFECT_COLUMNS`, one row per data set, suite, variant and model.
    """
    rows = []
    for data, suite, variant, pairs in _pairs(study):
        for model in _shared_models(pairs):
            difference, base = _differences(pairs, model, study.metric)
            ratio = float(np.mean([run.ratio(model) for run, _ in pairs]))
            where = {"data": data, "suite": suite, "variant": variant, "model": model}
            where["family"] = pairs[0][0].results.models[model]["family"]
            folds = pairs[0][0].results.run["splits"]["folds"]
            rows.append(where | _tested(difference, base, ratio, folds, len(pairs), settings))
    return _adjusted(pd.DataFrame(rows, columns=[c for c in EFFECT_COLUMNS if c != "p_holm"]))[EFFECT_COLUMNS]


FAMILY_COLUMNS = [
    *("data", "suite", "variant", "classical", "deep", "difference", "ci_low", "ci_high", "n_cells"),
    *("n_classical", "n_deep", "p", "p_holm"),
]


def families_table(study: StudyResults, settings: TestSettings) -> pd.DataFrame:
    """Compare the effects on the families: the mean change of deep and of classical models, and their difference over the folds.

    Returns
    -------
    DataFrame
        `FAMILY_COLUMNS`; one row per data set, suite and variant that has models of both families.
    """
    rows = []
    for data, suite, variant, pairs in _pairs(study):
        changes: dict[str, list[FloatArray]] = {"classical": [], "deep": []}
        shared = _shared_models(pairs)
        for model in shared:
            family = pairs[0][0].results.models[model]["family"]
            if family in changes:
                changes[family].append(_differences(pairs, model, study.metric)[0])
        if not all(changes.values()):
            continue
        classical, deep = (np.mean(changes[family], axis=0) for family in ("classical", "deep"))
        ratio = float(np.mean([run.ratio(model) for run, _ in pairs for model in shared]))
        test = corrected_t_test(deep - classical, ratio, settings.alpha)
        rows.append(
            {
                "data": data,
                "suite": suite,
                "variant": variant,
                "classical": classical.mean(),
                "deep": deep.mean(),
                "difference": test.mean,
                "ci_low": test.low,
                "ci_high": test.high,
                "n_cells": test.n,
                "n_classical": len(changes["classical"]),
                "n_deep": len(changes["deep"]),
                "p": test.p,
            }
        )
    return _adjusted(pd.DataFrame(rows, columns=[c for c in FAMILY_COLUMNS if c != "p_holm"]))[FAMILY_COLUMNS]


def summarise_effects(effects: pd.DataFrame, families: pd.DataFrame, settings: TestSettings) -> list[str]:
    """State which variants have a significant effect, and whether it differs between the families."""
    clear = effects["p_holm"] < settings.alpha
    how = f"corrected t-test, Holm over {len(effects)} comparisons, alpha {settings.alpha:g}"
    lines = [] if clear.any() else [f"No variant changes a model's score significantly ({how})."]
    variants = sorted(effects["variant"].unique(), key=lambda name: not clear[effects["variant"] == name].any())
    lines += [_summarise_variant(variant, effects, clear, how, settings) for variant in variants]
    rows: list[Any] = list(families.itertuples())
    for row in rows:
        more = "deep" if row.difference > 0 else "classical"
        sure = (
            f"has a larger effect on {more} models"
            if row.p_holm < settings.alpha
            else "does not differ significantly between the families"
        )
        lines.append(
            f"{row.data}{_of(row, families)}: {row.variant} {sure}: classical {row.classical:+.3f}, deep {row.deep:+.3f} (difference {row.difference:+.3f}, "
            f"{1 - settings.alpha:.0%} interval {row.ci_low:+.3f} to {row.ci_high:+.3f})."
        )
    return lines


def _summarise_variant(variant: str, effects: pd.DataFrame, clear: pd.Series, how: str, settings: TestSettings) -> str:
    """State which models a variant improves and worsens; else the largest changes, and where a change is unlikely."""
    rows = effects[effects["variant"] == variant]
    found = rows[clear[rows.index]]
    parts = [
        f"{word} {', '.join(_named(row, effects) for row in signed.itertuples())}"
        for word, signed in (("improves", found[found["difference"] > 0]), ("worsens", found[found["difference"] < 0]))
        if len(signed)
    ]
    text = f"{' and '.join(parts)} ({how})" if parts else "no significant change"
    seen = [
        _named(rows.iloc[pick], effects)
        for pick in dict.fromkeys((int(rows["difference"].argmin()), int(rows["difference"].argmax())))
    ]
    text += f"; observed changes: {' to '.join(seen)}" if not parts else ""
    same = rows[rows["p_equal"] >= 1 - settings.alpha]
    if len(same):
        names = ", ".join(f"{row.model}{_of(row, effects)}{_on(row, effects)}" for row in same.itertuples())
        text += (
            f"; a change within ±{settings.rope:g} has a probability of {1 - settings.alpha:.0%} or more for {names}"
        )
    return f"{variant}: {text}."


def _named(row: Any, effects: pd.DataFrame) -> str:
    return f"{row.model}{_of(row, effects)}{_on(row, effects)} ({row.difference:+.3f})"


def _of(row: Any, table: pd.DataFrame) -> str:
    """Name the suite of a row where there are several."""
    return f" of {row.suite}" if table["suite"].nunique() > 1 else ""


def _on(row: Any, table: pd.DataFrame) -> str:
    """Name the data set of a row where there are several."""
    return f" on {row.data}" if table["data"].nunique() > 1 else ""


def _pairs(study: StudyResults) -> Iterator[tuple[str, str, str, Pairs]]:
    """Give data set, suite, variant, and its runs beside those of the base."""
    for data, suite, runs in study.groups():
        base = {run.seed: run for run in runs if run.variant == BASE}
        for variant in dict.fromkeys(run.variant for run in runs if run.variant != BASE):
            pairs = [(base[run.seed], run) for run in runs if run.variant == variant and run.seed in base]
            digests = {run.results.run["splits"]["digest"] for pair in pairs for run in pair}
            if len(digests) > 1:
                raise ResultsError(
                    f"{data}, {variant}: was not computed on the folds of the base: remove its run folder"
                )
            if pairs:
                yield data, suite, variant, pairs


def _shared_models(pairs: Pairs) -> list[str]:
    """Models that all runs have finished, that the variant touches, without dummies, which would only enlarge Holm's adjustment."""
    base = pairs[0][0]
    learn = [
        model
        for model in base.models
        if base.results.models[model]["family"] != "dummy" and _is_changed(model, *pairs[0])
    ]
    return [model for model in learn if all(model in run.models for pair in pairs for run in pair)]


def _is_changed(model: str, base: StudyRun, changed: StudyRun) -> bool:
    """Whether a variant touches a model: a variant of one model's parameters leaves the others as they are."""
    suites = (base.results.run["suite"], changed.results.run["suite"])
    if suites[0]["preprocessing"] != suites[1]["preprocessing"]:
        return True
    return base.results.models[model] != changed.results.models.get(model)


def _differences(pairs: Pairs, model: str, metric: str) -> tuple[FloatArray, FloatArray]:
    """Return changed minus base in each cell, and the base, both the mean over seeds, (n_cells,)."""
    base, changed = (np.mean([pair[k].folds(model, metric).to_numpy(float) for pair in pairs], axis=0) for k in (0, 1))
    return changed - base, base


def _tested(
    difference: FloatArray, base: FloatArray, ratio: float, folds: int, n_seeds: int, settings: TestSettings
) -> dict[str, Any]:
    test = corrected_t_test(difference, ratio, settings.alpha)
    worse, equal, better = bayesian_t_test(difference, 1 / folds, settings.rope)
    return {
        "base": base.mean(),
        "changed": (base + difference).mean(),
        "difference": test.mean,
        "ci_low": test.low,
        "ci_high": test.high,
        "n_cells": test.n,
        "n_seeds": n_seeds,
        "n_test_over_n_train": ratio,
        "p": test.p,
        "p_worse": worse,
        "p_equal": equal,
        "p_better": better,
    }


def _adjusted(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(p_holm=holm(table["p"].to_numpy(float)) if len(table) else pd.Series(dtype=float))
