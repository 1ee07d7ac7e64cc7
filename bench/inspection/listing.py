"""``bench list``: models, data sets, suites and runs."""

from __future__ import annotations

import json
from pathlib import Path

from radiographs.cards import known_cards
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.recipes.build import family
from bench.recipes.suite import load_suite, suite_names


def models(console: Console) -> None:
    """Print every model of the package's suites."""
    table = _table("model", "family", "suites", "what it is")
    suites = {name: load_suite(name) for name in suite_names()}
    for model in dict.fromkeys(m for suite in suites.values() for m in suite.models):
        holding = [name for name, suite in suites.items() if model in suite.models]
        spec = suites[holding[0]].models[model]
        table.add_row(model, family(spec), ", ".join(holding), Text(spec.description))
    console.print(table)


def datasets(console: Console) -> None:
    """Print every card of the package, with the steps to get the images."""
    for card in known_cards().values():
        console.print(Text(card.name, style="bold"), Text(f"{card.title}{' (synthetic)' if card.synthetic else ''}"))
        for label, value in (
            ("what", card.description),
            ("licence", card.licence),
            ("home", card.url),
            ("get it", f"bench data get {card.name}" if card.download else card.obtain),
        ):
            if value:
                console.print(Text(f"  {label}: " + value.replace("\n", "\n    ")))
    console.print("Any folder with one sub-folder per class, or a .csv table, also works: bench run --all --data PATH")


def suites(console: Console) -> None:
    """Print every suite of the package."""
    table = _table("suite", "models", "what it is")
    for name in suite_names():
        suite = load_suite(name)
        table.add_row(name, str(len(suite.models)), Text(suite.description))
    console.print(table)


def runs(console: Console) -> None:
    """Print every run below runs/."""
    table = _table("folder", "run", "suite", "images", "cells", "created")
    for path in sorted(Path("runs").glob("*/run.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            cells = sum(1 for _ in path.parent.glob("cells/*/r*-f*/cell.json"))
            values = (run["run_id"], run["suite"]["name"], run["data"]["n_images"], cells, run["created"])
        except (OSError, ValueError, KeyError, TypeError):
            values = ("damaged run.json", "", "", "", "")
        table.add_row(Text(str(path.parent)), *(Text(str(v)) for v in values))
    console.print(table if table.row_count else "no run below runs/; start with: bench run --all")


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
