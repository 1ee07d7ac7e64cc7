"""Where a number comes from: the caption that every table carries."""

from collections.abc import Iterable
from typing import Any

from reports.runs.format import LABEL_SETS
from reports.runs.results import Results

DIGEST_LENGTH = 12


def caption(results: Results) -> str:
    """Write one line with the run, suite, data (SYNTHETIC where they are), splits, folds, repeats, seed and sizes, and, where they differ from the usual, refits and decision rule."""
    run, splits = results.run, results.run["splits"]
    return ", ".join(
        [
            f"Run {run['run_id']}",
            f"suite {run['suite']['name']}",
            f"data {results.data['name']}" + (" (SYNTHETIC)" if results.data.get("synthetic") else ""),
            f"splits {splits['digest'][:DIGEST_LENGTH]}",
            f"{counted(splits['folds'], 'fold')} × {counted(splits['repeats'], 'repeat')}",
            f"seed {run['seed']}",
            f"n = {results.data['n_images']} images of {count_groups(results)}" + _held_out(results),
            *([f"refitted to training and validation part: {_refitted(results)}"] if results.refitted else []),
            *(["labels decided by label sets"] if results.decision == LABEL_SETS else []),
        ]
    )


def pretrained(results: Results, models: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Pretrained weights that finished cells started from, each once: backbone, file, origin, licence, citations, sha256."""
    cells = results.cells if models is None else results.cells[results.cells["model"].isin(list(models))]
    return list({each["sha256"]: each for weights in cells["weights"] for each in weights}.values())


def describe_weights(weights: dict[str, Any]) -> str:
    """Describe the origin and licence of pretrained weights: "tf_efficientnet_lite0 from package ... (licence Apache-2.0)"."""
    digest = weights["sha256"][:DIGEST_LENGTH]
    return f"{weights['backbone']} from {weights['origin']} ({weights['file']}, SHA-256 {digest}, licence {weights['licence']})"


def _refitted(results: Results) -> str:
    """Name the models that are refitted: "all models" or their names."""
    return "all models" if len(results.refitted) == len(results.models) else " and ".join(results.refitted)


def _held_out(results: Results) -> str:
    """State how many of these images no fold used."""
    facts = results.run.get("holdout")
    if not facts or facts["kind"] != "share":
        return ""
    return f", {facts['n_images']} of them held out for the final test"


def count_groups(results: Results) -> str:
    """Count the groups by their noun: "445 patients"."""
    return counted(results.data["n_groups"], results.data.get("group_noun") or "group")


def counted(n: int, noun: str) -> str:
    """Write a number with its noun: "1 fold", "5 folds"."""
    return f"{n} {noun if n == 1 else noun + 's'}"
