"""Every image of a listing, decoded and preprocessed once, then mapped from disk.

The cache holds the pixels, the manifest and a checksum under a key made of the files' names, sizes and times and of the
preprocessing. A folder in the cache is complete or absent: it is written beside its place and renamed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from radiographs import preprocess
from radiographs.audit.duplicates import Pair, merge_groups
from radiographs.disk import fresh_folder, sha256
from radiographs.listing import SOURCE_ONLY, Listing, SourceError
from radiographs.lookup import Lookup
from radiographs.patients import join_studies
from radiographs.preprocess import Preprocessing
from radiographs.read import Picture, UnreadableImageError, read_picture
from radiographs.readers import in_order

_FORMAT = 8
_log = logging.getLogger(__name__)
_READ = ("file", "frame", "expected", "refused")  # columns of a listing that decide what is read
_KEPT = ("body_part", "view", "laterality", "modality", "photometric")  # of a DICOM header, unchanged
_CODED = {"study": "s", "series": "r", "accession": "a"}  # identifiers, of which only equality is kept


@dataclass(frozen=True)
class Pixels:
    """Preprocessed images and the manifest they belong to.

    `images` is (n, side, side) uint8, mapped from disk; row i belongs to row i of `manifest` where status is "ok".
    `manifest` has every image that was listed: image_id, file, frame, labels, group (of a patient with all studies), sha256, pixels_sha256, width, height, mode; of
    DICOM files body_part, view, laterality, modality, photometric, and study, series, accession as pseudonyms; frames; coloured (share of the
    pixels); remark (notes on a file that is used); status, reason.
    """

    images: np.ndarray
    manifest: pd.DataFrame
    files: np.ndarray  # (n,) str, where each of these images is, relative to the data folder; of private data only here
    digest: str  # SHA-256 of the pixels, the key of encodings
    seconds: float  # time of decoding and preprocessing, without the facts for the manifest
    cached: bool

    @property
    def usable(self) -> pd.DataFrame:
        """The rows of the manifest that have pixels, in their order."""
        return self.manifest[self.manifest["status"] == "ok"].reset_index(drop=True)


def load_pixels(
    listing: Listing,
    settings: Preprocessing,
    cache: Path,
    *,
    workers: int,
    progress: Callable[[int], object] = int,
) -> Pixels:
    """Preprocessed images of a listing, from the cache if available.

    Parameters
    ----------
    cache : Path
        Folder of the cache; made if missing.
    workers : int
        Threads that decode (Pillow and OpenCV release the interpreter while they work).
    progress : callable, default int
        Called with the number of images done so far.

    Raises
    ------
    SourceError
        If no image can be read.
    """
    folder = cache / "pixels" / _key(listing, settings)
    found = _read_cache(folder, listing)
    if found is not None:
        return found
    start = time.perf_counter()
    with fresh_folder(folder, private=True) as fresh:
        manifest, share = _decode(listing, settings, fresh / "pixels.u8", workers, progress)
        facts = {
            "format": _FORMAT,
            "side": settings.side,
            "seconds": share * (time.perf_counter() - start),
            "sha256": sha256(fresh / "pixels.u8"),
        }
        manifest.to_parquet(fresh / "manifest.parquet", index=False)
        facts["manifest_sha256"] = sha256(fresh / "manifest.parquet")
        (fresh / "pixels.json").write_text(f"{_digest(facts)}\n{json.dumps(facts)}", encoding="utf-8")
    made = _read_cache(folder, listing)
    if made is None:
        raise SourceError(f"{folder}: the cache cannot be read back: is the disk full?")
    return replace(made, cached=False)


def _key(listing: Listing, settings: Preprocessing) -> str:
    """Key of the cache: file names, sizes and times, and everything that decides the pixels."""
    rows = []
    for file, frame, expected, refused in zip(*(listing.items[name] for name in _READ), strict=True):
        try:
            facts = (listing.root / file).stat()
            row = f"{file}\0{frame}\0{expected}\0{facts.st_size}\0{facts.st_mtime_ns}"
            rows.append(f"{row}\0{refused}" if refused else row)
        except OSError:
            rows.append(f"{file}\0absent")
    recipe = json.dumps(
        [_FORMAT, preprocess.VERSION, settings.model_dump(), str(listing.root.resolve()), listing.max_pixels],
        sort_keys=True,
    )
    return hashlib.sha256("\n".join([recipe, *rows]).encode()).hexdigest()


def _decode(
    listing: Listing, settings: Preprocessing, target: Path, workers: int, progress: Callable[[int], object]
) -> tuple[pd.DataFrame, float]:
    """Write the pixels of every readable image to `target`, in order.

    Returns
    -------
    tuple of DataFrame and float
        The manifest, and the share of the time that went into decoding and preprocessing; the rest went into facts for the manifest.
    """
    inside = None if listing.allow_outside else listing.root.resolve()

    def one(item: tuple[str, int, str, str]) -> tuple[dict[str, object], bytes, tuple[float, float]]:
        file, frame, expected, refused = item
        begun = time.perf_counter()
        try:
            path = listing.root / file
            if inside is not None and not _within(path, inside):
                raise UnreadableImageError(f"{file}: leads outside the data folder (--allow-outside)")
            picture = read_picture(path, file, frame=frame, max_pixels=listing.max_pixels)
            if refused:
                raise UnreadableImageError(f"{file}: {refused}")
            if expected and picture.sha256 != expected:
                raise UnreadableImageError(f"{file}: was changed since its manifest was written (other SHA-256)")
            pixels = settings.apply(picture.grey, picture.padding).tobytes()
            done = time.perf_counter()
            return _facts(picture), pixels, (done - begun, time.perf_counter() - done)
        except UnreadableImageError as error:
            reason = str(error).removeprefix(f"{file}: ")
            return {**_NOTHING, "status": "excluded", "reason": reason}, b"", (time.perf_counter() - begun, 0.0)

    items = list(zip(*(listing.items[name] for name in _READ), strict=True))
    facts, spent = [], np.zeros(2)  # seconds in preprocessing, and in facts
    with target.open("wb") as stream, ThreadPoolExecutor(workers) as pool:
        try:
            for done, (fact, pixels, seconds) in enumerate(in_order(pool, one, items), start=1):
                facts.append(fact)
                spent += seconds
                stream.write(pixels)
                progress(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        stream.flush()
        os.fsync(stream.fileno())
    manifest = pd.DataFrame(facts)
    manifest["reason"] = _with_hints(listing, manifest)
    for name, letter in _CODED.items():
        manifest[name] = _coded(manifest[name], letter)
    if not (manifest["status"] == "ok").any():
        raise SourceError(
            f"{listing.root}: none of the {len(manifest)} images can be read; the first: {manifest['reason'].iloc[0]}"
        )
    return manifest, float(spent[0] / max(spent.sum(), 1e-9))


def _with_hints(listing: Listing, manifest: pd.DataFrame) -> list[str]:
    """Reasons, with a hint if the file exists under a similar name."""
    lookup, reasons = Lookup(listing.root), []
    for file, status, reason in zip(listing.items["file"], manifest["status"], manifest["reason"], strict=True):
        absent = status != "ok" and not (listing.root / file).exists()
        hint = lookup.why_missing(file) if absent else ""
        reasons.append(f"{reason}: {hint}" if hint else reason)
    return reasons


def _within(path: Path, folder: Path) -> bool:
    """Whether a file is in a folder (resolved) after following links; each folder is resolved once for all its files."""
    parent = _resolved(path.parent)
    return (path.resolve() if path.is_symlink() else parent).is_relative_to(folder)


@cache
def _resolved(folder: Path) -> Path:
    return folder.resolve()


_NOTHING = {
    "width": 0,
    "height": 0,
    "frames": 0,
    "coloured": 0.0,
    **dict.fromkeys(("sha256", "pixels_sha256", "mode", "remark", *_KEPT, *_CODED), ""),
}


def _facts(picture: Picture) -> dict[str, object]:
    """Return the manifest's facts on a readable file besides its labels."""
    grey = np.ascontiguousarray(picture.grey)
    height, width = grey.shape
    pixels = hashlib.sha256(f"{grey.dtype} {height} {width}".encode())
    pixels.update(grey.data)
    return {
        "sha256": picture.sha256,
        "width": width,
        "height": height,
        "mode": picture.mode,
        "pixels_sha256": pixels.hexdigest(),
        "frames": picture.frames,
        "coloured": picture.coloured,
        "remark": "; ".join(picture.remarks),
        **{name: picture.tags.get(name, "") for name in (*_KEPT, *_CODED)},
        "status": "ok",
        "reason": None,
    }


