"""Tables in Markdown, for people."""

import pandas as pd

from reports.comparison.pairwise import pairs_as_text
from reports.runs.provenance import caption
from reports.runs.results import Results
from reports.scores.ranking import primary_metric
from reports.tables.export import markdown_text, plain
from reports.tables.summary import as_text, columns


def table_as_markdown(name: str, table: pd.DataFrame, results: Results) -> str:
    """Write a table of a run with its caption; of the pairwise comparisons those of the metric that decides."""
    return markdown_text(_readable(name, table, results), f"{name.replace('_', ' ').capitalize()}. {caption(results)}.")


def _readable(name: str, table: pd.DataFrame, results: Results) -> pd.DataFrame:
    if name == "summary":
        return as_text(table, columns(results))
    if name == "pairwise":
        return pairs_as_text(table[table["metric"] == primary_metric(results)])
    return plain(table)
