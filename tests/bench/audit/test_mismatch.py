"""What is judged, and by how much an image contradicts its registration."""

from __future__ import annotations

import numpy as np
import pytest
from radiographs.registration import Registration

from bench.audit.mismatch import Answer, judge
from tests.bench.audit.dicom import CLASSES


def answer(values: np.ndarray, classes: tuple[str, ...] = CLASSES, **options: object) -> Answer:
    """An answer with these probabilities, which is sure unless told otherwise."""
    settings = {
        "labels": values >= 0.5,
        "confidence": float(values.max()),
        "sure": True,
        "ood_score": 0.1,
        "several": True,
    } | options
    return Answer(classes, values, **settings)


def judged(
    registration: Registration, probability: dict[str, float], threshold: float = 0.5, **options: object
) -> dict:
    values = np.array([probability.get(name, 0.0) for name in CLASSES])
    return judge(registration, answer(values, **options), threshold)


def test_the_mismatch_is_one_minus_the_largest_probability_that_fits() -> None:
    spine = Registration(body_part="SPINE")
    found = judged(spine, {"Lumbar Spine": 0.3, "Thoracic Spine": 0.45, "Knee": 0.6})
    assert found["mismatch"] == pytest.approx(0.55)
    assert (found["predicted"], found["contradicted"], found["registered"]) == ("Knee", "BodyPartExamined", "spine")
    one_label = judged(spine, {"Lumbar Spine": 0.3, "Thoracic Spine": 0.45, "Knee": 0.25}, several=False)
    assert one_label["mismatch"] == pytest.approx(0.25)
    assert one_label["predicted"] == "Thoracic Spine"


def test_the_worst_entry_of_the_header_counts() -> None:
    found = judged(
        Registration(body_part="HAND", study_description="Knee", view="MORTISE"),
        {"Knee": 0.9, "Hand": 0.2, "Ankle": 0.6},
    )
    assert found["mismatch"] == pytest.approx(0.8)
    assert found["mismatch_body_part"] == pytest.approx(0.8)
    assert found["contradicted"] == "BodyPartExamined"
    assert found["predicted"] == "Knee; Ankle"


@pytest.mark.parametrize("several", [True, False])
def test_an_answer_that_fits_is_no_mismatch_however_improbable(*, several: bool) -> None:
    wrist = Registration(body_part="WRIST", study_description="Wrist")
    found = judged(wrist, {"Wrist": 0.47, "Hand": 0.3}, several=several)
    assert (found["status"], found["predicted"], found["contradicted"]) == ("judged", "Wrist", "")
    assert found["mismatch"] == pytest.approx(0.53)
    assert judged(wrist, {"Wrist": 0.3, "Hand": 0.47}, several=several)["contradicted"] != ""
    hardly = judged(wrist, {"Wrist": 0.08, "Hand": 0.07}, several=several, sure=False)
    assert (hardly["status"], hardly["contradicted"]) == ("not sure", "")
    region = judged(Registration(body_part="SPINE"), {"Lumbar Spine": 0.4, "Thoracic Spine": 0.05}, several=several)
    assert region["contradicted"] == ""


@pytest.mark.parametrize(
    ("registration", "options", "status"),
    [
        (Registration(), {}, "unregistered"),
        (Registration(body_part="CHEST"), {}, "judged"),  # the class for the rest fits
        (Registration(body_part="KNEE"), {"sure": False}, "not sure"),
        (Registration(body_part="KNEE"), {"sure": False, "ood_score": 1.01}, "out of distribution"),
        (Registration(body_part="KNEE"), {"ood_score": 1.0}, "judged"),
    ],
)
def test_who_is_judged(registration: Registration, options: dict, status: str) -> None:
    found = judged(registration, {"Knee": 0.9}, **options)
    assert found["status"] == status
    assert np.isnan(found["mismatch"]) == (status != "judged")


def test_a_part_that_the_model_has_no_class_for_is_not_judged() -> None:
    found = judge(Registration(body_part="CHEST"), answer(np.array([0.9, 0.1]), ("Hand", "Knee")), 0.5)
    assert found["status"] == "no class"


def test_an_image_that_hardly_can_be_what_it_is_registered_as_is_judged_though_the_model_is_not_sure() -> None:
    registration = Registration(body_part="HAND")
    statuses = []
    for of_hand in (0.3, 0.05):
        probability = np.array([of_hand, 0.1, 0.4, 0.4, 0.05, 0.05, 0.05])
        row = judge(registration, answer(probability, labels=probability >= 0.4, sure=False), 0.5)
        statuses.append(row["status"])
    assert statuses == ["not sure", "judged"]
