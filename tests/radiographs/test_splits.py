"""Folds: whole groups, even shares, nothing lost, nothing twice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radiographs.sources import open_source
from radiographs.splits import (
    GroupedMultilabelKFold,
    SplitsError,
    check_splits,
    digest,
    make_splits,
    nested_share,
    published_parts,
    read_splits,
    write_splits,
)
from sklearn.model_selection import GroupKFold


def data(n: int, n_groups: int, n_classes: int, seed: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random((n, n_classes)) < 0.2).astype(np.int8)
    y[np.arange(n), rng.integers(n_classes, size=n)] = 1
    groups = np.concatenate([np.arange(n_groups), rng.integers(n_groups, size=n - n_groups)]).astype(str)
    return [f"i{k}" for k in range(n)], y, groups


@settings(max_examples=30, deadline=None)
@given(
    n_groups=st.integers(8, 60),
    extra=st.integers(0, 100),
    n_classes=st.integers(2, 8),
    folds=st.integers(2, 6),
    repeats=st.integers(1, 2),
    seed=st.integers(0, 5),
)
def test_all_splits_are_whole_and_do_not_leak(
    n_groups: int, extra: int, n_classes: int, folds: int, repeats: int, seed: int
) -> None:
    ids, y, groups = data(n_groups + extra, n_groups, n_classes, seed)
    splits = make_splits(ids, y, groups, folds=folds, repeats=repeats, seed=seed)
    check_splits(splits, ids, groups, "made")
    assert len(splits) == len(ids) * folds * repeats


def test_the_same_seed_gives_the_same_digest_and_another_seed_another() -> None:
    ids, y, groups = data(100, 40, 5, 0)
    first, again, other = (digest(make_splits(ids, y, groups, folds=5, repeats=1, seed=s)) for s in (0, 0, 1))
    assert first == again != other


def test_the_digest_does_not_depend_on_the_order_of_rows() -> None:
    ids, y, groups = data(50, 20, 3, 0)
    splits = make_splits(ids, y, groups, folds=3, repeats=1, seed=0)
    assert digest(splits) == digest(splits.sample(frac=1, random_state=0))


@given(shares=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)), n_groups=st.integers(1, 50), seed=st.integers(0, 9))
def test_a_share_is_of_whole_groups_and_a_smaller_one_part_of_a_larger(
    shares: tuple[float, float], n_groups: int, seed: int
) -> None:
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(n_groups), 3)).astype(str)
    small, large = (nested_share(groups, share, seed) for share in sorted(shares))
    assert not (small & ~large).any()
    for share, chosen in zip(sorted(shares), (small, large), strict=True):
        assert not set(groups[chosen]) & set(groups[~chosen])
        assert len(set(groups[chosen])) == max(1, round(share * n_groups))


def test_unifesp_labels_are_spread_more_evenly_than_by_group_alone(shared: Path) -> None:
    items = open_source(shared / "data/unifesp").items
    names = sorted({label for labels in items["labels"] for label in labels})
    y = np.array([[name in labels for name in names] for labels in items["labels"]], np.int8)
    groups = items["group"].to_numpy()

    def empty_and_uneven(splitter) -> tuple[int, float]:
        counts = np.array([y[test].sum(axis=0) for _, test in splitter.split(y, y, groups)])
        return int((counts == 0).sum()), float((np.abs(counts - y.sum(axis=0) / 5) / y.sum(axis=0)).mean())

    ours, plain = empty_and_uneven(GroupedMultilabelKFold(5)), empty_and_uneven(GroupKFold(5))
    assert ours[0] <= 4  # classes of three patients cannot be in all of five folds
    assert ours[0] <= plain[0]
    assert ours[1] < plain[1] / 3


def test_a_rare_class_is_in_as_many_folds_as_it_has_groups() -> None:
    y = np.zeros((60, 2), np.int8)
    y[:, 0] = 1
    y[:3, 1] = 1
    fold = GroupedMultilabelKFold(5).assign(y, np.arange(60))
    assert len(set(fold[:3])) == 3


@pytest.mark.parametrize(("folds", "message"), [(1, "1 fold.*give 2 or more"), (9, "8 groups cannot fill 9 folds")])
def test_impossible_folds_are_refused(folds: int, message: str) -> None:
    ids, y, groups = data(20, 8, 3, 0)
    with pytest.raises(SplitsError, match=message):
        make_splits(ids, y, groups, folds=folds, repeats=1, seed=0)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
def test_a_published_file_gives_the_same_splits(tmp_path: Path, suffix: str) -> None:
    ids, y, groups = data(40, 20, 3, 0)
    splits = make_splits(ids, y, groups, folds=4, repeats=2, seed=0)
    path = tmp_path / f"splits.{suffix}"
    {
        "parquet": splits.to_parquet,
        "csv": lambda p: splits.to_csv(p, index=False),
        "json": lambda p: splits.to_json(p, orient="records"),
    }[suffix](path)
    assert digest(read_splits(path)) == digest(splits)


def broken(splits: pd.DataFrame, how: str) -> pd.DataFrame:
    if how == "another data set":
        return splits.assign(image_id="other-" + splits["image_id"])
    if how == "Unknown part":
        return splits.assign(part=splits["part"].replace("valid", "dev"))
    if how == "leak":
        test = splits.index[(splits["fold"] == 0) & (splits["part"] == "test")]
        return splits.assign(part=splits["part"].mask(splits.index == test[0], "train"))
    return splits.drop(index=splits.index[0])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("another data set", "made for another data set"),
        ("Unknown part", "part 'dev' is unknown"),
        ("leak", "leaks"),
        ("lost row", "each image must occur once in each fold"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(how: str, message: str) -> None:
    ids, y, _ = data(40, 10, 3, 0)
    groups = np.repeat(np.arange(10), 4).astype(str)
    splits = make_splits(ids, y, groups, folds=4, repeats=1, seed=0)
    with pytest.raises(SplitsError, match=message):
        check_splits(broken(splits, how), ids, groups, "file")


def test_one_fixed_test_set_is_a_split_too_and_may_not_leak() -> None:
    ids, y, _ = data(40, 10, 3, 0)
    groups = np.repeat(np.arange(10), 4).astype(str)
    one = make_splits(ids, y, groups, folds=4, repeats=1, seed=0).query("fold == 0")
    check_splits(one, ids, groups, "file")
    with pytest.raises(SplitsError, match="leaks"):
        check_splits(broken(one, "leak"), ids, groups, "file")
    two = make_splits(ids, y, groups, folds=4, repeats=1, seed=0).query("fold < 2")
    with pytest.raises(SplitsError, match="not every image is tested exactly once"):
        check_splits(two, ids, groups, "file")


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image_id,fold\na,0\n")
    with pytest.raises(SplitsError, match="no column repeat, part"):
        read_splits(tmp_path / "x.csv")
    (tmp_path / "x.parquet").write_bytes(b"junk")
    with pytest.raises(SplitsError, match="cannot be read as splits"):
        read_splits(tmp_path / "x.parquet")
    with pytest.raises(SplitsError, match=r"are read from \.parquet"):
        read_splits(tmp_path / "x.txt")


def test_scikit_learn_takes_it_for_one_of_its_own() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    from sklearn.dummy import DummyClassifier

    ids, y, groups = data(200, 60, 4, 0)
    X, labels = np.zeros((len(ids), 2)), np.array(["a", "b", "c", "d"])[y.argmax(axis=1)]
    splitter = GroupedMultilabelKFold(4, seed=3)
    assert selection.check_cv(splitter) is splitter
    assert splitter.get_n_splits(X, labels, groups) == 4
    assert repr(splitter) == "GroupedMultilabelKFold(n_splits=4, seed=3)"
    for target in (y, labels):
        tested = np.zeros(len(ids), int)
        for train, test in splitter.split(X, target, groups):
            assert not set(groups[train]) & set(groups[test])
            assert sorted([*train, *test]) == list(range(len(ids)))
            tested[test] += 1
        assert (tested == 1).all()
    scores = selection.cross_val_score(DummyClassifier(), X, labels, groups=groups, cv=splitter)
    assert len(scores) == 4
    search = selection.GridSearchCV(DummyClassifier(), {"strategy": ["prior", "uniform"]}, cv=splitter)
    assert search.fit(X, labels, groups=groups).n_splits_ == 4
    assert len(list(splitter.split(X, labels))) == 4


def test_more_labels_than_an_integer_has_bits_are_split_too() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((300, 70)) < 0.05).astype(np.int8)
    fold = GroupedMultilabelKFold(3).assign(y, rng.integers(0, 90, 300))
    assert set(fold) == {0, 1, 2}


def test_splits_are_published_as_a_run_would_make_them(bench_command, phantom_folder: Path, tmp_path: Path) -> None:
    done = bench_command("splits", phantom_folder, "--folds", 3, "--out", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    table = read_splits(tmp_path / "s.json")
    assert digest(table) in done.stdout
    run = bench_command("run", "prior", "--data", phantom_folder, "--folds", 3, "--out", tmp_path / "run")
    assert run.returncode == 0
    assert digest(pd.read_parquet(tmp_path / "run" / "splits.parquet")) == digest(table)
    again = bench_command(
        "run", "prior", "--data", phantom_folder, "--splits", tmp_path / "s.json", "--out", tmp_path / "again"
    )
    assert again.returncode == 0, again.stderr
    assert bench_command("splits", phantom_folder, "--out", tmp_path / "s.xlsx").returncode == 2


def test_folders_that_are_a_split_become_one_fold() -> None:
    ids, groups = [f"i{k}" for k in range(40)], np.array([f"g{k // 2}" for k in range(40)])
    y = np.eye(2, dtype=np.int8)[np.arange(40) // 2 % 2]
    parts = np.array(["train"] * 30 + ["test"] * 10)
    found = published_parts(ids, y, groups, parts, seed=0)
    check_splits(found, ids, groups, "folders")
    assert (found["part"][30:] == "test").all()
    assert found["part"][:30].value_counts().to_dict() == {"train": 26, "valid": 4}
    as_test = published_parts(ids, y, groups, np.where(parts == "test", "valid", parts), seed=0)
    assert as_test.equals(found)
    whole = np.where(np.arange(40) < 20, "train", np.where(np.arange(40) < 30, "valid", "test"))
    assert published_parts(ids, y, groups, whole, seed=0)["part"].tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("parts", "said"), [([""] * 4, "have no folders called train"), (["train", "", "test", ""], "2 images are")]
)
def test_folders_that_are_no_split_are_refused(parts: list[str], said: str) -> None:
    y, groups = np.eye(2, dtype=np.int8)[[0, 1, 0, 1]], np.array(list("abcd"))
    with pytest.raises(SplitsError, match=said):
        published_parts(list("abcd"), y, groups, np.array(parts), seed=0)


def test_images_of_one_group_are_refused_with_a_way_out() -> None:
    with pytest.raises(SplitsError, match=r"all images belong to one group.*--group-column"):
        GroupedMultilabelKFold(5).assign(np.ones((4, 1)), np.array(["g"] * 4))


def test_a_spreadsheet_runs_nothing_of_published_splits_and_they_are_read_as_they_were(tmp_path: Path) -> None:
    ids = ["=1+1.dcm", "'=1", "+a", "-b", "@c", "＝d", "plain", "'quoted'", '=HYPERLINK("http://x")', "\ttab"]
    splits = pd.DataFrame({"image_id": ids, "repeat": 0, "fold": 0, "part": "train"})
    write_splits(splits, tmp_path / "splits.csv")
    written = pd.read_csv(tmp_path / "splits.csv", keep_default_na=False)["image_id"]
    assert not written.str.match(r"[=+\-@\t\r\n＝]").any()
    assert written[6] == "plain"
    assert read_splits(tmp_path / "splits.csv")["image_id"].tolist() == ids
    assert digest(read_splits(tmp_path / "splits.csv")) == digest(splits)
