"""Tables for a paper: few columns, the best model in bold, models not significantly different from it marked, a full caption."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from reports.comparison.fixed_test import has_one_test_set, with_mcnemar
from reports.comparison.pairwise import TestSettings, against, pairs_as_text
from reports.runs.provenance import caption, counted
from reports.runs.results import Results
from reports.runs.rows import rows_of
from reports.scores.evaluation import Evaluation
from reports.scores.naming import quantity, title
from reports.scores.ranking import best_model, primary_metric
from reports.tables.export import BEST, TIED, plain
from reports.tables.summary import mean_sd

SCORES = ("f1_macro", "balanced_accuracy", "mcc", "roc_auc_macro", "average_precision_macro")


@dataclass(frozen=True)
class PaperTable:
    """A table for a paper.

    Attributes
    ----------
    name : str
        Of the file, and tab:NAME of the label.
    text : DataFrame of str
    caption : str
    styles : dict
        (row, column) -> a style of `reports.tables.export`.
    wide : bool
        Whether it spans both columns of a page; otherwise it is a longtable.
    """

    name: str
    text: pd.DataFrame
    caption: str
    styles: dict[tuple[int, int], str] = field(default_factory=dict)
    wide: bool = True


def paper_tables(
    evaluation: Evaluation, tables: dict[str, pd.DataFrame], settings: TestSettings
) -> Iterator[PaperTable]:
    """Give the summary, the timing, the comparisons of the metric that decides, and the scores of each class."""
    results, summary = evaluation.results, tables["summary"]
    yield _summary(evaluation, summary, tables["pairwise"], settings)
    yield PaperTable("timing", _timing(summary), f"Cost of each model on {_machine(results)}. {caption(results)}.")
    yield _pairwise(results, tables, settings)
    per_class = tables["per_class"]
    if len(per_class):
        best = best_model(evaluation)
        rows = per_class[per_class["model"] == best].drop(columns="model")
        kept = ["class", "n_images", "n_groups", "precision", "recall", "f1", "roc_auc", "average_precision"]
        text = plain(rows[kept]).rename(
            columns={"n images": "images", "n groups": f"{results.data.get('group_noun') or 'group'}s"}
        )
        yield PaperTable(
            "per_class", text, f"Scores of each class for {best}, the best model. {caption(results)}.", wide=False
        )


def _pairwise(results: Results, tables: dict[str, pd.DataFrame], settings: TestSettings) -> PaperTable:
    metric, pairs = primary_metric(results), tables["pairwise"]
    if has_one_test_set(results):
        rows = with_mcnemar(pairs, tables["mcnemar"], metric)
        how = (
            f"bootstrap intervals over {results.data.get('group_noun') or 'group'}s; p of McNemar's exact test on whether all labels of an "
            "image are correct"
        )
    else:
        rows = pairs[pairs["metric"] == metric]
        how = (
            f"{_test(results, settings)}; worse, equal and better by the Bayesian correlated t-test with a region of practical equivalence of "
            f"{settings.rope:g} on either side"
        )
    legend = f"Difference in {title(metric, results)} between every pair of models: {how}. {caption(results)}."
    text = pairs_as_text(rows)
    if has_one_test_set(results):
        text = text.drop(columns=["P(worse)", "P(equal)", "P(better)"])
    return PaperTable("pairwise", text, legend, wide=False)


def _summary(evaluation: Evaluation, summary: pd.DataFrame, pairs: pd.DataFrame, settings: TestSettings) -> PaperTable:
    results = evaluation.results
    metrics = (primary_metric(results), *(m for m in ("accuracy", *SCORES) if m != primary_metric(results)))
    rows = rows_of(summary)
    cover = f"{100 * (1 - settings.alpha):g} % interval"
    columns = {"Model": [row["model"] for row in rows], "Family": [row["family"] for row in rows]}
    styles = {}
    for metric in metrics:
        columns[title(metric, results)] = [mean_sd(row, metric) for row in rows]
        styles |= {(i, len(columns) - 1): style for i, style in _styles(evaluation, metric, rows, pairs, settings)}
        if metric == metrics[0]:
            columns[cover] = [_interval(row[f"{metric}_low"], row[f"{metric}_high"]) for row in rows]
    legend = (
        f"Mean ± standard deviation over {counted(results.n_planned, 'fold')}; bootstrap {cover} over "
        f"{results.data.get('group_noun') or 'group'}s. Bold: best; †: not significantly different from the best ({_test(results, settings)}"
        f"{'' if has_one_test_set(results) else ' over the comparisons with the best'}). {caption(results)}."
    )
    return PaperTable("summary", pd.DataFrame(columns, dtype=str), legend, styles)


def _styles(
    evaluation: Evaluation, metric: str, rows: list[dict], pairs: pd.DataFrame, settings: TestSettings
) -> Iterator[tuple[int, str]]:
    """Rows of the best model and of those that do not differ from it significantly."""
    best = best_model(evaluation, metric)
    if best is None:
        return
    tests = against(pairs, best, metric)
    for i, row in enumerate(rows):
        if row["model"] == best:
            yield i, BEST
        elif row["model"] in tests.index and not _differs(tests.loc[row["model"]], evaluation.results, settings):
            yield i, TIED


def _differs(test: pd.Series, results: Results, settings: TestSettings) -> bool:
    if has_one_test_set(results):
        return not test["bootstrap_low"] <= 0 <= test["bootstrap_high"]
    return test["p_holm_best"] < settings.alpha


def _timing(summary: pd.DataFrame) -> pd.DataFrame:
    rows = rows_of(summary)
    return pd.DataFrame(
        {
            "Model": [row["model"] for row in rows],
            "Fit (s per fold)": [mean_sd(row, "fit_seconds") for row in rows],
            "Encode (ms per image)": [quantity(row["encode_ms_per_image"], absent="–") for row in rows],
            "Predict (ms per image)": [quantity(row["predict_ms_per_image"], absent="–") for row in rows],
            "Peak memory (MB)": [quantity(row["peak_memory_mb"], absent="–") for row in rows],
            "Parameters": ["–" if math.isnan(row["n_parameters"]) else f"{row['n_parameters']:,.0f}" for row in rows],
            "Size (MB)": [quantity(row["model_mb"], absent="–") for row in rows],
        },
        dtype=str,
    )


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:.3f}–{high:.3f}"


def _test(results: Results, settings: TestSettings) -> str:
    if has_one_test_set(results):
        noun = results.data.get("group_noun") or "group"
        return f"the {100 * (1 - settings.alpha):g} % interval of the difference over {noun}s includes 0"
    return f"corrected resampled t-test, Holm, alpha {settings.alpha:g}"


def _machine(results: Results) -> str:
    environment = results.run.get("environment") or {}
    gpu = environment.get("gpu")
    return str(gpu or environment.get("cpu") or "an unnamed machine") + (
        "" if gpu else f", {environment.get('threads', '?')} threads"
    )
