"""Results of the studies: the tuned suite, the stability of its values over the folds, and whether the comparison was fair."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from bench.recipes.build import family
from bench.recipes.search import Tuned
from bench.recipes.suite import ModelSpec, Suite
from bench.terminal.tables import plain_table
from bench.tuning.study import SCORE, Budget, FoldStudy, mean
from reports.runs.format import fold_name

Studies = Mapping[str, Sequence[FoldStudy]]  # by model, in the order of the folds
OWN = "suite"  # marks the suite's own value, where nothing was better


def tuned_suite(suite: Suite, studies: Studies, facts: Mapping[str, Any]) -> Suite:
    """Return the suite with the values chosen for each fold; models that were not tuned are unchanged.

    Parameters
    ----------
    suite : Suite
    studies : mapping of str to sequence of FoldStudy
    facts : mapping
        The other fields of `bench.recipes.search.Tuned`: splits, data, seed, trials or seconds.

    Returns
    -------
    Suite
    """
    models = dict(suite.models)
    for name, each in studies.items():
        folds = {_place(study): study.best.values if study.best else {} for study in each}
        tuned = Tuned(score=SCORE, folds=folds, **facts)
        models[name] = models[name].model_copy(update={"tuned": tuned})
    return suite.model_copy(update={"name": f"{suite.name}-tuned", "models": models})


def stability(suite: Suite, studies: Studies) -> pd.DataFrame:
    """One row per model and parameter: the value of each fold, their agreement, and the gain on the validation part."""
    return pd.DataFrame([_row(name, key, each) for name, each in studies.items() for key in suite.models[name].search])


def trials_table(studies: Studies) -> pd.DataFrame:
    """One row per trial, in the order in which they were made."""
    rows = [
        {
            "model": name,
            "repeat": study.cell.repeat,
            "fold": study.cell.fold,
            "trial": k,
            "status": trial.status,
            "score": trial.score,
            "seconds": trial.seconds,
            "values": json.dumps(trial.values),
            "reason": trial.reason,
        }
        for name, each in studies.items()
        for study in each
        for k, trial in enumerate(study.trials)
    ]
    return pd.DataFrame(rows)


def overview(suite: Suite, studies: Studies) -> Table:
    """Table for the terminal: cost and gain, means over the folds."""
    table = plain_table(f"{SCORE} on the validation part, mean over the folds")
    for column in ("model", "family"):
        table.add_column(column)
    for column in ("trials", "pruned", "failed", "seconds", "baseline", "tuned", "gain"):
        table.add_column(column, justify="right")
    table.add_column("stability over the folds")
    for name, spec in suite.models.items():
        cells = _spent(studies[name]) + _gained(studies[name]) if name in studies else ["–"] * 7
        words = ", ".join(_stability_texts(spec, studies[name])) if name in studies else "not tuned"
        table.add_row(Text(name), family(spec), *cells, Text(words))
    return table


def fairness(suite: Suite, studies: Studies, skipped: Mapping[str, str], budget: Budget) -> str:
    """State whether all models got the same budget, and what differed."""
    counts = [len(study.trials) for each in studies.values() for study in each]
    lines = [f"No model was tuned on a budget of {budget} per fold."]
    if counts:
        spent = "" if budget.seconds is None else f" of fitting and predicting ({_span(counts)} trials)"
        lines = [
            f"Every tuned model got the same budget in each fold, {budget}{spent}, the first with the suite's own parameters, "
            "and was scored on the validation part alone."
        ]
    without = [name for name, spec in suite.models.items() if not spec.search]
    if without:
        lines.append(f"Not tuned, without a search space: {', '.join(without)}.")
    lines += [f"Not tuned: {name}: {reason}." for name, reason in skipped.items()]
    failed = {name: sum(study.count("failed") for study in each) for name, each in studies.items()}
    if any(failed.values()):
        named = ", ".join(f"{name} {count}" for name, count in failed.items() if count)
        lines.append(f"Failed trials count as spent: {named}; trials.csv says why.")
    return " ".join(lines)


def _row(name: str, key: str, studies: Sequence[FoldStudy]) -> dict[str, Any]:
    values = _chosen(key, studies)
    numbers = [value for value in values.values() if _is_number(value)]
    best, baseline = (mean(scores) for scores in zip(*_scores(studies), strict=True))
    return {
        "model": name,
        "parameter": key,
        "n_folds": len(values),
        "n_agree": _agreeing(values),
        "n_own": sum(value == OWN for value in values.values()),
        "mean": mean(numbers),
        "sd": _sd(numbers),
        "cv": _variation(numbers),
        "baseline": baseline,
        "tuned": best,
        "gain": best - baseline,
        **{place: value if _is_number(value) or value == OWN else json.dumps(value) for place, value in values.items()},
    }


def _chosen(key: str, studies: Sequence[FoldStudy]) -> dict[str, Any]:
    """Value of a parameter in each fold; a list of one is unpacked."""
    found = {_place(study): study.best.values.get(key, OWN) if study.best else OWN for study in studies}
    return {place: v[0] if isinstance(v, list) and len(v) == 1 else v for place, v in found.items()}


def _scores(studies: Sequence[FoldStudy]) -> list[tuple[float, float]]:
    """Best score and that of the suite's own parameters, fold by fold."""
    return [(study.best.score if study.best else float("nan"), study.baseline) for study in studies]


def _agreeing(values: Mapping[str, Any]) -> int:
    """Return the number of folds that chose the most frequent value."""
    return max(Counter(json.dumps(value) for value in values.values()).values())


def _variation(numbers: Sequence[float]) -> float:
    """Coefficient of variation: standard deviation over mean."""
    centre = mean(numbers)
    return _sd(numbers) / abs(centre) if centre else float("nan")


def _sd(numbers: Sequence[float]) -> float:
    return float(np.std(numbers, ddof=1)) if len(numbers) > 1 else float("nan")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _place(study: FoldStudy) -> str:
    return fold_name(study.cell.repeat, study.cell.fold)


def _spent(studies: Sequence[FoldStudy]) -> list[str]:
    trials = [len(study.trials) for study in studies]
    seconds = sum(trial.seconds for study in studies for trial in study.trials)
    counted = [str(sum(study.count(status) for study in studies)) for status in ("pruned", "failed")]
    return [f"{_span(trials)} × {len(studies)}", *counted, f"{seconds:.1f}"]


def _gained(studies: Sequence[FoldStudy]) -> list[str]:
    best, baseline = (mean(scores) for scores in zip(*_scores(studies), strict=True))
    return [f"{baseline:.3f}", f"{best:.3f}", f"{best - baseline:+.3f}"]


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"


def _stability_texts(spec: ModelSpec, studies: Sequence[FoldStudy]) -> Iterator[str]:
    """Such as ``C ±42 %`` for numbers on a scale, ``max_depth 3 of 5 folds`` that agree for others."""
    for key, dimension in spec.search.items():
        values = _chosen(key, studies)
        variation = _variation([value for value in values.values() if _is_number(value)])
        name = key.removeprefix("head.")
        scale = not dimension.choices and not dimension.whole and np.isfinite(variation)
        agreeing = f"{name} {_agreeing(values)} of {len(values)} folds"
        yield f"{name} ±{variation:.0%}".replace("%", " %") if scale else agreeing
    own = sum(study.best is None or not study.best.values for study in studies)
    if own:
        yield f"the suite's own in {own} of {len(studies)} folds"