def _coded(values: pd.Series, letter: str) -> list[str]:
    """Replace equal values by equal pseudonyms; empty stays empty."""
    codes, _ = pd.factorize(values.where(values != "", None))
    return [f"{letter}{code + 1:06d}" if code >= 0 else "" for code in codes]


def _read_cache(folder: Path, listing: Listing) -> Pixels | None:
    """Return the cache entry, or None if it is missing or damaged."""
    try:
        digest, _, text = (folder / "pixels.json").read_text(encoding="utf-8").partition("\n")
        facts = json.loads(text)
        if (digest, facts["manifest_sha256"], facts["sha256"]) != (
            _digest(facts),
            sha256(folder / "manifest.parquet"),
            sha256(folder / "pixels.u8"),
        ):
            raise ValueError("other checksums")
        items = listing.items.drop(columns=list(SOURCE_ONLY))
        manifest = pd.concat([items, pd.read_parquet(folder / "manifest.parquet")], axis=1)
        manifest["group"] = join_studies(manifest["group"], manifest["study"], listing.items["known"]).groups
        side, n = facts["side"], int((manifest["status"] == "ok").sum())
        images = np.memmap(folder / "pixels.u8", np.uint8, "r", shape=(n, side, side))
    except (OSError, ValueError, KeyError, TypeError):
        if folder.exists():
            _log.warning("cache: pixels %s are damaged: rebuilding them", folder.name[:16])
        return None
    files = manifest.loc[manifest["status"] == "ok", "file"].to_numpy(str)
    manifest = _pseudonymised(manifest) if listing.private else manifest
    return Pixels(images, manifest, files, facts["sha256"], facts["seconds"], cached=True)


