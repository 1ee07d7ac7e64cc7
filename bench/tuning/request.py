"""``bench tune``: the request, checked before Optuna is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from rich.console import Console

from bench.errors import UserError
from bench.session.request import Request


def tune(request: Request, trials: int | None, seconds: float | None, console: Console) -> int:
    """Tune the models of a request, with a budget in trials or in seconds, and return the exit code.

    Raises
    ------
    UserError
        If the budget is not one of both, Optuna is not installed, or as `bench.tuning.session.tune_session`.
    """
    if (trials is None) == (seconds is None):
        raise UserError("give --trials N or --seconds S: the budget of every model in every fold")
    if find_spec("optuna") is None:
        raise UserError("bench tune needs the package optuna: pip install 'xraybench[tune]'")
    from bench.tuning.session import tune_session
    from bench.tuning.study import Budget

    return tune_session(request, Budget(trials, seconds), console)
