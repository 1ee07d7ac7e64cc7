"""The headline of a report: which model wins, by how much, at what cost, and what limits the result."""

import math
from dataclasses import dataclass

import pandas as pd

from reports.comparison.fixed_test import has_one_test_set, with_mcnemar
from reports.comparison.pairwise import TestSettings, against
from reports.runs.costs import SPREAD_LIMIT, done_cells
from reports.runs.provenance import counted
from reports.runs.results import Results
from reports.runs.rows import rows_of
from reports.runs.tuning import summarise_tuning
from reports.scores.evaluation import Evaluation
from reports.scores.naming import quantity
from reports.scores.ranking import COMPARED, competing, primary_metric
from reports.tables.balance import rare_classes
from reports.tables.summary import Row, as_fraction, mean_sd

ROLES = {"classical": "Best classical", "deep": "Best deep", "fusion": "Best fusion", "dummy": "Dummy"}
WORDS = {"f1_samples": "F1 per image", "accuracy": "accuracy"}
EQUAL = (
    0.95  # probability of a difference within the region of practical equivalence from which models are called equal
)


@dataclass(frozen=True)
class Contender:
    """The best model of a family: its score ("0.874 ± 0.010") and its cost, as text; or why a family that was planned has none."""

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


def headline(evaluation: Evaluation, tables: dict[str, pd.DataFrame], settings: TestSettings) -> Headline:
    """Compare the best models of the families, from the summary and the comparisons of `reports.tables.run_tables.all_tables`.

    Which models compete and which is the best is decided by `reports.scores.ranking`.
    """
    results, table, pairs = evaluation.results, tables["summary"], tables["pairwise"]
    if "mcnemar" in tables:
        pairs = with_mcnemar(pairs, tables["mcnemar"], primary_metric(results))
    metric = f"{primary_metric(results)}_mean"
    rows = {row["model"]: row for row in rows_of(table)}
    field = [rows[model] for model in competing(evaluation)]
    if not field:
        return Headline(
            "No model has a result yet", ("Run the same `bench run` command again to resume.", *_open(table)), ()
        )
    best = field[0]
    of_family = {row["family"]: row for row in reversed(field)}
    absent = [family for family in ROLES if family in set(table["family"]) - set(of_family)]
    unanswered = [family for family in COMPARED if family in absent]
    contenders = tuple(
        _contender(of_family[family], results, wins=of_family[family] is best and not unanswered)
        if family in of_family
        else _none_ran(family, table)
        for family in ROLES
        if family in of_family or family in absent
    )
    if unanswered:
        sentence = f"Not answered: no {' or '.join(unanswered)} model ran"
    else:
        sentence = _verdict(best, of_family, metric, pairs, results, settings)
    reasons = _open(table[table["family"].isin(absent)])
    return Headline(sentence, (*reasons, *_details(best, pairs, results, settings)), contenders)


def open_models(table: pd.DataFrame) -> list[str]:
    """Explain for each model of the summary that lacks cells why; models with the same reason share a line."""
    unfinished = table[table["status"] != "done"]
    return [
        f"{status}: {', '.join(rows['model'])}: {reason}"
        for (status, reason), rows in unfinished.groupby(["status", "reason"], sort=False)
    ]


def remarks(table: pd.DataFrame, results: Results) -> list[str]:
    """List what a reader must know before using the numbers: missing cells, unsteady timings, rare classes."""
    lines = []
    unfinished = table[table["status"] != "done"]
    if len(unfinished):
        names = ", ".join(unfinished["model"])
        lines.append(f"{len(unfinished)} of {counted(len(table), 'model')} without all folds: {names}.")
    unsteady = table[table["predict_spread"] > SPREAD_LIMIT]
    if len(unsteady):
        named = ", ".join(
            f"{model} ({spread:.0%})"
            for model, spread in zip(unsteady["model"], unsteady["predict_spread"], strict=True)
        )
        lines.append(
            f"Prediction times vary by more than {SPREAD_LIMIT:.0%} (standard deviation over mean of the samples): {named}."
        )
    lines += [tuning] if (tuning := summarise_tuning(results)) else []
    lines += _shared_fits(results) + _approximations(results) + _kept_starts(table, results)
    noun, folds = results.data.get("group_noun") or "group", results.run["splits"]["folds"]
    lines += [
        f"{row['class']} has {counted(row['n_groups'], noun)} for {counted(folds, 'fold')}: "
        f"it occurs in the test part of {counted(row['n_folds_with_test'], 'fold')}."
        for row in rows_of(rare_classes(results))
    ]
    return lines


