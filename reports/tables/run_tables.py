"""Every table of a run, by the name of its file."""

import pandas as pd

from reports.comparison.bootstrap import bootstrap
from reports.comparison.final_test import held_out_table
from reports.comparison.fixed_test import has_one_test_set, mcnemar_table
from reports.comparison.learning import curve_table, curves, has_shares
from reports.comparison.pairwise import TestSettings, pairwise
from reports.runs.results import ResultsError
from reports.scores.calibration import calibration
from reports.scores.evaluation import Evaluation
from reports.scores.suspects import hardest, suspects
from reports.scores.thresholds import decision_rules, thresholds
from reports.tables.balance import excluded, fold_balance
from reports.tables.per_cell import cells
from reports.tables.per_class import per_class
from reports.tables.summary import summary


def all_tables(evaluation: Evaluation, settings: TestSettings | None = None) -> dict[str, pd.DataFrame]:
    """Every table by the name of its file; tests are read at `settings`.

    Raises
    ------
    reports.runs.results.ResultsError
        If the reference model of `settings` has no finished cell.
    """
    settings = settings or TestSettings()
    if settings.reference is not None and settings.reference not in evaluation.finished:
        raise ResultsError(
            f"--reference {settings.reference}: has no finished cell in this run; there are {', '.join(evaluation.finished) or 'none'}"
        )
    draws = bootstrap(evaluation)
    on_shares = curves(evaluation) if has_shares(evaluation.results) else []
    return {
        "summary": summary(evaluation, draws, settings.alpha),
        "pairwise": pairwise(evaluation, draws, settings),
        **({"mcnemar": mcnemar_table(evaluation)} if has_one_test_set(evaluation.results) else {}),
        "per_class": per_class(evaluation),
        "cells": cells(evaluation),
        "fold_balance": fold_balance(evaluation.results),
        "excluded": excluded(evaluation.results),
        **({"holdout": held_out_table(evaluation.results, settings.alpha)} if evaluation.results.held_out else {}),
        **({"learning": curve_table(on_shares, settings.alpha)} if on_shares else {}),
        "calibration": calibration(evaluation),
        "decision_rules": decision_rules(evaluation),
        "thresholds": thresholds(evaluation),
        "suspects": suspects(evaluation),
        "hardest": hardest(evaluation),
    }
