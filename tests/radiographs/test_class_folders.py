"""Classes are found below folders that wrap them, beside what operating systems leave, and are never the parts of a split."""

import pytest
from radiographs.class_folders import are_identifiers, find_class_folders


def paths(*texts: str) -> list[tuple[str, ...]]:
    return [tuple(text.split("/")) for text in texts]


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "valid", "Test"),
        ("train_images", "val_images", "test_images"),
        ("train-set", "dev", "test-set"),
    ],
)
@pytest.mark.parametrize("above", ["", "xrays/", "data/images/"])
def test_parts_of_a_split_are_no_classes(parts: tuple[str, ...], above: str) -> None:
    found = find_class_folders(
        paths(*(f"{above}{part}/{name}/{k}.png" for part in parts for name in "AB" for k in "12"))
    )
    assert found.names == ["A", "B"]
    assert found.parts == ("train",) * 4 + ("valid",) * 4 + ("test",) * 4
    assert any("--splits folders" in note for note in found.notes)


@pytest.mark.parametrize("above", ["images", "data/images", "chest_xray/chest_xray", "IMAGES/all"])
def test_folders_that_hold_everything_are_looked_through(above: str) -> None:
    found = find_class_folders(
        paths(*(f"{above}/{name}/{k}.png" for name in ("knee", "hand") for k in "123"), "logo.png")
    )
    assert found.names == ["hand", "knee"]
    assert found.labels[-1] is None
    assert not any(found.parts)


def test_images_beside_masks_are_looked_through() -> None:
    found = find_class_folders(
        paths(*(f"{top}/{name}/{k}.png" for top in ("images", "masks") for name in "AB" for k in "12"))
    )
    assert found.labels == ("A", "A", "B", "B", None, None, None, None)


def test_a_split_below_the_classes_is_found_where_it_is_whole() -> None:
    whole = paths("A/train/1.png", "A/test/2.png", "B/train/3.png", "B/test/4.png")
    found = find_class_folders(whole)
    assert (found.names, found.parts) == (["A", "B"], ("train", "test", "train", "test"))
    assert not any(find_class_folders([*whole, *paths("B/5.png")]).parts)


def test_folds_are_no_classes_and_no_published_split() -> None:
    found = find_class_folders(paths(*(f"fold{k}/{name}/{k}.png" for k in range(3) for name in "AB")))
    assert found.names == ["A", "B"]
    assert not any(found.parts)


@pytest.mark.parametrize("above", ["fold{k}/{part}", "{part}/fold{k}"])
def test_folds_above_and_below_a_split_are_no_classes(above: str) -> None:
    places = [above.format(k=k, part=part) for k in range(2) for part in ("train", "test")]
    found = find_class_folders(paths(*(f"{place}/{name}/1.png" for place in places for name in "AB")))
    assert found.names == ["A", "B"]
    assert found.parts == ("train", "train", "test", "test") * 2


def test_images_in_train_and_test_without_folders_have_no_class() -> None:
    assert find_class_folders(paths("train/1.png", "train/2.png", "test/3.png")).names == []
    assert find_class_folders(paths("images/1.png", "images/2.png")).names == []


def test_ordinary_classes_stay_what_they_are() -> None:
    for names in (("0", "1", "2"), ("knee", "hand"), ("Test positive", "Test negative"), ("grade0", "grade1")):
        found = find_class_folders(paths(*(f"{name}/patient/{k}.png" for name in names for k in "12")))
        assert (found.names, found.notes) == (sorted(names), ())


def test_hospitals_above_the_classes_are_said() -> None:
    found = find_class_folders(
        paths(*(f"site{s}/{part}/{k}.png" for s in "AB" for part in ("knee", "hand") for k in "12"))
    )
    assert found.names == ["siteA", "siteB"]
    assert "not the 2 folders below each, which have the same names" in found.notes[0]
    assert "layout = 'paths'" in found.notes[0]


def test_one_class_that_holds_patients_is_not_looked_through() -> None:
    assert find_class_folders(paths(*(f"knee/patient{k}/1.png" for k in range(5)))).names == ["knee"]


@pytest.mark.parametrize(
    "name", ["P0012", "patient 3", "1.2.840.113", "2024-01-31", "a3f09c1be7", "case_12", "00012345"]
)
def test_patients_and_exams_are_known_by_their_names(name: str) -> None:
    assert are_identifiers([name, name, "x"])


@pytest.mark.parametrize(
    "name", ["fracture", "0", "KL4", "grade 2", "hand2", "Lower Leg", "facade", "C1-C2", "class0001"]
)
def test_classes_are_not_taken_for_patients(name: str) -> None:
    assert not are_identifiers([name])
