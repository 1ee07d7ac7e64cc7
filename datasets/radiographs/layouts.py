"""The layouts of data sets: Kaggle's UNIFESP, a folder per class, labels in paths, a tree of DICOM files, a table, a manifest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from radiographs.cards import Card
from radiographs.dicom import DicomError, read_tags
from radiographs.listing import PSEUDONYM, Hints, Listing, SourceError, finish
from radiographs.read import SUFFIXES
from radiographs.tables import label_sets, read_table, refuse_outside, refuse_repeats, require
from radiographs.walk import Found, find_pictures

KAGGLE_COLUMNS = ("SOPInstanceUID", "Target")
MANIFEST_COLUMNS = ("image_id", "file", "labels", "group")


def kaggle(root: Path, card: Card, hints: Hints) -> Listing:
    """Kaggle's layout: train.csv, images anywhere below as <SOPInstanceUID>-c.png or -c.dcm, metadata.csv if it is there."""
    table_path = root / "train.csv"
    table = read_table(table_path)
    require(table, list(KAGGLE_COLUMNS), table_path)
    found = find_pictures(root, allow_outside=hints.allow_outside)
    by_uid = {f.stem.removesuffix("-c"): f.relative_to(root).as_posix() for f in found.files}
    uids = table["SOPInstanceUID"].str.strip()
    refuse_repeats(uids, table_path)
    labels = label_sets(table["Target"], " ", card, table_path)
    items = pd.DataFrame({"image_id": uids, "file": uids.map(by_uid), "labels": labels})
    absent = items["file"].isna()
    if absent.all():
        raise SourceError(
            f"{root}: none of the {len(items)} images of train.csv is there as <SOPInstanceUID>-c.png or -c.dcm"
        )
    patients = _patients(root / "metadata.csv")
    items["group"] = uids.map(patients) if patients else _header_patients(root, items["file"])
    notes = found.notes
    if absent.any():
        items.loc[absent, "file"] = uids[absent] + "-c.png"
        notes.append(f"{absent.sum()} images of train.csv have no file (such as {items['file'][absent].iloc[0]})")
    unlabelled = len(by_uid) - int((~absent).sum())
    if unlabelled:
        notes.append(f"{unlabelled} image files are not in train.csv and are left alone")
    return finish(root, card, "kaggle", items, notes, hints)


def folders(root: Path, card: Card, hints: Hints) -> Listing:
    """One sub-folder per class, images anywhere below it."""
    found = find_pictures(root, allow_outside=hints.allow_outside)
    paths = [f.relative_to(root) for f in found.files]
    rows = [(f.as_posix(), [card.classes.get(f.parts[0], f.parts[0])]) for f in paths if len(f.parts) > 1]
    loose = len(paths) - len(rows)
    if not rows:
        what = (
            f"holds {loose} images but no sub-folder per class"
            if loose
            else f"holds no image ({', '.join(SUFFIXES)}, DICOM)"
        )
        raise SourceError(
            f"{root}: {what} and no table of labels: give a .csv as --data, or sort the images into one folder per class"
        )
    notes = found.notes + ([f"{loose} images lie in no class folder and are left alone"] if loose else [])
    items = pd.DataFrame(rows, columns=["file", "labels"])
    items = items.assign(image_id=items["file"], group=_header_patients(root, items["file"]))
    return finish(root, card, "folders", items, notes, hints)


def paths(root: Path, card: Card, hints: Hints) -> Listing:
    """Label and group stand in each file's path, where `card.pattern` finds them as (?P<label>) and (?P<group>)."""
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
    left = len(matches) - len(rows)
    notes = found.notes + ([f"{left} images have another kind of path and are left alone"] if left else [])
    return finish(root, card, "paths", items.assign(image_id=items["file"]), notes, hints)


