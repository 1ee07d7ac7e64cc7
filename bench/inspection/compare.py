"""``bench compare``: several runs against the first of them."""

from __future__ import annotations

import math
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.comparison.pairwise import TestSettings
from reports.comparison.two_runs import changes, differences, why_untested
from reports.runs.results import load
from reports.scores.evaluation import Evaluation, evaluate
from reports.scores.naming import title
from reports.scores.ranking import primary_metric

_LONGEST = 60  # characters of a setting


def compare(folders: list[Path], settings: TestSettings, console: Console) -> None:
    """Print for each further run what differs from the first one, and how the scores of common models changed.

    Parameters
    ----------
    folders : list of Path
        Run folders; the first is the base.
    settings : TestSettings
        When a difference is claimed.
    console : Console
        Where to print.

    Raises
    ------
    reports.runs.results.ResultsError
        If a folder is no run folder.
    """
    first, *others = [evaluate(load(folder)) for folder in folders]
    for folder, other in zip(folders[1:], others, strict=True):
        console.print(Text(f"{folder} against {folders[0]}", style="bold"))
        _print_differences(first, other, console)
        _print_changes(first, other, settings, console)


def _print_differences(first: Evaluation, other: Evaluation, console: Console) -> None:
    found = differences(first.results, other.results)
    if not found:
        console.print("Nothing differs: data, splits, parameters, versions and hardware are the same.")
        return
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("differs", "first", "second"):
        table.add_column(heading)
    for each in found:
        table.add_row(*(Text(_short(text)) for text in (each.key, each.first, each.second)))
    console.print(table)


def _print_changes(first: Evaluation, other: Evaluation, settings: TestSettings, console: Console) -> None:
    rows = changes(first, other, settings)
    if rows.empty:
        console.print("The runs have no finished model in common.")
        return
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), title=Text(title(primary_metric(first.results), first.results)))
    for heading in ("model", "first", "second", "change", "interval", "p", "same"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=heading != "model")
    for row in rows.to_dict("records"):
        interval = "–" if math.isnan(row["low"]) else f"{row['low']:+.3f} to {row['high']:+.3f}"
        table.add_row(
            Text(row["model"]),
            f"{row['first']:.3f}",
            f"{row['second']:.3f}",
            f"{row['difference']:+.3f}",
            interval,
            "–" if math.isnan(row["p"]) else f"{row['p']:.3f}",
            "–" if math.isnan(row["same"]) else f"{row['same']:.0%}",
        )
    console.print(table)
    reason = why_untested(first.results, other.results)
    console.print(
        Text(
            f"Not tested: {reason}."
            if reason
            else "p: corrected resampled t-test over the common cells, not adjusted. same: cells with the same predictions."
        )
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
