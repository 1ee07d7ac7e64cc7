"""Everything before the first cell: find the data, decode, label, split."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from radiographs import splits as splitting
from radiographs.audit.check import studies_of
from radiographs.audit.duplicates import Pair, known_near_duplicates
from radiographs.audit.labels import LONGEST, lost_classes, odd_labels, shown
from radiographs.cards import known_cards
from radiographs.disk import damage, write_checksums
from radiographs.pixels import Pixels, load_pixels, merge_duplicates
from radiographs.sources import Hints, Listing, SourceError, limited, open_source

from bench import environment
from bench.data.dataset import Data, label_matrix
from bench.data.held_out import hold_out_folder, hold_out_share
from bench.recipes.suite import CrossValidation, Suite
from bench.terminal.progress import Progress
from reports.runs.provenance import counted

PHANTOM_IMAGES, PHANTOM_SEED = 300, 0
FOLDERS = "folders"  # value of --splits for the split made by the data's own folders
MANY = 5000  # images, above which the user should know what takes so long


@dataclass(frozen=True)
class Prepared:
    """A data set ready for a run."""

    data: Data
    pixels: Pixels
    manifest: pd.DataFrame
    listing: Listing
    notes: tuple[str, ...]
    published: bool = False  # whether the splits were given

    @property
    def usable(self) -> pd.DataFrame:
        """The rows of the manifest that have pixels, in the order of the images."""
        return self.manifest[self.manifest["status"] == "ok"].reset_index(drop=True)


def find_data(name: str | None, hints: Hints, cache: Path, progress: Progress) -> Listing:
    """Return the listing of a data folder, table or card; of a data set known by name; or of the phantom.

    A name is tried as a path first, then below ``XRAYBENCH_DATA``.

    Raises
    ------
    SourceError
        If there is no such data set; the message says how to get it.
    """
    if name is None or name == "phantom":
        return open_source(_phantom(cache, progress), hints)
    path = Path(name)
    card = known_cards().get(name)
    if path.exists() or card is None:
        return open_source(path, hints)
    home = os.environ.get("XRAYBENCH_DATA")
    if home and (Path(home) / name).is_dir():
        return open_source(Path(home) / name, hints)
    raise SourceError(
        f"--data {name}: {card.title} is not on this machine: give its folder, or set XRAYBENCH_DATA to the folder that holds {name}/; how to get it: bench list datasets"
    )


def _phantom(cache: Path, progress: Progress) -> Path:
    """Folder of the simulated data set, made if it is not cached."""
    from radiographs import phantom

    out = cache / "phantom" / f"v{phantom.VERSION}-{PHANTOM_IMAGES}-{PHANTOM_SEED}"
    damaged = damage(out) if out.exists() else None
    if damaged:
        progress.note(f"cache: phantom: {damaged}: rebuilding it")
        shutil.rmtree(out)
    if not out.exists():
        with progress.counting("simulating radiographs (synthetic)", PHANTOM_IMAGES) as advance:
            recipe = phantom.Recipe(PHANTOM_IMAGES, PHANTOM_SEED)
            phantom.write_folder(out, recipe, workers=environment.threads(), progress=advance)
        write_checksums(out)
    return out


def prepare(
    listing: Listing,
    suite: Suite,
    cache: Path,
    *,
    limit: int | None,
    splits_file: Path | None,
    seed: int,
    progress: Progress,
    holdout: float | None = None,
    test: tuple[str, Hints] | None = None,
) -> Prepared:
    """Decode, label and split a data set, without the images held out for a final test (a share of the patients, or a folder).

    Raises
    ------
    SourceError, SplitsError
        If the data cannot be used, or cannot be split as asked.
    """
    if limit is not None:
        listing = limited(listing, limit, seed)
    pixels, near = _decode(listing, suite, cache, progress)
    manifest, duplicates = merge_duplicates(pixels.manifest, near)
    usable = manifest[manifest["status"] == "ok"].reset_index(drop=True)
    same = usable["pixels_sha256"]
    changed = sum(same.iloc[pair.a] != same.iloc[pair.b] for pair in near)
    classes, y, task = _labels(listing, usable)
    groups = usable["group"].to_numpy(str)
    image_ids = usable["image_id"].to_numpy(str)
    held, kept, held_notes = None, np.ones(len(usable), bool), []
    if holdout is not None:
        held, kept = hold_out_share(pixels.images, image_ids, groups, y, holdout, seed)
    elif test is not None:
        held, held_notes = hold_out_folder(
            test[0], classes, suite.preprocessing, pixels.manifest, cache, test[1], progress
        )
    kept_listed = np.flatnonzero(pixels.manifest["status"] == "ok")[kept]
    table = _splits(listing, pixels, kept_listed, y[kept], groups[kept], suite.cv, splits_file, seed)
    data = Data(
        image_ids=image_ids,
        images=pixels.images,
        groups=groups,
        y=y,
        classes=classes,
        task=task,
        at_least_one=listing.card.at_least_one,
        splits=table,
        splits_digest=splitting.digest(table),
        preprocess_seconds=pixels.seconds,
        held_out=held,
    )
    notes = (*listing.notes, *held_notes, *_notes(listing, manifest, duplicates, changed, classes, y, groups, table))
    notes += _leaks(near, image_ids.tolist(), table)
    return Prepared(data, pixels, manifest, listing, notes, published=splits_file is not None)


def _decode(listing: Listing, suite: Suite, cache: Path, progress: Progress) -> tuple[Pixels, list[Pair]]:
    """Decode and preprocess all images, and find near-duplicates among them."""
    with progress.counting("decoding and preprocessing", len(listing.items)) as advance:
        pixels = load_pixels(listing, suite.preprocessing, cache, workers=environment.threads(), progress=advance)
    if len(pixels.images) > MANY:
        progress.note(f"searching for near-duplicates among {len(pixels.images)} images")
    return pixels, known_near_duplicates(pixels.images, pixels.digest, cache, workers=environment.threads())


def refusal(
    listing: Listing, pixels: Pixels, near: list[Pair], folds: int, splits_file: Path | None
) -> tuple[str, pd.DataFrame | None]:
    """Return why ``bench run`` would refuse these data (empty if it would not), and the splits that were given.

    Raises
    ------
    SplitsError
        If a splits file cannot be read at all.
    """
    given = splitting.read_splits(splits_file) if splits_file and not _are_folders(splits_file) else None
    manifest, _ = merge_duplicates(pixels.manifest, near)
    listed = np.flatnonzero(manifest["status"] == "ok")
    try:
        _, y, _ = _labels(listing, manifest.iloc[listed].reset_index(drop=True))
        groups = manifest["group"].to_numpy(str)[listed]
        table = _splits(listing, pixels, listed, y, groups, CrossValidation(folds=folds), splits_file, seed=0)
    except (SourceError, splitting.SplitsError) as error:
        return str(error).replace(str(listing.root), listing.card.name), given
    return "", table if splits_file else None


def _are_folders(splits_file: Path) -> bool:
    return str(splits_file) == FOLDERS and not splits_file.is_file()


def _splits(
    listing: Listing,
    pixels: Pixels,
    rows: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    cv: CrossValidation,
    splits_file: Path | None,
    seed: int,
) -> pd.DataFrame:
    """Return the splits of these rows of the manifest: made here, read from a file, or as the folders of the data are."""
    ids = pixels.manifest["image_id"].iloc[rows].tolist()
    if splits_file is None:
        table = splitting.make_splits(ids, y, groups, folds=cv.folds, repeats=cv.repeats, seed=seed)
        splitting.check_splits(table, ids, groups, "the splits made here")
        return table
    # published ones must only keep patients, studies and identical pictures together: near-duplicates are reported, not refused
    known = merge_duplicates(pixels.manifest)[0]["group"].iloc[rows].to_numpy(str)
    if _are_folders(splits_file):
        parts = listing.items["part"].to_numpy(str)[rows]
        table = splitting.published_parts(ids, y, known, parts, seed=seed)
    else:
        table = splitting.read_splits(splits_file)
    splitting.check_splits(
        table, ids, known, f"--splits {splits_file}" if _are_folders(splits_file) else str(splits_file)
    )
    return table


def _leaking(near: list[Pair], ids: list[str], splits: pd.DataFrame) -> int:
    """Count the pairs of which one image is in another part than the other in some fold."""
    if not near:
        return 0
    parts = splits.pivot(index="image_id", columns=["repeat", "fold"], values="part").reindex(ids)
    parts = parts.fillna("held out").to_numpy()  # (n, cells)
    return sum(bool((parts[pair.a] != parts[pair.b]).any()) for pair in near)


def _leaks(near: list[Pair], ids: list[str], splits: pd.DataFrame) -> tuple[str, ...]:
    """Return a note on near-duplicates that are in two parts of a fold, if there are any."""
    leaks = _leaking(near, ids, splits)
    if not leaks:
        return ()
    stand = "stands" if leaks == 1 else "stand"
    return (f"D025: {counted(leaks, 'pair')} of near-duplicates {stand} in two parts of these splits: scores may be too good",)  # fmt: skip


def _labels(listing: Listing, usable: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray, str]:
    """Classes that occur, in the card's order; labels (n, n_classes) int8; "multilabel" or "multiclass"."""
    order = {name: k for k, name in enumerate(listing.card.classes.values())}
    found = {label for labels in usable["labels"] for label in labels}
    classes = tuple(sorted(found, key=lambda name: (order.get(name, len(order)), name)))
    if len(classes) < 2:
        raise SourceError(
            f"{listing.root}: {len(classes)} class ({', '.join(map(shown, classes)) or 'none'}) in {len(usable)} images: a comparison needs two or more"
        )
    longest = max(classes, key=len)
    if len(longest) > LONGEST:
        raise SourceError(f"{listing.root}: {shown(longest)!r} is not a class name: give another --label-column")
    y = label_matrix(usable["labels"], classes)
    several = bool((y.sum(axis=1) != 1).any())
    if several and listing.card.task == "multiclass":
        raise SourceError(
            f"{listing.root}: image {usable['image_id'][int((y.sum(axis=1) != 1).argmax())]!r} does not have exactly one label, but the card says task = 'multiclass'"
        )
    return classes, y, "multilabel" if several or listing.card.task == "multilabel" else "multiclass"


