"""Every figure of a run in its order, with its title and the words that explain it."""

from collections.abc import Iterator

import altair as alt
import pandas as pd

from reports.comparison.fixed_test import has_one_test_set
from reports.comparison.learning import curve_table, curves, has_shares
from reports.comparison.pairwise import TestSettings
from reports.figures.balance import balance
from reports.figures.comparison import class_f1, comparison
from reports.figures.confusion import confusion
from reports.figures.cost import timing
from reports.figures.curves import precision_recall_chart, roc_chart
from reports.figures.differences import differences
from reports.figures.figure import Figure
from reports.figures.learning import learning_curves
from reports.figures.patients import score_over_patients, with_last
from reports.figures.reliability import reliability_diagram
from reports.figures.tradeoff import tradeoff
from reports.scores.evaluation import Evaluation
from reports.scores.naming import title as metric_title
from reports.scores.ranking import primary_metric

TEXTS = {
    "comparison": (
        "Comparison",
        "Large dot: mean over the folds. Small dots: single folds. Line: lowest to highest fold.",
    ),
    "patients": (
        "Learning curves over {noun}s",
        "Each model trained on nested shares of the training {noun}s, tested on the same test parts. Band: bootstrap interval over folds and the {noun}s "
        "within them.",
    ),
    "differences": (
        "Differences",
        "Row minus column, mean over the folds. *: p of the corrected t-test, adjusted over all pairs (Holm), is below {alpha:g}. "
        "Shading: probability that the row is better by more than {rope:g} (Bayesian correlated t-test).",
    ),
    "class-f1": (
        "F1 per class",
        "Test predictions of all folds together. In brackets: number of {noun}s. –: undefined.",
    ),
    "roc": (
        "ROC curves",
        "One class against the rest, mean over the folds. Band: lowest to highest fold of the selected model. "
        "Diamond: operating point of the reported decisions.",
    ),
    "precision-recall": (
        "Precision-recall curves",
        "One class against the rest, mean over the folds. Band: lowest to highest fold of the selected model. "
        "Diamond: operating point of the reported decisions.",
    ),
    "multilabel": (
        "Confusions",
        "Errors only, over all test predictions: rows are missed labels, columns are labels wrongly predicted for the "
        "same image. Shading: share of the row.",
    ),
    "multiclass": ("Confusion matrix", "Counts over all test predictions. Shading: share of the row."),
    "tradeoff": (
        "Score and cost",
        "Mean over the folds, with a line from the lowest to the highest fold. Large dots, joined by the dashed line, are Pareto optimal: no "
        "other model is as good and as cheap. Cost on a log scale; models that ignore the images are left out.",
    ),
    "calibration": (
        "Calibration",
        "Fraction of positives over mean predicted probability {calibrated}, all test parts together. "
        "Thin line: perfect calibration. Dashed: after temperature scaling fitted on the validation part. "
        "Dot size: number of predictions.",
    ),
    "timing": (
        "Time per image",
        "Median of the raw samples, with a line from the fastest to the slowest. Preprocessing and encoding are computed once "
        "for all folds. Fitting is per training image, prediction per test image.",
    ),
    "learning": (
        "Training curves",
        "One line per fold; the selected model is drawn thick. The epoch is selected on the validation part.",
    ),
    "balance": (
        "Class balance of the folds",
        "Images · {noun}s of each class in each fold. Shading: images relative to the fold with most images of the class.",
    ),
}

CALIBRATED = {"multiclass": "of the most probable class of each image", "multilabel": "of every class of every image"}


def all_figures(evaluation: Evaluation, pairs: pd.DataFrame, settings: TestSettings) -> Iterator[Figure]:
    """Draw every figure that the run has data for; `pairs` are the comparisons of `reports.comparison.pairwise.pairwise` at `settings`."""
    results = evaluation.results
    noun = results.data.get("group_noun") or "group"

    def figure(
        name: str, chart: alt.LayerChart, *, min_width: int = 300, key: str | None = None, axis: str = ""
    ) -> Figure:
        title, text = TEXTS[key or name]
        words = text.format(
            noun=noun, alpha=settings.alpha, rope=settings.rope, calibrated=CALIBRATED[results.data["task"]]
        )
        return Figure(name, title.format(noun=noun), words, chart, min_width, axis)

    class_columns = 160 + 34 * len(results.classes)
    if evaluation.finished:
        yield figure("comparison", comparison(evaluation), axis="x")
        if len(evaluation.finished) > 1 and not has_one_test_set(results):
            yield figure(
                "differences", differences(evaluation, pairs, settings), min_width=200 + 62 * len(evaluation.finished)
            )
        yield figure("tradeoff", tradeoff(evaluation), min_width=560, axis="x")
        if found := curves(evaluation) if has_shares(results) else []:
            table = with_last(curve_table(found, settings.alpha))
            chart = score_over_patients(table, metric_title(primary_metric(results), results), noun)
            yield figure("patients", chart, min_width=560)
        yield figure("class-f1", class_f1(evaluation), min_width=class_columns)
        yield figure("roc", roc_chart(evaluation))
        yield figure("precision-recall", precision_recall_chart(evaluation))
        yield figure("confusion", confusion(evaluation), min_width=class_columns, key=results.data["task"])
        yield figure("calibration", reliability_diagram(evaluation))
        yield figure("timing", timing(evaluation), min_width=420)
    learning = learning_curves(results)
    if learning is not None:
        yield figure("learning", learning, axis="y")
    yield figure("balance", balance(results), min_width=200 + 70 * results.n_planned)
