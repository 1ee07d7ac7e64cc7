"""Apply the decision rule and the metrics to every cell, once, for all tables and figures."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.runs.format import LABEL_SETS, probability_columns, truth_columns
from reports.runs.results import CellKey, Results
from reports.scores.decision import BoolArray, FloatArray, apply_rule, learn_threshold, seen_label_sets
from reports.scores.metrics import METRICS, RESTS_ON_CLASSES, score

SCORE_COLUMNS = ["model", "repeat", "fold", *METRICS, *(f"{name}_classes" for name in RESTS_ON_CLASSES)]


@dataclass(frozen=True)
class Decided:
    """A test part after the decision rule.

    Attributes
    ----------
    image_id : ndarray of shape (n,), str
    truth, decided : ndarray of shape (n, n_classes), bool
    probability : ndarray of shape (n, n_classes), float64
    """

    image_id: np.ndarray
    truth: BoolArray
    decided: BoolArray
    probability: FloatArray


@dataclass(frozen=True)
class Evaluation:
    """A run with its decisions and scores.

    Attributes
    ----------
    results : Results
    test_parts : mapping
        (model, repeat, fold) -> Decided, for every cell that is done.
    scores : DataFrame
        One row per cell that is done: model, repeat, fold, every metric and the number of classes it rests on.
    thresholds : mapping
        (model, repeat, fold) -> the probability from which the rule by threshold gives a label; NaN with one label per image.
    """

    results: Results
    test_parts: Mapping[CellKey, Decided]
    scores: pd.DataFrame
    thresholds: Mapping[CellKey, float]

    def parts(self, model: str) -> list[Decided]:
        """Test parts of a model, one per cell that is done."""
        return [part for key, part in self.test_parts.items() if key[0] == model]

    def pooled(self, model: str) -> list[Decided]:
        """Test parts of a model joined over the folds, one per repeat."""
        repeats = sorted({key[1] for key in self.test_parts if key[0] == model})
        return [join(part for key, part in self.test_parts.items() if key[:2] == (model, repeat)) for repeat in repeats]

    @property
    def finished(self) -> list[str]:
        """Models with at least one cell done, in the order of the suite."""
        done = {key[0] for key in self.test_parts}
        return [model for model in self.results.models if model in done]

    @property
    def complete(self) -> list[str]:
        """Models with all their cells done, in the order of the suite."""
        return [model for model in self.finished if len(self.parts(model)) == self.results.n_planned]


def evaluate(results: Results) -> Evaluation:
    """Decide and score every cell that is done."""
    task, at_least_one = results.data["task"], results.data["at_least_one"]
    sets = label_sets_of_folds(results) if results.decision == LABEL_SETS else {}
    test_parts, thresholds, rows = {}, {}, []
    for key, predictions in results.predictions.items():
        truth, probability = matrices(predictions, "test", results.classes)
        threshold = learn_threshold(*matrices(predictions, "valid", results.classes), task, at_least_one)
        thresholds[key] = math.nan if threshold is None else threshold
        decided = apply_rule(probability, threshold, at_least_one, sets.get(key[1:]))
        image_id = predictions.loc[predictions["part"] == "test", "image_id"].to_numpy()
        part = test_parts[key] = Decided(image_id, truth, decided, probability)
        place = dict(zip(("model", "repeat", "fold"), key, strict=True))
        rows.append(place | score(part.truth, part.decided, part.probability, task))
    return Evaluation(results, test_parts, pd.DataFrame(rows, columns=SCORE_COLUMNS), thresholds)


def label_sets_of_folds(results: Results) -> dict[tuple[int, int], BoolArray]:
    """Label sets that occur outside of the test part of each (repeat, fold): of its training and validation images, each (n_sets, n_classes)."""
    outside = results.splits[results.splits["part"] != "test"]
    places = zip(outside["repeat"].astype(int), outside["fold"].astype(int), strict=True)
    images: dict[tuple[int, int], list[str]] = {}
    for place, image in zip(places, outside["image_id"], strict=True):
        images.setdefault(place, []).append(image)
    at_least_one = results.data["at_least_one"]
    return {place: seen_label_sets(labels_of(results, ids), at_least_one) for place, ids in images.items()}


def label_sets_of_run(results: Results) -> BoolArray:
    """Label sets of all images that stand in the splits, on which a model is fitted for export and for the final test, (n_sets, n_classes)."""
    return seen_label_sets(labels_of(results, results.splits["image_id"].unique()), results.data["at_least_one"])


def labels_of(results: Results, image_ids: Iterable[str]) -> BoolArray:
    """Labels of images as the manifest has them, (n, n_classes)."""
    labels = results.manifest.set_index("image_id")["labels"].loc[list(image_ids)]
    return np.array([np.isin(results.classes, list(each)) for each in labels])


def join(parts: Iterable[Decided]) -> Decided:
    """Put test parts one below the other."""
    columns = zip(*((part.image_id, part.truth, part.decided, part.probability) for part in parts), strict=True)
    return Decided(*(np.concatenate(column) for column in columns))


def sort_by_image(part: Decided) -> Decided:
    """Sort a test part by the names of its images, so that those of several models stand beside each other."""
    order = np.argsort(part.image_id)
    return Decided(part.image_id[order], part.truth[order], part.decided[order], part.probability[order])


def matrices(predictions: pd.DataFrame, part: str, classes: list[str]) -> tuple[BoolArray, FloatArray]:
    """Truth and probability of one part ("valid" or "test") of a cell, both of shape (n, n_classes)."""
    return class_columns(predictions[predictions["part"] == part], classes)


def class_columns(table: pd.DataFrame, classes: list[str]) -> tuple[BoolArray, FloatArray]:
    """Truth and probability of every row of a table of predictions, both of shape (n, n_classes)."""
    truth, probability = table[truth_columns(classes)], table[probability_columns(classes)]
    return truth.to_numpy(dtype=bool), probability.to_numpy(dtype=float)