def _shared_fits(results: Results) -> list[str]:
    """Name the models whose fit times were taken while other cells were fitted."""
    jobs = {cell["model"]: cell["timings"].get("jobs", 1) for cell in done_cells(results)}
    shared = [model for model, number in jobs.items() if number > 1]
    if not shared:
        return []
    return [
        f"Fitted in parallel, {max(jobs.values())} cells at a time, so that fit times include the load of the others "
        f"(predictions were timed alone): {', '.join(shared)}."
    ]


def _kept_starts(table: pd.DataFrame, results: Results) -> list[str]:
    """Name fine-tuned networks that kept their starting weights, or that score below the same backbone frozen."""
    metric = f"{primary_metric(results)}_mean"
    scores = table.set_index("model")[metric]
    lines = []
    for model in dict.fromkeys(cell["model"] for cell in done_cells(results) if "epochs" in (cell["chosen"] or {})):
        kept = [cell["chosen"]["epochs"] for cell in done_cells(results) if cell["model"] == model]
        starts = sum(epochs == 0 for epochs in kept)
        if starts:
            lines.append(
                f"{model}: in {starts} of {counted(len(kept), 'fold')} no epoch had a lower validation loss than the linear probe that training "
                "starts from; the probe was kept."
            )
        frozen = _frozen_rows(model, results)
        better = [name for name in frozen if scores.get(name, -math.inf) > scores[model]]
        if better:
            named = ", ".join(f"{name} ({scores[name]:.3f})" for name in better)
            lines.append(f"{model} ({scores[model]:.3f}) scores below the same network with frozen weights: {named}.")
    return lines


def _frozen_rows(model: str, results: Results) -> list[str]:
    """Models of the same backbone alone that do not train it."""
    backbone = results.models[model]["head"].get("backbone")
    return [
        name
        for name, spec in results.models.items()
        if "backbone" not in spec["head"]
        and len(spec.get("encoders") or ()) == 1
        and spec["encoders"][0].get("backbone") == backbone is not None
        and spec.get("train_share", 1) == results.models[model].get("train_share", 1)
    ]


def _approximations(results: Results) -> list[str]:
    """Name the models that were not fitted exactly, because the data set is large."""
    kinds = {
        "landmarks": "Kernel machines approximated by Nyström's method on about {} training images",
        "rows": "Trees boosted on {} training rows at a time",
    }
    lines = []
    for key, words in kinds.items():
        found = {cell["model"]: cell["chosen"][key] for cell in done_cells(results) if key in (cell["chosen"] or {})}
        if found:
            lines.append(
                f"{words.format(f'{max(found.values()):,.0f}')}, because of the size of the data set: {', '.join(found)}."
            )
    return lines


def _contender(row: Row, results: Results, *, wins: bool) -> Contender:
    fit, predict = row["fit_seconds_mean"], row["predict_ms_per_image"]
    encode = 0.0 if math.isnan(row["encode_ms_per_image"]) else row["encode_ms_per_image"]
    score = mean_sd(row, primary_metric(results))
    cost = f"fit {quantity(fit)} s per fold, encode + predict {quantity(encode + predict)} ms per image"
    return Contender(ROLES[row["family"]], row["family"], row["model"], score, cost, wins)


def _open(table: pd.DataFrame) -> list[str]:
    """Sentences on the models without all their cells."""
    return [f"{line[0].upper()}{line[1:]}." for line in open_models(table)]


def _none_ran(family: str, table: pd.DataFrame) -> Contender:
    states = dict.fromkeys(table.loc[table["family"] == family, "status"])
    return Contender(ROLES[family], family, "none ran", "–", f"{', '.join(states)}: see the reason below", wins=False)


def _verdict(
    best: Row, of_family: dict[str, Row], metric: str, pairs: pd.DataFrame, results: Results, settings: TestSettings
) -> str:
    name = WORDS[primary_metric(results)]
    classical, deep = of_family.get("classical"), of_family.get("deep")
    if classical is None or deep is None:
        families = " and ".join(family for family in ROLES if family in of_family and family != "dummy")
        if not families:
            return f"{best['model']}, which ignores the images: {name} {best[metric]:.3f}"
        return f"{best['model']} is ahead of the {families} models that were run: {name} {best[metric]:.3f}"
    difference = deep[metric] - classical[metric]
    if abs(difference) < 0.0005:
        return f"Deep and classical are tied: {name} {deep[metric]:.3f}"
    ahead, behind = ("Deep", "classical") if difference > 0 else ("Classical", "deep")
    test = against(pairs, deep["model"], primary_metric(results)).loc[classical["model"]]
    p = _adjusted(test)
    if math.isnan(p):
        return f"{ahead} is ahead of {behind} by {abs(difference):.3f} in {name}"
    if p < settings.alpha:
        return f"{ahead} is better than {behind} by {abs(difference):.3f} in {name}, {p_text(p)}"
    return f"{ahead} is ahead of {behind} by {abs(difference):.3f} in {name}, but not significantly, {p_text(p)}"


