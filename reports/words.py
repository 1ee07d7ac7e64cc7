"""The result in words: who wins, by how much, at what cost, and what a reader must be warned of."""

import math
from dataclasses import dataclass

import pandas as pd

from reports.costs import SPREAD_LIMIT
from reports.provenance import counted
from reports.results import Results
from reports.summary import Row, mean_sd, primary_metric, quantity
from reports.tables import rare_classes

ROLES = {"classical": "Best classical", "deep": "Best deep", "fusion": "Best fusion", "floor": "Floor"}
WORDS = {"f1_samples": "F1 per image", "accuracy": "accuracy"}
PHRASES = {"classical": "the best classical model", "deep": "the best deep model", "floor": "the floor"}


@dataclass(frozen=True)
class Contender:
    """The best model of a family: its score ("0.874 ± 0.010") and its cost, as text."""

    role: str
    family: str
    model: str
    score: str
    cost: str
    wins: bool


@dataclass(frozen=True)
class Headline:
    """The first screen of the report."""

    sentence: str
    details: tuple[str, ...]
    contenders: tuple[Contender, ...]


def headline(table: pd.DataFrame, results: Results) -> Headline:
    """Say who wins and by how much, from the summary table.

    Models with all their cells compete; where there are none, those with some.
    """
    metric = f"{primary_metric(results)}_mean"
    scored = table[table[metric].notna()]
    complete = scored[scored["status"] == "done"]
    ranking = (complete if len(complete) else scored).sort_values(metric, ascending=False, kind="stable")
    field = ranking.to_dict("records")
    if not field:
        return Headline("No model has a result yet", ("Run the same `bench run` again to go on.",), ())
    best = field[0]
    of_family = {row["family"]: row for row in reversed(field)}
    contenders = tuple(
        _contender(of_family[family], results, wins=of_family[family] is best)
        for family in ROLES
        if family in of_family
    )
    return Headline(_verdict(best, of_family, metric, results), tuple(_details(best, of_family, results)), contenders)


def remarks(table: pd.DataFrame, results: Results) -> list[str]:
    """List what a reader must know before using the numbers: open cells, unsteady timings, rare classes."""
    lines = []
    unfinished = table[table["status"] != "done"]
    if len(unfinished):
        names = ", ".join(unfinished["model"])
        lines.append(f"{counted(len(unfinished), 'model')} of {len(table)} without all cells: {names}.")
    unsteady = table[table["predict_spread"] > SPREAD_LIMIT]
    if len(unsteady):
        named = ", ".join(
            f"{model} ({spread:.0%})"
            for model, spread in zip(unsteady["model"], unsteady["predict_spread"], strict=True)
        )
        lines.append(f"Prediction times spread by more than {SPREAD_LIMIT:.0%} (sd over mean of the samples): {named}.")
    noun, folds = results.data.get("group_noun") or "group", results.run["splits"]["folds"]
    lines += [
        f"{row['class']} has {counted(row['n_groups'], noun)} for {counted(folds, 'fold')}: "
        f"it occurs in the test part of {counted(row['n_folds_with_test'], 'cell')} per model."
        for row in rare_classes(results).to_dict("records")
    ]
    return lines


def _contender(row: Row, results: Results, *, wins: bool) -> Contender:
    fit, predict = row["fit_seconds_mean"], row["predict_ms_per_image"]
    encode = 0.0 if math.isnan(row["encode_ms_per_image"]) else row["encode_ms_per_image"]
    score = mean_sd(row, primary_metric(results))
    cost = f"fit {quantity(fit)} s per fold, encode + predict {quantity(encode + predict)} ms per image"
    return Contender(ROLES[row["family"]], row["family"], row["model"], score, cost, wins)


def _verdict(best: Row, of_family: dict[str, Row], metric: str, results: Results) -> str:
    name = WORDS[primary_metric(results)]
    classical, deep = of_family.get("classical"), of_family.get("deep")
    if classical is None or deep is None:
        return f"{best['model']} is ahead: {name} {best[metric]:.3f}"
    difference = deep[metric] - classical[metric]
    if abs(difference) < 0.0005:
        return f"Deep and classical are level: {name} {deep[metric]:.3f}"
    ahead, behind = ("Deep", "classical") if difference > 0 else ("Classical", "deep")
    return f"{ahead} is ahead of {behind} by {abs(difference):.3f} in {name}"


def _details(best: Row, of_family: dict[str, Row], results: Results) -> list[str]:
    metric = primary_metric(results)
    name = WORDS[metric]
    lines = [f"Best is {best['model']} ({best['family']}): {name} {mean_sd(best, metric)}, {best['cells']} cells done."]
    for family, phrase in PHRASES.items():
        other = of_family.get(family)
        if other is not None and other is not best:
            gap = best[f"{metric}_mean"] - other[f"{metric}_mean"]
            lines.append(f"It is {gap:.3f} above {phrase}, {other['model']} ({mean_sd(other, metric)}).")
    lines.append(
        "Mean ± standard deviation over the folds. No significance test is made here: "
        "the folds share training images, so the deviation understates the uncertainty of a difference."
    )
    return lines
