"""The list of exams that do not fit: its order, its words, its tables, its page."""

import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from reports.pages import audit
from reports.pages.audit import html
from reports.tables.worklist import COLUMNS, rank_exams, worklist_csv, worklist_json
from tests.reports.conftest import HOSTILE
from tests.reports.pages.test_browser import Browser, browser  # noqa: F401 - the fixture

FACTS = {
    "model": "hog-svm", "classes": ["Hand", "Knee"], "threshold": 0.5, "pseudonyms": False, "several_labels": True,
    "unknown_classes": ["XYZ"], "passed_over": ["2 files skipped: DICOMDIR"],
}  # fmt: skip


def image(file: str, exam: str, mismatch: float = np.nan, *, status: str = "judged", **values: object) -> dict:
    row = {
        "file": file, "exam": exam, "status": status, "reason": "", "registered": "knee", "contradicted": "exam" if mismatch >= 0.5 else "",
        "predicted": "Ankle" if mismatch >= 0.5 else "Knee", "confidence": max(mismatch, 1 - mismatch), "mismatch": mismatch, "ood_score": 0.5,
        "requested_parts": "knee", "visible_parts": "" if mismatch >= 0.5 else "knee",
    }  # fmt: skip
    return row | values


def picture(level: int = 90) -> bytes:
    return cv2.imencode(".webp", np.full((192, 192), level, np.uint8))[1].tobytes()


@pytest.fixture
def images() -> pd.DataFrame:
    """Five exams: two that do not fit, one that lacks a part, one set apart, one that fits; and a file without exam."""
    return pd.DataFrame(
        [
            image("a1", "A", 0.97),
            image("a2", "A", 0.9, predicted="Ankle; Foot"),
            image("a3", "A", 0.02, visible_parts="knee"),
            image("b1", "B", 0.99, contradicted="body part; exam"),
            image("c1", "C", 0.1, requested_parts="knee; hand"),
            image("d1", "D", status="not sure", confidence=0.4),
            image("d2", "D", status="out of distribution", ood_score=3.0),
            image("e1", "E", 0.0),
            image(
                "f1", "", status="failed", reason="empty file (0 bytes)", registered="", predicted="", confidence=np.nan
            ),
        ]
    )


def test_exams_stand_in_the_order_of_their_worst_image(images: pd.DataFrame) -> None:
    exams = rank_exams(images, 0.5)
    assert list(exams.columns) == [*COLUMNS]
    assert list(exams["exam"]) == ["B", "A", "C", "D", "E"]
    assert list(exams["rank"]) == [1, 2, 3, 4, 5]
    assert list(exams["status"]) == ["does not fit", "does not fit", "part not seen", "set apart", "fits"]
    assert list(exams["mismatch"][:2]) == [0.99, 0.97]


def test_each_line_says_in_words_what_was_seen(images: pd.DataFrame) -> None:
    said = rank_exams(images, 0.5).set_index("exam")["summary"]
    assert said["A"] == "registered as knee (exam); 2 of 3 images look like Ankle, Foot (0.97)"
    assert said["B"] == "registered as knee (body part, exam); 1 of 1 image looks like Ankle (0.99); no image of: knee"
    assert said["C"] == "no image of: hand"
    assert said["D"] == said["E"] == ""


def test_nothing_is_said_to_be_certain() -> None:
    images = pd.DataFrame([image("a1", "A", 0.9999)])
    exams = rank_exams(images, 0.5)
    assert exams["summary"][0].endswith("looks like Ankle (over 0.99); no image of: knee")
    assert "1.00" not in re.sub(r"<(style|script)>.*?</\1>", "", html(exams, images, {}, FACTS), flags=re.DOTALL)


def test_images_that_are_not_sure_or_out_of_distribution_accuse_nobody() -> None:
    images = pd.DataFrame(
        [
            image(f"x{k}", "X", 0.99, status=status)
            for k, status in enumerate(("not sure", "out of distribution", "unregistered", "no class"))
        ]
    )
    exam = rank_exams(images, 0.5).iloc[0]
    assert exam["status"] == "set apart"
    assert pd.isna(exam["mismatch"])
    assert (exam["not_sure"], exam["out_of_distribution"], exam["unregistered"], exam["not_seen"]) == (1, 1, 1, "")


def test_a_part_is_missed_only_where_every_image_was_judged(images: pd.DataFrame) -> None:
    assert rank_exams(images, 0.5).set_index("exam")["not_seen"]["C"] == "hand"
    more = pd.concat([images, pd.DataFrame([image("c2", "C", status="out of distribution")])])
    assert rank_exams(more, 0.5).set_index("exam")["not_seen"]["C"] == ""


