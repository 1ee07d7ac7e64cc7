"""Names of metrics and quantities for readers."""

import math

from reports.runs.results import Results

TITLES = {
    "accuracy": "Accuracy",
    "f1_samples": "F1 per image",
    "f1_macro": "F1 macro",
    "f1_micro": "F1 micro",
    "balanced_accuracy": "Balanced accuracy",
    "roc_auc_macro": "ROC AUC macro",
    "average_precision_macro": "Average precision macro",
    "log_loss": "Log loss",
    "mcc": "Matthews correlation",
    "cohen_kappa": "Cohen's kappa",
    "hamming_loss": "Hamming loss",
    "roc_auc_micro": "ROC AUC micro",
    "average_precision_micro": "Average precision micro",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
}


VISIBLE_METRICS = (  # in the tables that people read; the others are in the files
    "accuracy",
    "f1_samples",
    "f1_macro",
    "f1_micro",
    "balanced_accuracy",
    "mcc",
    "roc_auc_macro",
    "average_precision_macro",
    "log_loss",
    "calibration_error",
)


def title(metric: str, results: Results) -> str:
    """Name a metric for people; for several labels accuracy is the exact match."""
    several = results.data["task"] == "multilabel"
    return "Exact match" if metric == "accuracy" and several else TITLES[metric]


def quantity(value: float, absent: str = "undefined") -> str:
    """Write a positive number with three significant digits, no exponent and no more than three decimals."""
    if math.isnan(value):
        return absent
    if 0 < value < 0.0005:
        return "< 0.001"
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:,.{min(max(decimals, 0), 3)}f}"
