"""The layouts of data sets with labels in a table or in paths: Kaggle's UNIFESP, a table, a manifest, a pattern."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from radiographs.cards import Card
from radiographs.class_folders import find_class_folders
from radiographs.disk import sha256
from radiographs.headers import Header, read_headers
from radiographs.listing import PSEUDONYM, Hints, Listing, SourceError, finish
from radiographs.read import DICOM_SUFFIXES, SUFFIXES, frames_of
from radiographs.tables import label_sets, read_table, refuse_outside, refuse_repeats, require, table_notes
from radiographs.walk import find_pictures

KAGGLE_COLUMNS = ("SOPInstanceUID", "Target")
MANIFEST_COLUMNS = ("image_id", "file", "labels", "group")


def kaggle(root: Path, card: Card, hints: Hints) -> Listing:
    """Kaggle's layout: train.csv, images anywhere below as <SOPInstanceUID>-c.png or -c.dcm, metadata.csv if present."""
    table_path = root / "train.csv"
    table = read_table(table_path)
    require(table, list(KAGGLE_COLUMNS), table_path)
    found = find_pictures(root, allow_outside=hints.allow_outside)
    uids = table["SOPInstanceUID"].str.strip()
    refuse_repeats(uids, table_path)
    by_uid: dict[str, list[Path]] = defaultdict(list)
    for file in found.files:
        by_uid[_uid(file)].append(file)
    chosen, notes = _one_each({uid: by_uid[uid] for uid in uids if uid in by_uid})
    items = pd.DataFrame({"image_id": uids, "labels": label_sets(table["Target"], " ", card, table_path)})
    items["file"] = uids.map({uid: file.relative_to(root).as_posix() for uid, (file, _) in chosen.items()})
    items["refused"] = uids.map({uid: refused for uid, (_, refused) in chosen.items()})
    absent = items["file"].isna()
    if absent.all():
        raise SourceError(
            f"{root}: none of the {len(items)} images of train.csv exists as <SOPInstanceUID>-c.png or -c.dcm"
        )
    patients = _patients(root / "metadata.csv")
    if not patients.empty:
        items = items.assign(**{str(name): uids.map(values) for name, values in patients.items()})
    items = with_headers(root, items, hints)
    notes = [*table_notes(table), *passed_over(found.notes), *notes]
    if absent.any():
        items["file"] = items["file"].fillna(items["image_id"] + "-c.png")
        notes.append(f"D002: {absent.sum()} images of train.csv have no file (such as {uids[absent].iloc[0]}-c.png)")
    unlabelled = sum(len(files) for uid, files in by_uid.items() if uid not in chosen)
    if unlabelled:
        notes.append(f"D002: {unlabelled} image files are not in train.csv and are ignored")
    return finish(root, card, "kaggle", items, notes, hints)


def _uid(file: Path) -> str:
    """SOPInstanceUID in the name of a file; the last part of one without ending is not an ending."""
    known = file.suffix.lower() in (*SUFFIXES, *DICOM_SUFFIXES)
    return (file.stem if known else file.name).removesuffix("-c")


def _one_each(files: dict[str, list[Path]]) -> tuple[dict[str, tuple[Path, str]], list[str]]:
    """Return the file of each image, with why it must not be used if another file could be meant too; and notes for the user."""
    kinds = Counter(each.suffix.lower() in SUFFIXES for several in files.values() for each in several)
    plain, chosen, twice, copies = kinds[True] > kinds[False], {}, 0, 0
    for uid, several in files.items():
        same_kind = [each for each in several if (each.suffix.lower() in SUFFIXES) == plain] or several
        twice += len(several) > len(same_kind)
        other = len(same_kind) > 1 and len({sha256(each) for each in same_kind}) > 1
        copies += len(same_kind) > 1 and not other
        refused = f"{len(same_kind)} files of this name hold different pictures: remove all but one" if other else ""
        chosen[uid] = (same_kind[0], refused)
    notes = (
        [f"D002: {twice} images exist as DICOM and in another format; the more frequent one is used"] if twice else []
    )
    return chosen, notes + ([f"D002: {copies} images occur several times, as the same file"] if copies else [])


def paths(root: Path, card: Card, hints: Hints) -> Listing:
    """Label and group are in each file's path, where `card.pattern` finds them as (?P<label>) and (?P<group>)."""
    pattern = re.compile(card.pattern)
    found = find_pictures(root, allow_outside=hints.allow_outside)
    matches = {f: pattern.search(f.relative_to(root).as_posix()) for f in found.files}
    rows = [
        (f.relative_to(root).as_posix(), m["label"], m.groupdict().get("group") or "") for f, m in matches.items() if m
    ]
    if not rows:
        raise SourceError(
            f"{root}: none of its {len(matches)} images has a path like {card.pattern} (card {card.name})"
        )
    items = pd.DataFrame(rows, columns=["file", "label", "group"])
    items["labels"] = label_sets(items["label"], "", card, root)
    folders = find_class_folders([tuple(file.split("/")) for file in items["file"]])
    items = with_headers(root, items.assign(image_id=items["file"], part=folders.parts), hints)
    left = len(matches) - len(rows)
    notes = [*(folders.notes if any(folders.parts) else ()), *passed_over(found.notes)]
    notes += [f"D002: {left} images have another kind of path and are ignored"] if left else []
    return finish(root, card, "paths", items, notes, hints)


