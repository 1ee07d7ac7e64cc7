"""``bench study``: every run of a study, one after another, in one folder, and one report of them all.

STUDY/study.toml, study.json    the plan as given, and the list of runs
      suites/RUN.toml           the suite of each run, as `bench run --suite` reads it
      runs/RUN/                 run folders
      report/
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from radiographs.disk import write_whole
from radiographs.sources import SourceError, open_source
from radiographs.splits import SplitsError
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench import environment
from bench.errors import DiskError, UserError, one_line
from bench.recipes.plugins import add_suite_folder, write_beside
from bench.recipes.suite import load_suite
from bench.recipes.toml import suite_as_toml
from bench.session.request import Request
from bench.session.run import DONE, INTERRUPTED, run_session
from bench.study.plan import Study, read_study
from bench.study.pool import source
from bench.study.runs import Planned, expand, suite_file
from bench.terminal.console import say_error
from bench.terminal.tables import plain_table
from reports.runs.format import STUDY, STUDY_SCHEMA, sealed
from reports.runs.results import ResultsError

WRONG = 2  # exit code of a refused run


def study_session(path: Path, out: Path | None, base: Request, console: Console, *, dry: bool) -> int:
    """Run a study, write its report, and return the exit code of its worst run.

    Parameters
    ----------
    path : Path
        The study file.
    out : Path or None
        Folder of the study; None for ``studies/NAME``.
    base : Request
        Settings of every run: device, weights, jobs, cluster.
    console : Console
    dry : bool
        Print the plan only.

    Returns
    -------
    int

    Raises
    ------
    UserError, SourceError
        If the file is wrong, or a data set cannot be listed: before anything is computed.
    """
    study = read_study(path)
    folder = out or Path("studies") / study.name
    code = _run_all(path, study, folder, base, console, dry=dry)
    if not dry and code != INTERRUPTED:
        _report(folder, console)
    return code


def _run_all(path: Path, study: Study, folder: Path, base: Request, console: Console, *, dry: bool) -> int:
    sys.path.append(str(path.resolve().parent))
    for file in filter(None, (suite_file(name, path.parent) for name in study.suites)):
        add_suite_folder(file, load_suite(str(file)))
    planned = expand(study, path.parent)
    cache = environment.cache_folder()
    for each in study.data:
        open_source(Path(each.path), each.hints)
    for run in planned:
        source(run.data, run.name, cache)
    console.print(_plan_table(planned))
    if dry:
        return DONE
    if base.mlflow:
        from bench.session.tracking import connect

        connect(base.mlflow)
    facts = {"schema": STUDY_SCHEMA, "name": study.name, "runs": [run.facts() for run in planned]}
    _refuse_other(folder, facts["runs"])
    write_whole(folder / "study.toml", path.read_text(encoding="utf-8"))
    write_whole(folder / STUDY, json.dumps(sealed(facts), indent=1))
    worst = DONE
    for number, run in enumerate(planned, 1):
        console.print(Text(f"\n{run.name}: run {number} of {len(planned)}", style="bold"))
        try:
            code = run_session(_request(base, run, folder, cache), console)
        except DiskError:
            raise
        except (UserError, SourceError, SplitsError, ResultsError) as error:
            say_error(f"{run.name}: {one_line(error)}")  # continue with the others
            code = WRONG
        if code == INTERRUPTED:
            return code
        worst = max(worst, code)
    return worst


def _report(folder: Path, console: Console) -> None:
    from reports.studies.report import write_study

    words, paths = write_study(folder, html=True, csv=True)
    console.print(escape("\n" + "\n".join(words)))
    for path in paths:
        console.print(f"wrote {escape(str(path))}")


def _refuse_other(folder: Path, runs: list[dict[str, Any]]) -> None:
    """Check that a folder does not hold runs of the same names on other data: two projects may both have a study.toml."""
    try:
        before = json.loads((folder / STUDY).read_text(encoding="utf-8"))["runs"]
        known = {each["name"]: each["source"] for each in before}
    except (OSError, ValueError, KeyError, TypeError):
        return
    for run in runs:
        if known.get(run["name"], run["source"]) != run["source"]:
            raise UserError(
                f"{folder}: belongs to another study: {run['name']} has other data there: give another --out"
            )


def _request(base: Request, run: Planned, folder: Path, cache: Path) -> Request:
    suite = folder / "suites" / f"{run.name}.toml"
    write_whole(suite, suite_as_toml(run.suite))
    write_beside(suite, run.suite.models)
    data, hints = source(run.data, run.name, cache)
    test, test_hints = source([run.test], run.name, cache) if run.test else (None, None)
    splits = folder / "runs" / run.splits_of / "splits.parquet" if run.splits_of else None
    return replace(
        base,
        mlflow_answered=True,
        data=data,
        hints=hints,
        suite=str(suite),
        out=folder / "runs" / run.name,
        seed=run.seed,
        splits=splits,
        test=test,
        test_hints=test_hints,
    )


def _plan_table(planned: list[Planned]) -> Table:
    table = plain_table(f"{len(planned)} runs")
    for name in ("run", "data", "suite", "variant", "seed", "models", "cells", "tested on"):
        table.add_column(name, overflow="fold")
    for run in planned:
        models, cv = len(run.suite.models), run.suite.cv
        names = " + ".join(each.name for each in run.data)
        counts = (str(run.seed), str(models), str(models * cv.folds * cv.repeats))
        table.add_row(run.name, names, run.suite.name, run.variant, *counts, run.test.name if run.test else "–")
    return table