def _notes(
    listing: Listing,
    manifest: pd.DataFrame,
    duplicates: int,
    near: int,
    classes: tuple[str, ...],
    y: np.ndarray,
    groups: np.ndarray,
    table: pd.DataFrame,
) -> list[str]:
    """Return what the user must know before trusting a number from this data set: the check in brief, by its codes."""
    notes = []
    if listing.card.synthetic:
        notes.append("SYNTHETIC: these images are simulated; no number here says anything about patients")
    studies = studies_of(listing, manifest)
    notes += studies.notes
    if not listing.grouped:
        what = "study" if (studies.groups != listing.items["group"]).any() else "image"
        notes.append(
            f"D011: patients are unknown: each {what} is its own group; if a patient has several, the folds leak"
        )
    usable = manifest[manifest["status"] == "ok"]
    for name, n in lost_classes(manifest["labels"], usable["labels"]):
        notes.append(f"D013: {shown(name)}: none of its {n} images can be used")
    notes += [f"{code}: {words}" for code, words in odd_labels(dict(zip(classes, y.sum(axis=0).tolist(), strict=True)))]
    if duplicates:
        notes.append(f"D020: {counted(duplicates, 'image')} with the same pixels as another; such images share a group")
    if near:
        notes.append(
            f"D022: near-duplicates: {counted(near, 'pair')} of images that share a group; bench data check shows them"
        )
    several = _with_frames(manifest)
    if several:
        notes.append(
            f"D003: {counted(several, 'file')} with several frames or pages, of which the first is used; bench data check names them"
        )
    remarked = int((manifest["remark"].fillna("") != "").sum())
    if remarked:
        notes.append(
            f"D006: {counted(remarked, 'file')} that contradict themselves and are used; bench data check names them"
        )
    for _, row in manifest[manifest["status"] != "ok"].iterrows():
        notes.append(f"D001: excluded: {row['file']}: {row['reason']}")
    folds = table["fold"].nunique()
    rare = [
        f"{name} ({len(set(groups[y[:, k] == 1]))})"
        for k, name in enumerate(classes)
        if len(set(groups[y[:, k] == 1])) < folds
    ]
    if rare:
        notes.append(
            f"D010: classes with fewer {listing.card.group}s than folds, kept, undefined in some folds: {', '.join(rare)}"
        )
    return notes


