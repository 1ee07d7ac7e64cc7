"""What decides which model is best, and which families are compared."""

from reports.runs.results import Results

ASKED = ("classical", "deep")  # the families whose comparison the suite is made for


def primary_metric(results: Results) -> str:
    """Name the metric that decides the headline: F1 per image for several labels, else accuracy."""
    return "f1_samples" if results.data["task"] == "multilabel" else "accuracy"
