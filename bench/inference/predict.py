"""``bench predict``: answers for any number of files, in bounded memory, kept part by part so that nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from radiographs.disk import write_file, write_whole
from radiographs.formulas import neutral, original
from radiographs.readers import SECONDS

from bench.errors import UserError
from bench.inference.inputs import InputImage, Item, load_images
from bench.inference.model import Model
from bench.inference.rows import answer
from bench.store.run_folder import is_sealed, sealed

PART = 512  # files whose answers are kept together
_BLOCK = 64  # images that a model looks at together
_PLAN, _WHOLE = "_plan.json", "_SUCCESS"  # readers of a folder of Parquet files pass over names with _
_TEXTS = ("file", "labels", "reason", "instance")  # in a CSV file a spreadsheet would run what begins with =
FORMATS = (".csv", ".parquet", ".jsonl")


@dataclass(frozen=True)
class Settings:
    """How files are read."""

    workers: int
    every_frame: bool = False
    max_pixels: int = 100_000_000
    part: int = PART  # files whose answers are kept together
    seconds: float = SECONDS  # that an image may take


@dataclass(frozen=True)
class Part:
    """Files that are answered together, and what the name of the file with their answers begins with; their SHA-256 follows."""

    files: list[Item]
    path: Path


@dataclass(frozen=True)
class Tally:
    """What became of the files: images by verdict or status, how many files were answered before, and how many parts of those were damaged."""

    counts: Counter[str]
    kept: int
    damaged: int = 0

    @property
    def failed(self) -> int:
        """Files that could not be read."""
        return self.counts["failed"]


Compute = Callable[[Iterator[Part]], Iterator[tuple[Part, pd.DataFrame]]]


def answers(model: Model, items: Iterable[Item], settings: Settings) -> Iterator[pd.DataFrame]:
    """Answer files a block at a time, in order, while the next ones are decoded."""
    waiting: list[InputImage] = []
    found = load_images(
        items,
        model.preprocessing,
        workers=settings.workers,
        every_frame=settings.every_frame,
        max_pixels=settings.max_pixels,
        seconds=settings.seconds,
    )
    for images in found:
        waiting += images
        while len(waiting) >= _BLOCK:
            yield answer(model, waiting[:_BLOCK])
            waiting = waiting[_BLOCK:]
    if waiting:
        yield answer(model, waiting)


def predict_to(
    out: Path,
    model: Model,
    items: Iterable[Item],
    settings: Settings,
    *,
    progress: Callable[[int], object] = int,
    compute: Compute | None = None,
    overwrite: bool = False,
) -> Tally:
    """Answer files into a table, a part at a time; parts that are there already are kept.

    Parts stand in a folder beside the table until it is whole. A part is known by its files' names, sizes and times, and called by the
    beginning of its own SHA-256 as well: one that is not what its name says is answered again.

    Parameters
    ----------
    out
        A .csv, .parquet or .jsonl file; or a folder, in which the parts stay, a Parquet file each.
    progress
        Called with the number of files done so far.
    compute
        What answers parts and gives each with its table when it is done; without it this process does.
    overwrite
        Whether answers in a folder may be replaced by those of another model, or of other files.

    Raises
    ------
    UserError
        If the parts are of another model or other settings, or a folder that is whole answers other files.
    """
    folder = parts_folder(out)
    was_whole = folder == out and (out / _WHOLE).is_file() and not overwrite
    is_new = _begin(folder, model, settings, overwrite=overwrite)
    there = _parts_there(folder)
    counts: Counter[str] = Counter()
    names: dict[Path, Path] = {}
    kept = done = damaged = 0

    def lacking() -> Iterator[Part]:
        """Parts that are not there, or damaged; the others are counted on the way."""
        nonlocal counts, kept, done, damaged
        for number, files in enumerate(_in_parts(items, settings.part)):
            path = folder / f"part-{number:08d}-{_key(files)}"
            before = there.get(number, [])
            if was_whole and any(not file.name.startswith(path.name) for file in before):
                raise _other_files(out)
            own = [file for file in before if file.name.startswith(f"{path.name}-")]
            whole = next((file for file in own if _is_whole(file)), None)
            if whole is None:
                (folder / _WHOLE).unlink(missing_ok=True)
                damaged += len(own)
                for file in own:
                    file.unlink()
                yield Part(files, path)
                continue
            names[path] = whole
            counts += _count(pd.read_parquet(whole, columns=["status", "verdict"]))
            kept += len(files)
            done += len(files)
            progress(done)

    def here(parts: Iterator[Part]) -> Iterator[tuple[Part, pd.DataFrame]]:
        for part in parts:
            yield part, pd.concat(answers(model, part.files, settings), ignore_index=True)

    for part, table in (compute or here)(lacking()):
        content = table.to_parquet(index=False)
        names[part.path] = part.path.with_name(f"{part.path.name}-{_digest(content)}.parquet")
        write_whole(names[part.path], content)
        counts += _count(table)
        done += len(part.files)
        progress(done)
    if not names:
        if folder != out:
            shutil.rmtree(folder)
        elif is_new:
            (folder / _PLAN).unlink()
        raise UserError(f"{out}: there is no picture to look at below what was named")
    if folder == out:
        others = set(folder.glob("part-*.parquet")) - set(names.values())
        if others and was_whole:
            raise _other_files(out)
        for part in others:
            part.unlink()
        write_whole(folder / _WHOLE, "")
    else:
        write_file(out, lambda fresh: _join([names[path] for path in sorted(names)], fresh, out.suffix))
        shutil.rmtree(folder)
    return Tally(counts, kept, damaged)


def is_partitioned(out: Path) -> bool:
    """Whether answers stay in parts: what has no suffix is a folder."""
    return not out.suffix


def begun(out: Path) -> bool:
    """Whether a folder of parts was begun, so that the same command may go on with it."""
    return is_partitioned(out) and (out / _PLAN).is_file()


def parts_folder(out: Path) -> Path:
    """Folder with the parts of a table that is not whole yet; of a folder, itself."""
    return out if is_partitioned(out) else out.with_name(f"{out.name}.parts")


def rows_of(out: Path) -> Iterator[pd.DataFrame]:
    """Read a table of answers a part at a time, only what a submission needs."""
    columns = ["file", "status", "labels", "instance"]
    if is_partitioned(out):
        for part in sorted(out.glob("part-*.parquet")):
            yield pd.read_parquet(part, columns=columns)
    elif out.suffix == ".parquet":
        for batch in pq.ParquetFile(out).iter_batches(columns=columns):
            yield batch.to_pandas()
    elif out.suffix == ".jsonl":
        for table in pd.read_json(out, lines=True, chunksize=10_000, dtype=False):
            yield table[columns]
    else:
        for table in pd.read_csv(out, usecols=columns, dtype=str, keep_default_na=False, chunksize=10_000):
            yield table.map(original)


def _begin(folder: Path, model: Model, settings: Settings, *, overwrite: bool) -> bool:
    """See that parts that are there are of the same model and settings; return whether there were none."""
    digest = hashlib.sha256((model.folder / "SHA256SUMS").read_bytes()).hexdigest()
    plan = {
        "model": digest,
        "engine": model.engine.name,
        "every_frame": settings.every_frame,
        "max_pixels": settings.max_pixels,
        "part": settings.part,
        "seconds": settings.seconds,
    }
    before = _read_plan(folder / _PLAN)
    if before is None:
        if folder.suffix == ".parts" or (folder / _PLAN).exists():  # nobody knows what made these
            for part in folder.glob("part-*.parquet"):
                part.unlink()
        write_whole(folder / _PLAN, json.dumps(sealed(plan)))
        return True
    other = next((key for key, value in plan.items() if before.get(key) != value), None)
    if other and not overwrite:
        raise UserError(f"{folder}: holds parts made with another {other}: remove it, or give another --out")
    if other:
        for part in folder.glob("part-*.parquet"):
            part.unlink()
        write_whole(folder / _PLAN, json.dumps(sealed(plan)))
    return False


def _read_plan(file: Path) -> dict[str, Any] | None:
    """What made the parts of a folder, or None if that is not known."""
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        return plan if is_sealed(plan) else None
    except (OSError, ValueError, AttributeError):
        return None


def _in_parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    items = iter(items)
    while files := list(islice(items, size)):
        yield files


def _other_files(out: Path) -> UserError:
    return UserError(f"{out}: is whole and answers other files: give another --out, or --overwrite")


def _key(files: Sequence[Item]) -> str:
    """Digest of the files' names, sizes and times."""
    facts: list[Any] = []
    for item in files:
        try:
            status = Path(item.file).stat()
            facts.append((item.file, status.st_size, status.st_mtime_ns))
        except OSError:
            facts.append((item.file, -1, -1))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def _parts_there(folder: Path) -> dict[int, list[Path]]:
    """Files of parts by the number of the part."""
    found: dict[int, list[Path]] = {}
    for file in sorted(folder.glob("part-*-*.parquet")):
        number = file.name.split("-")[1]
        found.setdefault(int(number) if number.isdecimal() else -1, []).append(file)
    return found


def _is_whole(part: Path) -> bool:
    """Whether a part is what its name says."""
    return part.stem.rpartition("-")[2] == _digest(part.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _count(table: pd.DataFrame) -> Counter[str]:
    return Counter(table["verdict"].where(table["status"] == "ok", "failed"))


def _join(parts: Sequence[Path], fresh: Path, suffix: str) -> None:
    """Put parts one below the other, one in memory at a time."""
    if suffix == ".parquet":
        with pq.ParquetWriter(fresh, pq.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part).cast(writer.schema))
        return
    with fresh.open("w", encoding="utf-8", newline="") as stream:
        for number, part in enumerate(parts):
            table = pq.read_table(part).to_pandas()
            if suffix == ".csv":
                table = table.assign(**{name: table[name].map(neutral) for name in _TEXTS})
                table.to_csv(stream, index=False, header=number == 0, lineterminator="\n")
            else:
                table.to_json(stream, orient="records", lines=True, force_ascii=False, double_precision=15)