def _with_frames(manifest: pd.DataFrame) -> int:
    """Return the number of files of which one frame of several is used."""
    return int(((manifest["frames"] > 1) & ~manifest["image_id"].str.contains("#")).sum())


def describe_dataset(prepared: Prepared) -> str:
    """Return a line that describes the data set as it was understood."""
    data, listing = prepared.data, prepared.listing
    n_groups = prepared.manifest.loc[prepared.manifest["status"] == "ok", "group"].nunique()
    task = "several labels per image possible" if data.task == "multilabel" else "one label per image"
    groups = f"{n_groups} {listing.card.group}s" if listing.grouped else f"{n_groups} groups"
    held = data.held_out
    last = (
        ""
        if held is None
        else f"; {held.facts['n_images']} images of {held.facts['n_groups']} groups are held out for the final test"
    )
    return f"{listing.card.title} ({listing.layout} layout): {len(data.image_ids)} images, {len(data.classes)} classes, {groups}, {task}{last}"


def test_counts(data: Data) -> list[tuple[str, list[int]]]:
    """Return the test images of each class in each fold of the first repeat."""
    first = data.splits[data.splits["repeat"] == data.splits["repeat"].min()]
    folds = sorted(first["fold"].unique())
    tests = [data.part(int(first["repeat"].iloc[0]), int(fold)) == "test" for fold in folds]
    return [(name, [int(data.y[test, k].sum()) for test in tests]) for k, name in enumerate(data.classes)]
