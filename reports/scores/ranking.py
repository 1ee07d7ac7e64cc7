"""The order of models, and which of them is the best: decided here for every page, table, figure, export and log.

A model competes with the mean of a metric over its folds where it is defined. What cannot be compared on equal terms is settled by
four rules:

- A model that lacks folds comes after every model that has all of them, whatever its mean: it was scored on other images. It can be
  the best only where no model has all its folds.
- A model whose metric is undefined on every fold comes last and is never the best.
- Of equal means the model that the suite lists first is the better one.
- A dummy competes like any other model: where it is the best, that is the result.
"""

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

from reports.runs.results import Results
from reports.scores.evaluation import Evaluation
from reports.scores.metrics import LOWER_IS_BETTER

COMPARED = ("classical", "deep")  # the families whose comparison the suite is made for

Name = TypeVar("Name", bound=Hashable)


def primary_metric(results: Results) -> str:
    """Name the metric that decides which model is best: F1 per image for several labels, else accuracy."""
    return "f1_samples" if results.data["task"] == "multilabel" else "accuracy"


def ranked(evaluation: Evaluation, metric: str | None = None) -> list[str]:
    """List the models with finished cells, the best first, by the rules of this module.

    Parameters
    ----------
    evaluation : Evaluation
    metric : str, optional
        One of `reports.scores.metrics.METRICS`; by default the `primary_metric`.

    Returns
    -------
    list of str
    """
    means, metric = _means(evaluation, metric)
    complete = set(evaluation.complete)
    best_first = ordered(means, lower_is_better=metric in LOWER_IS_BETTER)
    return sorted(best_first, key=lambda model: (math.isnan(means[model]), model not in complete))


def competing(evaluation: Evaluation, metric: str | None = None) -> list[str]:
    """List the models that may be called the best, the best first: those of `ranked` that are compared on equal terms.

    Parameters
    ----------
    evaluation : Evaluation
    metric : str, optional
        As in `ranked`.

    Returns
    -------
    list of str
        Models with all their folds; where there are none, those with some.
    """
    means, metric = _means(evaluation, metric)
    defined = [model for model in ranked(evaluation, metric) if not math.isnan(means[model])]
    complete = set(evaluation.complete)
    return [model for model in defined if model in complete] or defined


def best_model(evaluation: Evaluation, metric: str | None = None, *, family: str | None = None) -> str | None:
    """Name the best model, or the best of a family, by the rules of this module.

    Parameters
    ----------
    evaluation : Evaluation
    metric : str, optional
        As in `ranked`.
    family : str, optional
        Consider the models of this family only.

    Returns
    -------
    str or None
        None where no model, or none of the family, competes.
    """
    models = evaluation.results.models
    found = (m for m in competing(evaluation, metric) if family is None or models[m]["family"] == family)
    return next(found, None)


def ordered(scores: Mapping[Name, float], *, lower_is_better: bool = False) -> list[Name]:
    """Sort names by their scores, the best first; equal scores keep the given order, undefined ones (NaN) come last.

    >>> ordered({"a": 0.5, "b": float("nan"), "c": 0.9, "d": 0.5})
    ['c', 'a', 'd', 'b']
    """
    sign = 1 if lower_is_better else -1
    return sorted(scores, key=lambda name: (1, 0.0) if math.isnan(scores[name]) else (0, sign * scores[name]))


def _means(evaluation: Evaluation, metric: str | None) -> tuple[dict[str, float], str]:
    """Mean of a metric over the folds of each model, in the order of the suite, and the name of the metric."""
    metric = metric or primary_metric(evaluation.results)
    means = evaluation.scores.groupby("model")[metric].mean()
    return {model: float(means[model]) for model in evaluation.finished}, metric
