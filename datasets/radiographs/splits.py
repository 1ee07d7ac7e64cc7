"""Leak-free cross-validation: folds grouped by patient and stratified over several labels at once.

scikit-learn and related packages have splitters that are grouped, stratified or multi-label, but none that is all three.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from radiographs.formulas import neutral, original
from radiographs.listing import PSEUDONYM
from radiographs.tables import read_table

PARTS = ("train", "valid", "test")
COLUMNS = ("image_id", "repeat", "fold", "part")
_MOVES = 100_000  # approximate number of trials in total


class SplitsError(ValueError):
    """Splits that cannot be made, or a splits file that does not match the data; one line."""


class GroupedMultilabelKFold:
    """K folds of whole groups with the share of every label as even as possible.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011) carried over from images to groups: the groups that hold
    the rarest labels are placed first, each where it lowers the chi-squared distance to even shares most; then groups are
    moved and exchanged as long as that lowers it further.

    Parameters
    ----------
    n_splits : int, default 5
        Number of folds, at least 2.
    seed : int, default 0
        Decides between equally good placements.

    Raises
    ------
    SplitsError
        If there are fewer groups than folds.
    """

    def __init__(self, n_splits: int = 5, *, seed: int = 0) -> None:
        self.n_splits = n_splits
        self.seed = seed

    def split(
        self,
        X: object,  # noqa: ARG002 - scikit-learn's signature
        y: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (train, test) positions for each fold.

        `X` is ignored; `y` is (n, n_classes) of 0 and 1, or (n,) labels of any kind; `groups` is (n,); without it each image is its own group.
        """
        y = np.asarray(y)
        if y.ndim == 1:
            y = (y[:, None] == np.unique(y)).astype(np.int8)  # (n, n_classes)
        fold = self.assign(y, np.arange(len(y)) if groups is None else groups)
        for k in range(self.n_splits):
            yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:  # noqa: ARG002 - scikit-learn's signature
        """Return the number of folds."""
        return self.n_splits

    def __repr__(self) -> str:
        """Return the call that makes this splitter."""
        return f"GroupedMultilabelKFold(n_splits={self.n_splits}, seed={self.seed})"

    def assign(self, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Fold number of each image, (n,) int64, for y (n, n_classes) and groups (n,)."""
        if self.n_splits < 2:
            raise SplitsError(f"{self.n_splits} fold(s) cannot be split into training and test parts: give 2 or more")
        member, names = pd.factorize(np.asarray(groups).astype(str), sort=True)
        if len(names) < 2:
            raise SplitsError(
                "all images belong to one group, so none can be held out for a test: name the patients (--group-column), or give images of more"
            )
        if len(names) < self.n_splits:
            raise SplitsError(f"{len(names)} groups cannot fill {self.n_splits} folds: give at most {len(names)} folds")
        counts = _group_counts(np.asarray(y), member, len(names), self.n_splits)  # (n_groups, n_columns)
        fold = _place(counts, self.n_splits, np.random.default_rng(self.seed))
        return fold[member]


def _group_counts(y: np.ndarray, member: np.ndarray, n_groups: int, n_splits: int) -> np.ndarray:
    """Count the images of each label, of each frequent label set, and in total, in every group."""
    which, label_sets, sizes = _label_sets(y)
    frequent = np.flatnonzero((sizes >= n_splits) & (label_sets.sum(axis=1) > 1))
    columns = [*y.T, *(which == number for number in frequent), np.ones(len(y))]
    counts = np.stack([np.bincount(member, column, n_groups) for column in columns], axis=1)
    return counts[:, counts.sum(axis=0) > 0]


def _label_sets(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the number of the label set of each image (n,), the sets (n_sets, n_classes) in the order of their rows, and their sizes."""
    if y.shape[1] > 62:  # more than fit into one integer
        label_sets, which, sizes = np.unique(y, axis=0, return_inverse=True, return_counts=True)
        return which.ravel(), label_sets, sizes
    codes = y.astype(np.int64) @ (1 << np.arange(y.shape[1])[::-1])
    _, first, which, sizes = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    return which, y[first], sizes


def _place(counts: np.ndarray, n_splits: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each group: greedy, rarest label first, then refined."""
    n_groups = len(counts)
    wanted = counts.sum(axis=0) / n_splits  # (n_columns,) images per fold
    holders = (counts > 0).sum(axis=0)  # (n_columns,) groups with each label
    rarest = np.where(counts > 0, holders, n_groups + 1).min(axis=1)
    shuffled = rng.permutation(n_groups)
    order = shuffled[np.lexsort((-counts[shuffled, -1], rarest[shuffled]))]
    fold = np.full(n_groups, -1)
    have = np.zeros((n_splits, counts.shape[1]))
    for group in order:
        cost = (counts[group] * (2 * (have - wanted) + counts[group]) / wanted).sum(axis=1)
        best = np.flatnonzero(cost <= cost.min() + 1e-9)
        fold[group] = best[0] if len(best) == 1 else rng.choice(best)
        have[fold[group]] += counts[group]
    return _refine(fold, have, counts, wanted, order)


def _refine(
    fold: np.ndarray, have: np.ndarray, counts: np.ndarray, wanted: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """Move single groups between folds while that lowers the chi-squared distance; no fold is emptied.

    Every group is tried ten times at most; fewer if there are many, which are already even after the first placement.
    """
    sizes = np.bincount(fold, minlength=len(have))
    for _ in range(min(10, max(1, _MOVES // len(order)))):
        moved = False
        for group in order:
            home, own = fold[group], counts[group]
            if sizes[home] == 1:
                continue
            gain_leaving = (own * (2 * (have[home] - wanted) - own) / wanted).sum()
            cost = (own * (2 * (have - wanted) + own) / wanted).sum(axis=1)
            cost[home] = np.inf
            there = int(cost.argmin())
            if cost[there] < gain_leaving - 1e-9:
                have[home] -= own
                have[there] += own
                sizes[home] -= 1
                sizes[there] += 1
                fold[group] = there
                moved = True
        if not moved:
            break
    return fold


def make_splits(
    image_ids: list[str], y: np.ndarray, groups: np.ndarray, *, folds: int, repeats: int, seed: int
) -> pd.DataFrame:
    """Train, validation and test part of every repeat and fold.

    The validation part is one share of the images outside the test part, cut by the same rule: by group, stratified. With
    `folds` = 5 about 68 % of the images train, 12 % validate and 20 % test.

    Parameters
    ----------
    image_ids : list of str, n
        Names of the images.
    y : ndarray of shape (n, n_classes)
        Of 0 and 1.
    groups : ndarray of shape (n,)
        Group names.

    Returns
    -------
    DataFrame
        With the columns image_id, repeat, fold, part; n rows for each repeat and fold.

    Raises
    ------
    SplitsError
        If `folds` or `repeats` is too small, or larger than the number of groups allows.
    """
    if repeats < 1:
        raise SplitsError(f"--repeats {repeats}: give 1 or more")
    ids = np.asarray(image_ids, dtype=object)
    tables = []
    for repeat in range(repeats):
        fold_of = GroupedMultilabelKFold(folds, seed=seed + 1000 * repeat).assign(y, groups)
        for fold in range(folds):
            part = np.where(fold_of == fold, "test", "train").astype(object)
            rest = np.flatnonzero(fold_of != fold)
            inner = min(max(folds + 2, 5), len(np.unique(groups[rest])))
            if inner < 2:
                raise SplitsError(
                    "the images outside a test part are all of one group: no validation part can be cut from them"
                )
            inner_fold = GroupedMultilabelKFold(inner, seed=seed + 1000 * repeat + fold + 1).assign(
                y[rest], groups[rest]
            )
            part[rest[inner_fold == 0]] = "valid"
            tables.append(pd.DataFrame({"image_id": ids, "repeat": repeat, "fold": fold, "part": part}))
    return pd.concat(tables, ignore_index=True)


def published_parts(
    image_ids: list[str], y: np.ndarray, groups: np.ndarray, parts: np.ndarray, *, seed: int
) -> pd.DataFrame:
    """Return the splits defined by folders called train, val and test, as one fold.

    Without a test part the validation part is the test part; a missing validation part is cut from the training part by group.

    Parameters
    ----------
    image_ids : list of str, n
        Names of the images.
    y : ndarray of shape (n, n_classes)
        Of 0 and 1.
    groups : ndarray of shape (n,)
        Group names.
    parts : ndarray of shape (n,)
        "train", "valid", "test", or empty.

    Raises
    ------
    SplitsError
        If the folders are not such a split, or an image is in none of them.
    """
    part = np.asarray(parts, dtype=object).copy()
    if not (part != "").any():
        raise SplitsError("--splits folders: the data have no folders called train, val and test")
    if (part == "").any():
        raise SplitsError(f"--splits folders: {int((part == '').sum())} images are outside train, val and test")
    if not (part == "test").any():
        part[part == "valid"] = "test"
    if not (part == "valid").any() and (part == "train").any():
        rows = np.flatnonzero(part == "train")
        shares = min(7, len(np.unique(groups[rows])))
        part[rows[GroupedMultilabelKFold(shares, seed=seed).assign(y[rows], groups[rows]) == 0]] = "valid"
    return pd.DataFrame({"image_id": np.asarray(image_ids, dtype=object), "repeat": 0, "fold": 0, "part": part})


def held_out(y: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which images are held out for a final test: a share of the groups, stratified like folds.

    Parameters
    ----------
    y : ndarray of shape (n, n_classes)
        Of 0 and 1.
    groups : ndarray of shape (n,)
        Group names.
    share : float
        Above 0, at most 0.5.

    Returns
    -------
    ndarray of shape (n,), bool

    Raises
    ------
    SplitsError
        If the share is out of range, or there are too few groups.
    """
    if not 0 < share <= 0.5:
        raise SplitsError(f"--holdout {share:g}: give a share above 0 and up to 0.5, or a folder with --test")
    exact = round(1 / share)
    parts, taken = (exact, 1) if abs(exact * share - 1) < 0.02 else (20, max(1, round(20 * share)))
    if len(np.unique(groups)) < parts:
        raise SplitsError(f"--holdout {share:g}: needs {parts} groups or more; found {len(np.unique(groups))}")
    return GroupedMultilabelKFold(parts, seed=seed).assign(y, groups) < taken


def nested_share(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows belong to a share of the groups, at least one; a smaller share of the same groups is part of a larger one.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        Group names.
    share : float
        In (0, 1].

    Returns
    -------
    ndarray of shape (n,), bool
    """
    groups = np.asarray(groups).astype(str)
    names = np.unique(groups)
    order = np.random.default_rng(seed).permutation(len(names))
    return np.isin(groups, names[order[: max(1, round(share * len(names)))]])


def digest(splits: pd.DataFrame) -> str:
    """SHA-256 over the sorted rows ``repeat,fold,part,image_id``: independent of file format and row order."""
    rows = sorted(f"{r},{f},{p},{i}" for i, r, f, p in splits[list(COLUMNS)].itertuples(index=False))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def read_splits(path: Path) -> pd.DataFrame:
    """Read a published splits file: parquet, CSV, or a JSON list of records with image_id, repeat, fold, part."""
    try:
        table = _READERS[path.suffix.lower()](path)
    except KeyError:
        raise SplitsError(f"{path}: splits are read from .parquet, .csv or .json files") from None
    except Exception as error:  # noqa: BLE001 - pyarrow raises anything on damaged files
        raise SplitsError(f"{path}: cannot be read as splits ({' '.join(str(error).split())[:150]})") from None
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise SplitsError(f"{path}: no column {', '.join(missing)}; a splits file has {', '.join(COLUMNS)}")
    table = table[list(COLUMNS)].astype({"image_id": str, "part": str})
    try:
        return table.astype({"repeat": int, "fold": int})
    except (TypeError, ValueError):
        raise SplitsError(f"{path}: repeat and fold must be whole numbers in every row") from None


_READERS = {
    ".parquet": pd.read_parquet,
    ".csv": lambda path: _with_ids(read_table(path), original),
    ".json": lambda path: pd.DataFrame(json.loads(path.read_text(encoding="utf-8-sig"))),
}


def _with_ids(table: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    return table.assign(image_id=table["image_id"].map(change)) if "image_id" in table else table


def write_splits(splits: pd.DataFrame, path: Path) -> None:
    """Write a splits file that `read_splits` reads; the ending decides its format.

    Raises
    ------
    SplitsError
        For another ending, or where it cannot be written.
    """
    writers = {
        ".parquet": lambda: splits.to_parquet(path, index=False),
        ".csv": lambda: _with_ids(splits, neutral).to_csv(path, index=False, lineterminator="\n"),
        ".json": lambda: splits.to_json(path, orient="records", indent=0),
    }
    if path.suffix.lower() not in writers:
        raise SplitsError(f"{path}: splits are written to .parquet, .csv or .json files")
    try:
        writers[path.suffix.lower()]()
    except OSError as error:
        raise SplitsError(f"{path}: cannot be written ({error.strerror or error})") from None


def _other_names(strange: list[str], absent: list[str]) -> str:
    """Return advice if one side names images by file name and the other by SHA-256."""
    theirs, ours = ({bool(re.fullmatch(PSEUDONYM, image)) for image in each} for each in (strange, absent))
    if (theirs, ours) == ({False}, {True}):
        return "; images here are named by SHA-256: if the file uses file names, give --keep-identifiers"
    if (theirs, ours) == ({True}, {False}):
        return "; the file names images by SHA-256: leave out --keep-identifiers"
    return ""


def check_splits(splits: pd.DataFrame, image_ids: list[str], groups: np.ndarray, name: str) -> None:
    """Refuse splits that do not belong to this data set or that leak.

    Raises
    ------
    SplitsError
        Unknown or missing images, an image twice in one fold, an unknown part name, an empty part, an image tested in more
        or less than one fold of a repeat (but where there is one fold, a fixed test set), or a group with images in two parts
        of one fold.
    """
    known = set(image_ids)
    strange = sorted(set(splits["image_id"]) - known)
    absent = sorted(known - set(splits["image_id"]))
    if strange or absent:
        example = (strange or absent)[0]
        raise SplitsError(
            f"{name}: made for another data set: {len(strange)} of its images are missing here and {len(absent)} images here are missing in it (such as {example!r})"
            f"{_other_names(strange, absent)}"
        )
    wrong = sorted(set(splits["part"]) - set(PARTS))
    if wrong:
        raise SplitsError(f"{name}: part {wrong[0]!r} is unknown; the parts are {', '.join(PARTS)}")
    group_of = dict(zip(image_ids, np.asarray(groups).astype(str), strict=True))
    for (repeat, fold), rows in splits.groupby(["repeat", "fold"]):
        _check_fold(rows, group_of, f"{name}: repeat {repeat}, fold {fold}", len(image_ids))
    if splits["fold"].nunique() == 1:
        return  # one fixed test set
    tested = splits[splits["part"] == "test"].groupby(["repeat", "image_id"]).size()
    if len(tested) != splits["repeat"].nunique() * len(image_ids) or (tested != 1).any():
        raise SplitsError(f"{name}: not every image is tested exactly once in each repeat")


def _check_fold(rows: pd.DataFrame, group_of: dict[str, str], where: str, n_images: int) -> None:
    if len(rows) != n_images or rows["image_id"].duplicated().any():
        raise SplitsError(
            f"{where}: has {len(rows)} rows for {n_images} images; each image must occur once in each fold"
        )
    empty = [part for part in PARTS if not (rows["part"] == part).any()]
    if empty:
        raise SplitsError(f"{where}: the {empty[0]} part is empty")
    parts = rows.groupby(rows["image_id"].map(group_of))["part"].nunique()
    if (parts > 1).any():
        raise SplitsError(f"{where}: group {parts.index[parts > 1][0]!r} has images in more than one part, which leaks")