def _pseudonymised(manifest: pd.DataFrame) -> pd.DataFrame:
    """Name each image by the beginning of its file's SHA-256, and an unreadable file by its number.

    Such a name is the same wherever the same file is, and meaningless without the file.
    """
    unread = manifest["sha256"] == ""
    numbered = unread.cumsum().map(lambda k: f"unread-{k:06d}")
    names = ("x" + manifest["sha256"].str[:20]).where(~unread, numbered)
    frame = manifest["image_id"].str.extract(r"(#\d+)$")[0].fillna("")
    again = manifest.assign(name=names + frame).groupby("name").cumcount()
    ids = names + frame + again.map(lambda k: f"-{k + 1}" if k else "")
    return manifest.assign(image_id=ids, file=names)


def cached_images(digest: str, cache: Path) -> np.ndarray | None:
    """Preprocessed images (n, side, side) uint8 whose bytes have this SHA-256, mapped from the cache; None if they are not cached."""
    for path in sorted((cache / "pixels").glob("*/pixels.json")):
        try:
            facts = json.loads(path.read_text(encoding="utf-8").partition("\n")[2])
            if facts["sha256"] != digest or sha256(path.with_name("pixels.u8")) != digest:
                continue
            side = int(facts["side"])
            return np.memmap(path.with_name("pixels.u8"), np.uint8, "r").reshape(-1, side, side)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def merge_duplicates(manifest: pd.DataFrame, near: Sequence[Pair] = ()) -> tuple[pd.DataFrame, int]:
    """Join images with identical pixels, and near-duplicates, into one group, so that no picture is both trained on and tested.

    Parameters
    ----------
    manifest : DataFrame
        With the columns group, status and pixels_sha256.
    near : sequence of Pair, optional
        Near-duplicates, by rows of the usable images.

    Returns
    -------
    tuple of DataFrame and int
        The manifest with groups joined, and the number of images that have an identical earlier one.
    """
    used = np.flatnonzero(manifest["status"] == "ok")
    pixels = manifest["pixels_sha256"].iloc[used]
    repeated = pixels.duplicated()
    first = {value: row for row, value in zip(used[::-1], pixels[::-1], strict=True)}
    same = [Pair(int(first[value]), int(row), 1.0) for row, value in zip(used[repeated], pixels[repeated], strict=True)]
    pairs = same + [Pair(int(used[pair.a]), int(used[pair.b]), pair.likeness) for pair in near]
    return manifest.assign(group=merge_groups(manifest["group"], pairs)), int(repeated.sum())


def _digest(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
