"""The summary table for the terminal."""

from rich.table import Table
from rich.text import Text

from reports.evaluation import evaluate
from reports.provenance import caption
from reports.results import Results
from reports.summary import as_text, columns, summary

SHOWN = ("model", "family", "cells", "accuracy_mean", "f1_samples_mean", "f1_macro_mean", "roc_auc_macro_mean")
SHOWN += ("average_precision_macro_mean", "fit_seconds_mean", "encode_ms_per_image", "predict_ms_per_image", "status")
FAMILY_STYLES = {"classical": "yellow", "deep": "blue", "fusion": "green", "floor": "dim"}


def summary_table(results: Results) -> Table:
    """Build the summary with its caption; names are shown as they are, never read as markup."""
    numbers = summary(evaluate(results))
    shown = [column for column in columns(results) if column.key in SHOWN]
    table = Table(caption=Text(caption(results)), title=Text(str(results.data.get("title", results.data["name"]))))
    for column in shown:
        table.add_column(Text(column.title), justify="left" if column.key in ("model", "family", "status") else "right")
    for family, row in zip(numbers["family"], as_text(numbers, shown).itertuples(index=False), strict=True):
        table.add_row(*(Text(text) for text in row), style=FAMILY_STYLES.get(family))
    return table
