"""One fixed test set, such as a published one: no folds to compare over, so images and patients must quantify the uncertainty.

McNemar's exact test counts the images that only one of two models gets all right. It treats images as independent, unlike
the interval of the difference over draws of whole groups (`reports.comparison.pairwise`) beside it.
"""

from itertools import combinations

import pandas as pd

from reports.comparison.significance import holm, mcnemar
from reports.runs.results import Results
from reports.scores.evaluation import Evaluation, sort_by_image

COLUMNS = ("model_a", "model_b", "n", "only_a", "only_b", "p", "p_holm")


def has_one_test_set(results: Results) -> bool:
    """Whether the run has a single fold and repeat."""
    return results.n_planned == 1


def mcnemar_table(evaluation: Evaluation) -> pd.DataFrame:
    """Test every pair of finished models on the one test set; empty where there are folds.

    Returns
    -------
    DataFrame
        model_a, model_b, n (images), only_a and only_b (images whose labels only that model gets all right), p (exact, two-sided),
        p_holm (adjusted over the pairs).
    """
    rows = []
    if has_one_test_set(evaluation.results):
        parts = {model: sort_by_image(evaluation.parts(model)[0]) for model in evaluation.finished}
        right = {model: (part.truth == part.decided).all(axis=1) for model, part in parts.items()}
        for a, b in combinations(evaluation.finished, 2):
            only_a, only_b, p = mcnemar(right[a], right[b])
            rows.append({"model_a": a, "model_b": b, "n": len(right[a]), "only_a": only_a, "only_b": only_b, "p": p})
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    return table.assign(p_holm=holm(table["p"]))


def with_mcnemar(pairs: pd.DataFrame, tests: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Comparisons of `reports.comparison.pairwise.pairwise` on one metric, with the p of McNemar's test and the interval over draws of groups."""
    rows = pairs[pairs["metric"] == metric].merge(
        tests[["model_a", "model_b", "p", "p_holm"]], on=["model_a", "model_b"], suffixes=("_folds", "")
    )
    return rows.assign(
        ci_low=rows["bootstrap_low"],
        ci_high=rows["bootstrap_high"],
        p_holm_best=rows["p_holm"],
        p_holm_reference=rows["p_holm"],
    )