def dicom_tree(root: Path, card: Card, hints: Hints, found: Found) -> Listing:
    """DICOM files anywhere below, labelled by BodyPartExamined, grouped by patient; what has no body part is counted and left out."""
    rows, unlabelled, broken = [], 0, []
    for path in found.files:
        name = path.relative_to(root).as_posix()
        tags, frames = _tags(path)
        if tags is None or not tags["instance"]:  # every sound file has a SOPInstanceUID
            broken.append(name)
            continue
        part = card.classes.get(tags["body_part"].upper(), tags["body_part"].upper())
        if not part:
            unlabelled += 1
            continue
        numbers = range(frames) if hints.frames == "each" else (0,)
        rows += [(f"{name}#{k}" if len(numbers) > 1 else name, name, [part], tags["patient"], k) for k in numbers]
    if not rows:
        raise SourceError(
            f"{root}: none of its {len(found.files)} DICOM files has a BodyPartExamined: give a .csv table with file and label as --data"
        )
    notes = found.notes
    if unlabelled:
        notes.append(f"{unlabelled} DICOM files have no BodyPartExamined and are left alone")
    rows += [(name, name, [rows[0][2][0]], "", 0) for name in broken]  # listed, so that reading them says what is wrong
    items = pd.DataFrame(rows, columns=["image_id", "file", "labels", "group", "frame"])
    return finish(root, card, "dicom", items, notes, hints)


def table(root: Path, path: Path, card: Card, hints: Hints) -> Listing:
    """A CSV or TSV with one row per image; files are relative to the table's folder. A column sha256 is compared with the files."""
    rows = read_table(path)
    columns = hints.columns(card.columns)
    if rows.empty:
        raise SourceError(f"{path}: has a header but no rows")
    require(rows, [c for c in (columns.file, columns.label, columns.group) if c], path)
    file = rows[columns.file].str.strip()
    if not hints.allow_outside:
        refuse_outside(file, path, root)
    refuse_repeats(file, path)
    items = pd.DataFrame({"image_id": file, "file": file})
    items["labels"] = label_sets(rows[columns.label], columns.separator, card, path)
    items["group"] = rows[columns.group].str.strip() if columns.group else _header_patients(root, file)
    items["expected"] = rows["sha256"].str.strip().str.lower() if "sha256" in rows else ""
    return finish(root, card, "table", items, [], hints)


def manifest(path: Path, card: Card, hints: Hints) -> Listing:
    """A manifest.parquet as a run writes it, beside the files it names; their SHA-256 is compared."""
    try:
        rows = pd.read_parquet(path)
    except Exception as error:  # noqa: BLE001 - pyarrow raises what it pleases on damaged files
        raise SourceError(f"{path}: cannot be read as a manifest ({' '.join(str(error).split())[:150]})") from None
    require(rows, list(MANIFEST_COLUMNS), path)
    used = rows[rows["status"] == "ok"] if "status" in rows else rows
    if used.empty:
        raise SourceError(f"{path}: names no image that can be used")
    used = used.reset_index(drop=True)
    if not hints.allow_outside:
        refuse_outside(used["file"].astype(str), path, path.parent)
    if used["file"].astype(str).str.fullmatch(PSEUDONYM).all():
        raise SourceError(f"{path}: names no files: it was written without --keep-identifiers")
    items = used[list(MANIFEST_COLUMNS)].assign(labels=[list(labels) for labels in used["labels"]])
    items["expected"] = used["sha256"].fillna("") if "sha256" in used else ""
    items["frame"] = used.get("frame", 0)
    left = len(rows) - len(used)
    notes = [f"{left} rows of the manifest were excluded when it was written"] if left else []
    return finish(path.parent, card, "manifest", items, notes, hints)


def _patients(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = read_table(path)
    require(rows, ["SOPInstanceUID", "PatientID"], path)
    return dict(zip(rows["SOPInstanceUID"].str.strip(), rows["PatientID"].str.strip(), strict=True))


def _header_patients(root: Path, files: Iterable[object]) -> list[str]:
    """Patient of each file that is DICOM, from its header; empty for the others."""
    return [_patient(root / file) if isinstance(file, str) else "" for file in files]


def _patient(path: Path) -> str:
    if path.suffix.lower() in SUFFIXES or not path.is_file():
        return ""
    tags, _ = _tags(path)
    return tags["patient"] if tags else ""


def _tags(path: Path) -> tuple[dict[str, str] | None, int]:
    """Header entries and number of frames of a DICOM file; None for what is none, or is damaged."""
    try:
        with path.open("rb") as stream:
            return read_tags(stream) or (None, 0)
    except (OSError, DicomError):
        return None, 0
    except ModuleNotFoundError:
        raise SourceError(f"{path}: is DICOM, which needs: pip install 'xraybench[dicom]'") from None
