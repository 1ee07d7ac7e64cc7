"""Does an image fit what it is registered as? A row for each file, from its registration and what the model says.

The mismatch of an image against one entry of its header is 1 - P(a class that fits the entry): with several labels per image the largest
calibrated probability of the classes that fit, with one label per image their sum, for these exclude each other. Of the entries (body
part, anatomic region, exam, series) the worst one counts. An entry is contradicted where its mismatch reaches the threshold and none of the
model's answers fits it: what is answered may be less probable than not. Nothing is said of an image that is out of distribution, whose registration names no
part or none that the model has a class for, or whose answer is not sure, unless it hardly can be what it is registered as (mismatch from 0.9 on).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from radiographs.registration import Registration
from radiographs.terms import Parts, fits, fitting, is_rest, parts_of

from reports.pages.worklist import FAILED, JUDGED, NO_CLASS, NOT_SURE, OUT_OF_DISTRIBUTION, UNREGISTERED

BODY_PART = "BodyPartExamined"  # as `Registration.sources` calls it
CERTAIN_MISMATCH = 0.9  # mismatch from which on it does not matter that the model is not sure what else it is
VISIBLE = 0.5  # probability from which on a part counts as shown
OOD_LIMIT = 1.0  # OOD score above which an image is unlike those that the model was trained on


def judge(
    registration: Registration,
    classes: tuple[str, ...],
    probability: np.ndarray,
    labels: np.ndarray,
    *,
    confidence: float,
    sure: bool,
    ood_score: float,
    several: bool,
    threshold: float,
) -> dict[str, Any]:
    """Compare one image with its registration.

    Parameters
    ----------
    probability
        (n_classes,) calibrated.
    labels
        (n_classes,) bool, what the model answers.
    confidence, sure, ood_score
        What the model says of its answer.
    several
        Whether an image can have several labels.
    threshold
        Mismatch from which on an entry that no answer fits is said to be contradicted.

    Returns
    -------
    dict
        status, registered, contradicted, predicted, confidence, mismatch, ood_score, requested_parts, visible_parts (see `reports.pages.worklist`), and
        mismatch_body_part, the mismatch against `BODY_PART` alone (NaN without).
    """
    entries = registration.sources
    mismatches = {name: mismatch(parts, classes, probability, several=several) for name, parts in entries.items()}
    known = {name: value for name, value in mismatches.items() if not np.isnan(value)}
    answers = predicted(classes, probability, labels)
    against = {name: value for name, value in known.items() if not fitting(entries[name], classes) & {*answers}}
    requested = _requested(entries.get("description of the exam", frozenset()), classes)
    status = _status(entries, known, against, sure=sure, ood_score=ood_score)
    return {
        "status": status,
        "reason": "",
        "registered": "; ".join(sorted(frozenset().union(*entries.values()))),
        "contradicted": "; ".join(name for name, value in against.items() if value >= threshold)
        if status == JUDGED
        else "",
        "predicted": "; ".join(answers),
        "confidence": float(confidence),
        "mismatch": max(known.values()) if status == JUDGED else np.nan,
        "mismatch_body_part": known.get(BODY_PART, np.nan) if status == JUDGED else np.nan,
        "ood_score": float(ood_score),
        "requested_parts": "; ".join(sorted(requested)),
        "visible_parts": "; ".join(part for part in sorted(requested) if _visible(part, classes, probability, labels)),
    }


def not_read(reason: str) -> dict[str, Any]:
    """Row of a file that could not be read, and why."""
    texts = dict.fromkeys(("registered", "contradicted", "predicted", "requested_parts", "visible_parts"), "")
    numbers = dict.fromkeys(("confidence", "mismatch", "mismatch_body_part", "ood_score"), np.nan)
    return {"status": FAILED, "reason": reason, **texts, **numbers}


def predicted(classes: tuple[str, ...], probability: np.ndarray, labels: np.ndarray) -> list[str]:
    """Classes that the model answers with, the most probable first; where it gives none, the most probable."""
    order = np.argsort(-probability, kind="stable")
    named = [classes[k] for k in order if labels[k]]
    return named or [classes[order[0]]]


def mismatch(parts: Parts, classes: tuple[str, ...], probability: np.ndarray, *, several: bool) -> float:
    """1 - P(a class that fits); NaN where no class does, for then the model cannot know."""
    fit = _fitting(parts, classes)
    if not fit.any():
        return np.nan
    share = probability[fit].max() if several else probability[fit].sum()
    return float(np.clip(1 - share, 0, 1))


@lru_cache(maxsize=4096)
def _fitting(parts: Parts, classes: tuple[str, ...]) -> np.ndarray:
    fit = fitting(parts, classes)
    return np.array([name in fit for name in classes])


def _requested(parts: Parts, classes: tuple[str, ...]) -> Parts:
    """Parts of an exam's description that the model has a class of their own for."""
    return frozenset(part for part in parts if any(parts_of(name) == {part} for name in classes))


def _visible(part: str, classes: tuple[str, ...], probability: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the part may be on the image: benefit of the doubt for what fits it."""
    return any(
        fits(frozenset({part}), name) and not is_rest(name) and (labels[k] or probability[k] >= VISIBLE)
        for k, name in enumerate(classes)
    )


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