def test_the_threshold_decides_who_is_listed(images: pd.DataFrame) -> None:
    assert (rank_exams(images, 0.98)["status"] == "does not fit").sum() == 1
    assert (rank_exams(images, 1.0)["status"] == "does not fit").sum() == 0
    assert rank_exams(images, 0.98).set_index("exam")["mismatches"]["A"] == 0


def test_an_audit_of_nothing_that_could_be_read_has_an_empty_list(images: pd.DataFrame) -> None:
    failed = images[images["status"] == "failed"]
    exams = rank_exams(failed, 0.5)
    assert list(exams.columns) == [*COLUMNS]
    assert len(exams) == 0
    assert "0 of 0 exams" in html(exams, failed, {}, FACTS)


def test_the_csv_reads_back_and_runs_nothing_in_a_spreadsheet(images: pd.DataFrame) -> None:
    images.loc[0:2, "exam"] = "=cmd|'/c calc'!A0"
    table = pd.read_csv(io.StringIO(worklist_csv(rank_exams(images, 0.5))), dtype=str, keep_default_na=False)
    assert table["exam"][1] == "'=cmd|'/c calc'!A0"
    assert list(table["mismatch"]) == ["0.990", "0.970", "0.100", "", "0.000"]


def test_the_json_holds_the_same_with_every_image(images: pd.DataFrame) -> None:
    exams = rank_exams(images, 0.5)
    read = json.loads(worklist_json(exams, images, FACTS))
    assert (read["schema"], read["threshold"], read["model"]) == (2, 0.5, "hog-svm")
    assert [exam["exam"] for exam in read["exams"]] == list(exams["exam"])
    assert [len(exam["images"]) for exam in read["exams"]] == [1, 3, 1, 2, 1]
    assert read["exams"][3]["mismatch"] is None
    assert {i["file"] for i in read["exams"][1]["images"]} == {"a1", "a2", "a3"}


def test_the_page_shows_the_evidence_and_what_is_set_apart(images: pd.DataFrame) -> None:
    page = html(rank_exams(images, 0.5), images, {file: picture() for file in images["file"]}, FACTS)
    assert "2 of 5 exams do not fit" in page
    for text in (
        "2 of 3 images look like Ankle, Foot (0.97)",
        "no image of",
        "empty file (0 bytes)",
        "XYZ",
        "2 files skipped: DICOMDIR",
    ):
        assert text in page
    shown = set(re.findall(r'data-picture="([^"]*)"', page))
    assert shown == {"a1", "a2", "b1", "d1", "d2"}
    assert "accession numbers" in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_the_page_says_whether_names_are_numbers_and_which_formula_was_used(images: pd.DataFrame) -> None:
    exams = rank_exams(images, 0.5)
    plain, coded = (html(exams, images, {}, FACTS | {"pseudonyms": p, "several_labels": not p}) for p in (False, True))
    assert "running numbers" in coded
    assert "accession numbers" not in coded
    assert "the largest calibrated probability" in plain
    assert "the sum of the calibrated probabilities" in coded


def test_hostile_names_stay_text(images: pd.DataFrame) -> None:
    for column in ("exam", "file", "registered", "predicted", "reason"):
        images[column] = [f"{HOSTILE[k % len(HOSTILE)]}{k}" for k in range(len(images))]
    page = html(rank_exams(images, 0.5), images, {file: picture() for file in images["file"]}, FACTS)
    assert "<script>alert" not in page
    assert "{{7*7}}" in page


def test_pictures_end_where_there_is_no_room(images: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 2 * len(picture()) + 10)
    page = html(rank_exams(images, 0.5), images, {file: picture() for file in images["file"]}, FACTS)
    gallery = json.loads(re.search(r"GALLERY = (\{.*?\});", page)[1])
    assert [entry[0] for entry in gallery["images"]] == ["b1", "a1"]


def test_long_lists_end_and_say_how_many_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_EXAMS", 3)
    monkeypatch.setattr(audit, "MAX_ROWS", 2)
    images = pd.DataFrame(
        [image(f"a{k}", f"A{k}", 0.9) for k in range(5)]
        + [image(f"s{k}", f"S{k}", status="out of distribution") for k in range(5)]
    )
    page = html(rank_exams(images, 0.5), images, {}, FACTS)
    assert "2 more are in worklist.csv" in page
    assert "3 more are in images.csv" in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_accessible_and_fits_a_phone(
    browser: Browser,  # noqa: F811 - the fixture
    images: pd.DataFrame,
    tmp_path: Path,
    width: int,
) -> None:
    page = tmp_path / "audit.html"
    page.write_text(html(rank_exams(images, 0.5), images, {file: picture() for file in images["file"]}, FACTS), "utf-8")
    browser.ask("window/rect", {"width": width, "height": 1000})
    browser.open(page)
    assert browser.log("browser") == []
    assert browser.run("return [...document.images].filter(i => i.naturalWidth === 192 && !i.hidden).length") == 5
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.complaints() == []
