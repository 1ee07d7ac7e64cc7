"""A patient is one however written; words and numbers for nobody are no patient; a study belongs to one patient."""

import pandas as pd
import pytest
from radiographs.patients import identify, join_studies


@pytest.mark.parametrize(
    "word",
    [
        "NA",
        "n/a",
        "nan",
        "None",
        "NULL",
        "-",
        "--",
        "?",
        "unknown",
        "Unknown Patient",
        "ANONYMOUS",
        "anonymized",
        "Anon",
        "xxx",
        "",
        " ",
        "not available",
        "no id",
        "de-identified",
        "#N/A",
    ],
)
def test_words_for_nobody_are_no_patient(word: str) -> None:
    assert identify(pd.Series([word] * 12 + ["P1", "P1", "P2"])).keys.tolist() == [""] * 12 + ["p1", "p1", "p2"]


@pytest.mark.parametrize("word", ["0", "00000", "-1", "999", "TEST"])
def test_a_number_for_everybody_is_none_where_no_patient_can_have_so_many_images(word: str) -> None:
    assert identify(pd.Series([word] * 12 + ["1", "1", "2"])).keys.tolist() == [""] * 12 + ["1", "1", "2"]
    assert (identify(pd.Series([word, word, "1", "1", "2", "2"])).keys != "").all()


@pytest.mark.parametrize("name", ["anon001", "Nana", "P-0", "Nadine", "X1", "unknown7", "patient 9"])
def test_pseudonyms_stay_patients(name: str) -> None:
    assert (identify(pd.Series([name] * 12 + ["P1"])).keys != "").all()


def test_one_value_for_everybody_is_none_but_one_patient_among_unknown_ones_stays() -> None:
    found = identify(pd.Series(["Miller"] * 10))
    assert (found.keys == "").all()
    assert found.notes[0].startswith("D017: 10 images have the same patient")
    assert "Miller" not in found.notes[0]
    assert identify(pd.Series(["Miller"] * 4 + [""] * 10)).keys.tolist()[:4] == ["miller"] * 4


def test_one_patient_in_several_spellings_is_one_and_is_said() -> None:
    found = identify(pd.Series(["p1", "P1 ", "P\u00a01", "007", "7", "7.0", "Zoe\u0301", "zo\u00e9", "p2"]))
    assert found.keys.nunique() == 5
    assert found.notes == ("D018: 3 patients are spelled in several ways, and count as one each",)


def grouped(patients: list[str], studies: list[str]) -> tuple[int, list[str]]:
    known = pd.Series([patient != "" for patient in patients])
    groups = pd.Series([patient or f"own{k}" for k, patient in enumerate(patients)])
    found = join_studies(groups, pd.Series(studies), known)
    return found.groups.nunique(), found.notes


def test_the_images_of_a_study_share_a_group() -> None:
    assert grouped([""] * 8, [f"s{k // 2}" for k in range(8)]) == (4, [])
    assert grouped(["a", "a", "", ""], ["s1", "s2", "s2", ""]) == (2, [])


def test_a_study_of_two_patients_joins_them_and_is_said() -> None:
    n, notes = grouped(["a", "b", "c", "c"], ["s1", "s1", "s2", "s3"])
    assert n == 2
    assert notes == ["D026: 1 StudyInstanceUID stands on images of several patients, who share a group"]


def test_one_study_for_everybody_joins_nobody() -> None:
    assert grouped([f"p{k}" for k in range(9)], ["s"] * 9)[0] == 9
    assert grouped([""] * 9, ["s"] * 9)[0] == 9
    n, notes = grouped([f"p{k}" for k in range(9)], ["s"] * 8 + ["t"])
    assert n == 9
    assert "more than 5 patients" in notes[0]
