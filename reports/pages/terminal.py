"""The summary table for the terminal."""

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reports.comparison.final_test import held_out_table, summarise_held_out, with_interval
from reports.pages.headline import open_models
from reports.runs.provenance import caption
from reports.runs.results import Results
from reports.runs.rows import rows_of
from reports.scores.evaluation import evaluate
from reports.scores.naming import title
from reports.tables.summary import as_text, columns, summary

NARROW = ("model", "cells", "f1_samples_mean", "f1_macro_mean", "predict_ms_per_image", "status")
WIDE = (*NARROW, "family", "accuracy_mean", "fit_seconds_mean", "roc_auc_macro_mean", "average_precision_macro_mean")
WIDE_FROM = 150  # columns of a terminal that hold all of them
TITLES = {
    "fit_seconds_mean": "Fit (s)",
    "predict_ms_per_image": "Predict (ms)",
    "encode_ms_per_image": "Encode (ms)",
    "accuracy_mean": "Exact",
    "f1_samples_mean": "F1 / image",
}
FAMILY_STYLES = {"classical": "yellow", "deep": "blue", "fusion": "green", "dummy": "dim"}


def summary_table(results: Results, width: int = 80) -> Table:
    """Build the summary with its caption for a terminal of so many columns; names are never read as markup."""
    numbers = summary(evaluate(results))
    visible = [column for column in columns(results) if column.key in (WIDE if width >= WIDE_FROM else NARROW)]
    title = Text(str(results.data.get("title", results.data["name"])))
    table = Table(caption=Text(caption(results)), title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    for column in visible:
        words = column.key in ("model", "family", "status")
        table.add_column(
            Text(TITLES.get(column.key, column.title)),
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold" if words else "ellipsis",  # a name is never truncated
        )
    for family, row in zip(numbers["family"], as_text(numbers, visible).itertuples(index=False), strict=True):
        table.add_row(*(Text(text) for text in row), style=FAMILY_STYLES.get(family))
    return table


def unfinished(results: Results) -> list[str]:
    """Explain for each model that lacks cells why; models with the same reason share a line."""
    return open_models(summary(evaluate(results)))


def held_out_summary(results: Results) -> Table:
    """Build the table of the final test for a terminal."""
    numbers, metrics = held_out_table(results), ("accuracy", "f1_samples", "f1_macro")
    words = Text(f"Final test: {summarise_held_out(results)}")
    table = Table(title=words, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("Model", *(title(metric, results) for metric in metrics)):
        table.add_column(Text(name), justify="left" if name == "Model" else "right", overflow="fold")
    for row in rows_of(numbers):
        cells = [with_interval(row, metric) if row["status"] == "done" else row["reason"] for metric in metrics]
        table.add_row(*(Text(text) for text in (row["model"], *cells)), style=FAMILY_STYLES.get(row["family"]))
    return table
