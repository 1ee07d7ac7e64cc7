"""The final test as a section of the page."""

from typing import Any

import numpy as np

from reports.comparison.final_test import decided_part, held_out_table, summarise_held_out, with_interval
from reports.runs.results import Results
from reports.runs.rows import rows_of
from reports.scores.confusion import axis_names, counts, has_several_labels
from reports.scores.naming import title
from reports.scores.ranking import ordered, primary_metric

_METRICS = ("accuracy", "f1_samples", "f1_macro", "roc_auc_macro", "log_loss")


def held_out_section(results: Results, alpha: float) -> dict[str, Any]:
    """Collect the section: a summary, a table of the scores, and the confusions of each model."""
    table = held_out_table(results, alpha)
    rows = [_row(row) for row in rows_of(table)]
    done = table[table["status"] == "done"]
    best_first = ordered(dict(zip(done["model"], done[primary_metric(results)], strict=True))) if len(done) else []
    titles = ["Model", "Family", "Training images", *(title(metric, results) for metric in _METRICS)]
    return {
        "words": summarise_held_out(results),
        "coverage": f"{1 - alpha:.0%}",
        "table": {"titles": titles, "rows": rows},
        "confusions": [_confusion(results, model) for model in best_first],
    }


def _row(row: dict[str, Any]) -> list[str]:
    if row["status"] != "done":
        return [row["model"], row["family"], row["reason"], *("–" for _ in _METRICS)]
    return [row["model"], row["family"], str(int(row["n_train"])), *(with_interval(row, metric) for metric in _METRICS)]


def _confusion(results: Results, model: str) -> dict[str, Any]:
    """Collect the confusions of one model: see `reports.scores.confusion`."""
    record, table = results.held_out[model]
    if table is None:
        raise ValueError(f"{model} was not tested")
    part = decided_part(table, record["decision"], results)
    matrix, names = counts(part, results), np.array(axis_names(results))
    rows, columns = matrix.any(axis=1), matrix.any(axis=0)
    shown = matrix[np.ix_(rows, columns)]
    body = [[name, *("" if n == 0 else str(n) for n in line)] for name, line in zip(names[rows], shown, strict=True)]
    several = has_several_labels(results)
    words = "missed (rows) and wrongly predicted (columns)" if several else "true (rows) and predicted (columns)"
    return {"model": model, "title": words, "table": {"titles": ["", *names[columns]], "rows": body}}
