"""Images that most models get wrong: likely label errors, and images that are merely hard.

Every image is scored by models that were not trained on its patient: those of the fold that tests it. One model may err on a hard
image; where classical and deep models agree against the label, the label deserves a review. It is a ranking for people to review,
not a correction.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.scores.decision import BoolArray, FloatArray
from reports.scores.evaluation import Evaluation, sort_by_image
from reports.scores.metrics import f1_of_images

SUSPECT_COLUMNS = (
    *("image_id", "file", "group", "labels", "suggested", "models_against", "n_models"),
    *("probability_labels", "probability_suggested"),
)
HARD_COLUMNS = (
    *("image_id", "file", "group", "labels", "taken_for", "models_wrong", "n_models", "f1", "probability_labels"),
    "suspect",
)


@dataclass(frozen=True)
class _Votes:
    """Predictions of the judges for every image; images in the order of their names.

    Attributes
    ----------
    image_id : ndarray of shape (n,), str
    truth : ndarray of shape (n, n_classes), bool
    probability : ndarray of shape (n_judges, n, n_classes)
        Mean over the repeats.
    decided : list of ndarray of shape (n_judges, n, n_classes), bool each
        One for each repeat.
    """

    image_id: np.ndarray
    truth: BoolArray
    probability: FloatArray
    decided: list[BoolArray]


def suspects(evaluation: Evaluation) -> pd.DataFrame:
    """Rank the images for which most models find another class more probable than the registered ones.

    Models of the family "dummy" ignore the image and do not count. A model is against the label if its most probable class is
    not among the registered ones; with several repeats its mean probabilities count.

    Returns
    -------
    DataFrame
        image_id, file, group, labels (as registered, "; " between), suggested (the class that the models together find most
        probable), models_against, n_models; probability_labels, the mean over the models of the highest probability of a
        registered label, and probability_suggested. Only images that more than half of the models are against; those with
        the widest gap between the two probabilities first.
    """
    votes = _votes(evaluation)
    if votes is None:
        return pd.DataFrame(columns=list(SUSPECT_COLUMNS))
    against = _against(votes)
    together = np.where(votes.truth, -1, votes.probability.mean(axis=0))  # of the classes that are not registered
    table = _files(evaluation, votes).assign(
        suggested=np.array(evaluation.results.classes, dtype=object)[together.argmax(axis=1)],
        models_against=against,
        n_models=len(votes.probability),
        probability_labels=_support(votes),
        probability_suggested=together.max(axis=1),
    )
    table = table[_suspected(votes)]
    gap = table["probability_suggested"] - table["probability_labels"]
    return table.loc[gap.sort_values(ascending=False, kind="stable").index, list(SUSPECT_COLUMNS)].reset_index(
        drop=True
    )


def hardest(evaluation: Evaluation) -> pd.DataFrame:
    """Rank the images that at least one model got wrong, those with the lowest F1 over the models first.

    Returns
    -------
    DataFrame
        image_id, file, group, labels ("; " between), taken_for (the wrong class that most models gave, empty where they gave
        none), models_wrong (in the first repeat), n_models, f1 (mean over models and repeats), probability_labels, and suspect:
        whether `suspects` has it too.
    """
    votes = _votes(evaluation)
    if votes is None:
        return pd.DataFrame(columns=list(HARD_COLUMNS))
    judges = len(votes.probability)
    f1 = np.mean([[f1_of_images(votes.truth, one) for one in repeat] for repeat in votes.decided], axis=(0, 1))
    wrongly = (votes.decided[0] & ~votes.truth).sum(axis=0)  # (n, n_classes)
    classes = np.array(evaluation.results.classes, dtype=object)
    table = _files(evaluation, votes).assign(
        taken_for=np.where(wrongly.any(axis=1), classes[wrongly.argmax(axis=1)], ""),
        models_wrong=(votes.decided[0] != votes.truth).any(axis=2).sum(axis=0),
        n_models=judges,
        f1=f1,
        probability_labels=_support(votes),
        suspect=_suspected(votes),
    )
    table = table[table["f1"] < 1 - 1e-12].sort_values(["f1", "probability_labels"], kind="stable")
    return table[list(HARD_COLUMNS)].reset_index(drop=True)


def _votes(evaluation: Evaluation) -> _Votes | None:
    """Gather the test predictions of every complete model but dummies; None without such a model."""
    results = evaluation.results
    judges = [m for m in evaluation.complete if results.models[m]["family"] != "dummy"]
    if not judges:
        return None
    pooled = [[sort_by_image(part) for part in evaluation.pooled(model)] for model in judges]  # judges, then repeats
    first = pooled[0][0]  # every model has tested the same images
    return _Votes(
        first.image_id,
        first.truth,
        np.stack([np.mean([part.probability for part in parts], axis=0) for parts in pooled]),
        [np.stack([part.decided for part in repeat]) for repeat in zip(*pooled, strict=True)],
    )


def _against(votes: _Votes) -> np.ndarray:
    """Count the models whose most probable class is not registered, shape (n,)."""
    first = votes.probability.argmax(axis=2)  # (n_judges, n)
    return (~np.take_along_axis(votes.truth[None], first[:, :, None], axis=2)[:, :, 0]).sum(axis=0)


def _suspected(votes: _Votes) -> BoolArray:
    return (2 * _against(votes) > len(votes.probability)) & votes.truth.any(axis=1)


def _support(votes: _Votes) -> FloatArray:
    """Mean over the models of the highest probability of a registered label, shape (n,)."""
    return np.where(votes.truth, votes.probability, 0).max(axis=2).mean(axis=0)


def _files(evaluation: Evaluation, votes: _Votes) -> pd.DataFrame:
    files = evaluation.results.manifest.set_index("image_id").loc[votes.image_id]
    return pd.DataFrame(
        {
            "image_id": votes.image_id,
            "file": files["file"].to_numpy(),
            "group": files["group"].to_numpy(),
            "labels": ["; ".join(labels) for labels in files["labels"]],
        }
    )
