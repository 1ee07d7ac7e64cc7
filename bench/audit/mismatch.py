"""Whether an image fits what it is registered as: a row for each file, from its registration and the model's prediction.

The mismatch of an image with one entry of its header is 1 - P(a class that fits the entry): with several labels per image the largest
calibrated probability of the classes that fit, with one label per image their sum, for these exclude each other. Of the entries (body
part, anatomic region, exam, series) the worst one counts. An entry is contradicted where its mismatch reaches the threshold and none of the
predicted classes fits it: a predicted class may be less probable than not. An image is not judged if it is out of distribution, if its registration names no
part or none that the model has a class for, or if the model is not sure, unless the mismatch is 0.9 or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from radiographs.registration import Registration
from radiographs.terms import Parts, fits, fitting, is_rest, parts_of

from reports.tables.worklist import FAILED, JUDGED, NO_CLASS, NOT_SURE, OUT_OF_DISTRIBUTION, UNREGISTERED

BODY_PART = "BodyPartExamined"  # as `Registration.sources` calls it
CERTAIN_MISMATCH = 0.9  # mismatch at or above which the model need not be sure what else the image shows
VISIBLE = 0.5  # probability at or above which a part counts as visible
OOD_LIMIT = 1.0  # OOD score above which an image is unlike the training images


@dataclass(frozen=True)
class ImagePrediction:
    """A model's prediction for one image.

    Attributes
    ----------
    classes : tuple of str
        Of the model.
    probability : ndarray of float64, shape (n_classes,)
        Calibrated.
    labels : ndarray of bool, shape (n_classes,)
        The predicted classes.
    confidence : float
        Calibrated probability of the most probable class.
    sure : bool
        Whether the confidence is high enough.
    ood_score : float
        Above 1 the image is out of distribution.
    several : bool
        Whether an image can have several labels.
    """

    classes: tuple[str, ...]
    probability: np.ndarray
    labels: np.ndarray
    confidence: float
    sure: bool
    ood_score: float
    several: bool

    def ranked(self) -> list[str]:
        """Return the labels, the most probable first; where there is none, the most probable class."""
        order = np.argsort(-self.probability, kind="stable")
        named = [self.classes[k] for k in order if self.labels[k]]
        return named or [self.classes[order[0]]]

    def may_show(self, part: str) -> bool:
        """Whether the image may show the part: the benefit of the doubt for matching classes."""
        return any(
            fits(frozenset({part}), name)
            and not is_rest(name)
            and bool(self.labels[k] or self.probability[k] >= VISIBLE)
            for k, name in enumerate(self.classes)
        )


def judge(registration: Registration, prediction: ImagePrediction, threshold: float) -> dict[str, Any]:
    """Compare one image with its registration.

    Parameters
    ----------
    registration : Registration
        Entries of the header.
    prediction : ImagePrediction
        Of the model.
    threshold : float
        Mismatch from which an entry that no predicted class fits is contradicted.

    Returns
    -------
    dict
        A row: status, registered, contradicted, predicted, confidence, mismatch, ood_score, requested_parts, visible_parts (see
        `reports.tables.worklist`), and mismatch_body_part, the mismatch with `BODY_PART` alone (NaN without).
    """
    entries, classes = registration.sources, prediction.classes
    mismatches = {
        name: mismatch(parts, classes, prediction.probability, several=prediction.several)
        for name, parts in entries.items()
    }
    known = {name: value for name, value in mismatches.items() if not np.isnan(value)}
    labels = prediction.ranked()
    against = {name: value for name, value in known.items() if not fitting(entries[name], classes) & {*labels}}
    requested = _requested(entries.get("description of the exam", frozenset()), classes)
    status = _status(entries, known, against, sure=prediction.sure, ood_score=prediction.ood_score)
    judged = status == JUDGED
    contradicted = [name for name, value in against.items() if value >= threshold] if judged else []
    return {
        "status": status,
        "reason": "",
        "registered": "; ".join(sorted(frozenset().union(*entries.values()))),
        "contradicted": "; ".join(contradicted),
        "predicted": "; ".join(labels),
        "confidence": prediction.confidence,
        "mismatch": max(known.values()) if judged else np.nan,
        "mismatch_body_part": known.get(BODY_PART, np.nan) if judged else np.nan,
        "ood_score": prediction.ood_score,
        "requested_parts": "; ".join(sorted(requested)),
        "visible_parts": "; ".join(part for part in sorted(requested) if prediction.may_show(part)),
    }


def not_read(reason: str) -> dict[str, Any]:
    """Return the row of a file that could not be read."""
    texts = dict.fromkeys(("registered", "contradicted", "predicted", "requested_parts", "visible_parts"), "")
    numbers = dict.fromkeys(("confidence", "mismatch", "mismatch_body_part", "ood_score"), np.nan)
    return {"status": FAILED, "reason": reason, **texts, **numbers}


def mismatch(parts: Parts, classes: tuple[str, ...], probability: np.ndarray, *, several: bool) -> float:
    """Return 1 - P(a class that fits), from probabilities (n_classes,); NaN if no class fits, since the model cannot know then."""
    fit = _fitting(parts, classes)
    if not fit.any():
        return np.nan
    share = probability[fit].max() if several else probability[fit].sum()
    return float(np.clip(1 - share, 0, 1))


@lru_cache(maxsize=4096)
def _fitting(parts: Parts, classes: tuple[str, ...]) -> np.ndarray:
    """Return which classes fit, (n_classes,) bool."""
    fit = fitting(parts, classes)
    return np.array([name in fit for name in classes])


def _requested(parts: Parts, classes: tuple[str, ...]) -> Parts:
    """Return the parts of an exam's description that the model has a class of their own for."""
    return frozenset(part for part in parts if any(parts_of(name) == {part} for name in classes))


def _status(
    entries: dict[str, Parts], known: dict[str, float], against: dict[str, float], *, sure: bool, ood_score: float
) -> str:
    if not entries:
        return UNREGISTERED
    if not known:
        return NO_CLASS
    if ood_score > OOD_LIMIT:
        return OUT_OF_DISTRIBUTION
    return JUDGED if sure or max(against.values(), default=0.0) >= CERTAIN_MISMATCH else NOT_SURE