def _details(best: Row, pairs: pd.DataFrame, results: Results, settings: TestSettings) -> list[str]:
    metric = primary_metric(results)
    name, cover = WORDS[metric], f"{1 - settings.alpha:.0%}".replace("%", " %")
    low, high = best[f"{metric}_low"], best[f"{metric}_high"]
    spread = (
        ""
        if math.isnan(low)
        else f" Bootstrap interval over {results.data.get('group_noun') or 'group'}s ({cover}): {low:.3f} to {high:.3f}."
    )
    folds = f"{as_fraction(best['cells'])} folds"
    lines = [
        f"The best model is {best['model']} ({best['family']}): {name} {mean_sd(best, metric)} over {folds}.{spread}"
    ]
    tests = against(pairs, best["model"], metric)
    lines += _claims(best["model"], tests, results, settings)
    if settings.reference and settings.reference != best["model"]:
        reference = against(pairs, settings.reference, metric)
        lines += _claims(settings.reference, reference, results, settings, column="p_holm_reference")
    tested = int(tests["p"].notna().sum())
    if tested and has_one_test_set(results):
        lines.append(
            f"McNemar's exact test on whether all labels of an image are correct, p adjusted over all pairs (Holm); differences in {name}, with "
            f"their {cover} bootstrap interval over {results.data.get('group_noun') or 'group'}s. The test treats images as independent and "
            "does not account for other training sets."
        )
    elif tested:
        lines.append(
            f"Corrected resampled t-test over the folds (Nadeau and Bengio 2003), p adjusted over {counted(tested, 'comparison')} with "
            f"the best model (Holm), {cover} intervals not adjusted. The best model was selected on the same folds, which favours it."
        )
    else:
        lines.append("No test: this needs two models with two folds in common.")
    return lines


def _claims(
    model: str, tests: pd.DataFrame, results: Results, settings: TestSettings, column: str = "p_holm_best"
) -> list[str]:
    """State which differences between a model and the others of `tests` are significant, and which are not."""
    tests = tests[tests["p"].notna()].sort_values("mean_difference", key=abs, kind="stable")
    sure = tests[tests[column] < settings.alpha]
    unsure = tests[~(tests[column] < settings.alpha)]
    base = f"On {_tested(results)}, {model} is"
    lines = []
    for word, rows in (("better", sure[sure["mean_difference"] > 0]), ("worse", sure[sure["mean_difference"] < 0])):
        if len(rows):
            named = "; ".join(f"{other} by {_gap(row, column)}" for other, row in rows.iterrows())
            lines.append(f"{base} {word} than {named}.")
    if len(unsure):
        named = "; ".join(f"{other} ({_gap(row, column)})" for other, row in unsure.iterrows())
        lines.append(f"No significant difference between {model} and {named}.")
    equal = tests[tests["p_equal"] > EQUAL]
    if len(equal):
        lines.append(
            f"Practically equivalent (within ± {settings.rope:g} with a probability above {EQUAL:.0%}): {model} and {', '.join(equal.index)}."
        )
    return lines


def _tested(results: Results) -> str:
    """Count the images and groups of the test parts: "1,027 images of 445 patients"."""
    ids = results.splits.loc[results.splits["part"] == "test", "image_id"].unique()
    groups = int(results.groups.reindex(ids).nunique())
    return f"{len(ids):,} images of {counted(groups, results.data.get('group_noun') or 'group')}"


def _gap(row: pd.Series, column: str) -> str:
    """Write a difference with its interval and p: "0.076, CI 0.022 to 0.130, p = 0.087"."""
    low, high = sorted((row["ci_low"], row["ci_high"]))
    sign = -1 if row["mean_difference"] < 0 else 1
    low, high = sorted((sign * low, sign * high))
    return f"{abs(row['mean_difference']):.3f}, CI {low:.3f} to {high:.3f}, {p_text(row[column])}"


def p_text(p: float) -> str:
    """Write a p value, unbroken: "p = 0.017", "p < 0.001"."""
    return "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.3f}"


def _adjusted(test: pd.Series) -> float:
    """Return p adjusted over the comparisons with the best model where this is one of them, else the unadjusted p."""
    return float(test["p"] if math.isnan(test["p_holm_best"]) else test["p_holm_best"])