def table(root: Path, path: Path, card: Card, hints: Hints) -> Listing:
    """List a CSV or TSV with one row per image; files are relative to the table's folder. A column sha256 is compared with the files."""
    rows = read_table(path)
    columns = hints.columns(card.columns)
    if rows.empty:
        raise SourceError(f"{path}: has a header but no rows")
    require(rows, [c for c in (columns.file, columns.label, columns.group) if c], path)
    file = rows[columns.file].str.strip()
    if not hints.allow_outside:
        refuse_outside(file, path, root)
    refuse_repeats(file.map(posixpath.normpath), path)
    items = pd.DataFrame({"image_id": file, "file": file})
    items["labels"] = label_sets(rows[columns.label], columns.separator, card, path)
    items["expected"] = rows["sha256"].str.strip().str.lower() if "sha256" in rows else ""
    if columns.group:
        items["group"] = rows[columns.group].str.strip()
    return finish(root, card, "table", with_headers(root, items, hints), table_notes(rows), hints)


def manifest(path: Path, card: Card, hints: Hints) -> Listing:
    """List a manifest.parquet as written by a run, beside the files it names; their SHA-256 is compared."""
    try:
        rows = pd.read_parquet(path)
    except Exception as error:  # noqa: BLE001 - pyarrow raises anything on damaged files
        raise SourceError(f"{path}: cannot be read as a manifest ({' '.join(str(error).split())[:150]})") from None
    require(rows, list(MANIFEST_COLUMNS), path)
    used = rows[rows["status"] == "ok"] if "status" in rows else rows
    if used.empty:
        raise SourceError(f"{path}: names no usable image")
    used = used.reset_index(drop=True)
    if not hints.allow_outside:
        refuse_outside(used["file"].astype(str), path, path.parent)
    if used["file"].astype(str).str.fullmatch(PSEUDONYM).all():
        raise SourceError(f"{path}: names no files: it was written without --keep-identifiers")
    items = used[list(MANIFEST_COLUMNS)].assign(
        labels=pd.Series([list(labels) for labels in used["labels"]], index=used.index, dtype=object)
    )
    items["expected"] = used["sha256"].fillna("") if "sha256" in used else ""
    items["frame"] = used.get("frame", 0)
    left = len(rows) - len(used)
    notes = [f"D002: {left} rows of the manifest were excluded when it was written, and are ignored"] if left else []
    if hints.frames == "each":
        notes.append("D005: the manifest says which frames are images, not --frames")
    return finish(path.parent, card, "manifest", items, notes, hints)


def _patients(path: Path) -> pd.DataFrame:
    """Group and, if the table has it, study of each image, by SOPInstanceUID; empty without a table."""
    if not path.is_file():
        return pd.DataFrame()
    rows = read_table(path)
    require(rows, ["SOPInstanceUID", "PatientID"], path)
    named = {"SOPInstanceUID": "image", "PatientID": "group", "StudyInstanceUID": "study"}
    known = rows[[name for name in named if name in rows]].rename(columns=named).apply(lambda each: each.str.strip())
    known = known.drop_duplicates()
    again = known["image"].duplicated()
    if again.any():
        row = int(known.index[again][0]) + 2
        raise SourceError(f"{path}: row {row}: gives an image another patient or study than an earlier row")
    return known.set_index("image")


def with_headers(
    root: Path, items: pd.DataFrame, hints: Hints, headers: Sequence[Header] | None = None
) -> pd.DataFrame:
    """Fill in what only headers state: the patients, if no table names them, and the frames, if each is to be an image.

    Parameters
    ----------
    items : DataFrame
        image_id, file, and group where a table names the patients.
    headers : sequence of Header, optional
        Of each item's file, if already read.
    """
    each = hints.frames == "each"
    if "group" in items and not each:
        return items
    headers = read_headers(root, items["file"]) if headers is None else headers
    if "group" not in items:
        items = items.assign(group=[header.patient for header in headers])
    if not each:
        return items
    counts = [
        max(header.frames, 1) if header.is_dicom or not isinstance(file, str) else frames_of(root / file)
        for file, header in zip(items["file"], headers, strict=True)
    ]
    return _with_frames(items, np.array(counts))


def _with_frames(items: pd.DataFrame, frames: np.ndarray) -> pd.DataFrame:
    """Give each file a row for each of its frames (n,); images of several are called NAME#0, NAME#1, ..."""
    items = items.reset_index(drop=True)
    out = items.loc[items.index.repeat(frames)]
    frame = out.groupby(level=0).cumcount()
    named = out["image_id"].where(np.repeat(frames, frames) == 1, out["image_id"] + "#" + frame.astype(str))
    return out.assign(frame=frame, image_id=named).reset_index(drop=True)


def passed_over(notes: Sequence[str]) -> list[str]:
    """Return the files skipped by a walk, as findings."""
    return [f"D002: {note}" for note in notes]
