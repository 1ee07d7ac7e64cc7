"""``bench weights``: pretrained weights that are available, their origin, and a folder of them for a machine without a network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from radiographs.disk import beside
from radiographs.download import fetch
from radiographs.listing import SourceError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from bench.errors import UserError, one_line
from bench.recipes.suite import Suite, load_suite, suite_names

if TYPE_CHECKING:
    from deep.addresses import Address
    from deep.weights import Weights

NOT_AVAILABLE = 1
_IMAGENET = "imagenet"


def backbones(suite: Suite) -> list[str]:
    """Return the backbones that a suite's models start from with ImageNet weights, in its order."""
    parts = [part.parameters for spec in suite.models.values() for part in (*spec.encoders, spec.head)]
    wanted = [part for part in parts if part.get("start", _IMAGENET) == _IMAGENET and "weights" not in part]
    return list(dict.fromkeys(str(part["backbone"]) for part in wanted if "backbone" in part))


def list_weights(weights_dir: Path | None, console: Console) -> int:
    """Print every backbone of the package's suites and of the published packages: where its weights are, or where they are downloaded from."""
    from deep.published import published
    from deep.weights import address, at_hand, way_out

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("backbone", "available", "from", "licence", "MB"):
        name = column == "backbone"  # is never broken
        table.add_column(column, overflow="fold", no_wrap=name, justify="right" if column == "MB" else "left")
    suites = [load_suite(name) for name in suite_names()]
    for name in dict.fromkeys([*published(), *(b for suite in suites for b in backbones(suite))]):
        found = at_hand(name, weights_dir)
        if found:
            row = ("yes", found.origin, found.licence, f"{found.file.stat().st_size / 1e6:.1f}")
        else:
            source = address(name)
            origin = source.url if source else "timm has no address"
            size = f"{source.megabytes:.1f}" if source and source.megabytes else "?"
            row = ("no", origin, source.licence if source else "", size)
        table.add_row(*(Text(text) for text in (name, *row)))
    console.print(table)
    console.print(Text(f"missing weights are downloaded when needed; {way_out('BACKBONE')}"), soft_wrap=True)
    return 0


def where(names: Iterable[str], weights_dir: Path | None, console: Console) -> int:
    """Print the weights file of each backbone, one per line; return exit code 1 if one is not available."""
    code = 0
    for name in names:
        found, reason = _looked_up(name, weights_dir)
        console.print(Text(f"{name}: {found.file} ({found.origin})" if found else f"{name}: {reason}"), soft_wrap=True)
        code = code if found else NOT_AVAILABLE
    return code


def collect(names: Iterable[str], folder: Path, weights_dir: Path | None, console: Console) -> int:
    """Collect the weights of backbones in a folder for ``--weights-dir``: copied if available, else downloaded.

    An intact file is kept, and an interrupted download is resumed. Every backbone is tried.

    Parameters
    ----------
    names : iterable of str
        Backbones.
    folder : Path
        Where to put the files.
    weights_dir : Path or None
        Folder to search first.
    console : Console
        Where to print.

    Returns
    -------
    int
        Exit code: 1 if a backbone failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in names:
        try:
            path, origin = _put(name, folder, weights_dir, console)
        except (SourceError, UserError) as error:
            failed += 1
            console.print(Text(f"{name}: {one_line(error)}"), soft_wrap=True)
            continue
        console.print(Text(f"{name}: {path} ({path.stat().st_size / 1e6:.1f} MB, {origin})"), soft_wrap=True)
    console.print(Text(f"{'incomplete: ' if failed else ''}use it with: bench run --all --weights-dir {folder}"))
    return NOT_AVAILABLE if failed else 0


def _looked_up(name: str, weights_dir: Path | None) -> tuple[Weights | None, str]:
    from deep.weights import WeightsUnavailableError, find_weights

    try:
        return find_weights(name, weights_dir=weights_dir, offline=True), ""
    except WeightsUnavailableError as error:
        return None, one_line(error).replace(", and --offline forbids the download", "; it would be downloaded")
    except ValueError as error:
        raise UserError(str(error)) from None


def _put(name: str, folder: Path, weights_dir: Path | None, console: Console) -> tuple[Path, str]:
    """Put one file into the folder; return it with its origin."""
    from deep.weights import address, fingerprint

    found, reason = _looked_up(name, weights_dir)
    if found:
        target = folder / f"{name}-{fingerprint(found.file)[:8]}{found.file.suffix}"
        if not (target.is_file() and fingerprint(target) == fingerprint(found.file)):
            part = beside(target)
            shutil.copyfile(found.file, part)
            part.replace(target)
        return target, found.origin
    source = address(name)
    if source is None:
        raise UserError(reason)
    url, checksum, size = _addressed(source)
    target = folder / f"{name}-{checksum.partition(':')[2][:8]}{Path(source.url).suffix}"
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"downloading {name}", total=size or None)
        fetch(url, target, checksum, lambda have, total: bar.update(task, completed=have, total=total or size or None))
    return target, f"downloaded from {source.url}, licence {source.licence}"


def _addressed(source: Address) -> tuple[str, str, int]:
    """Return address, checksum and size of a file: known to the hub; elsewhere the name carries the first digits of the SHA-256."""
    from deep.addresses import HASH_IN_NAME

    if not source.hub:
        digits = HASH_IN_NAME.search(source.url)
        if digits is None:
            raise UserError(
                f"{source.url}: its name carries no hash, so a download cannot be checked: fetch it by hand"
            )
        return source.url, f"sha256:{digits.group(1)}", round(source.megabytes * 1e6)
    from huggingface_hub import get_hf_file_metadata

    try:
        facts = get_hf_file_metadata(source.url)
    except Exception as error:  # noqa: BLE001 - of whichever HTTP library the hub's version uses
        raise SourceError(f"{source.url}: the download failed ({one_line(error, 150)})") from None
    if not re.fullmatch(r"[0-9a-f]{64}", facts.etag or ""):
        raise SourceError(f"{source.url}: the hub states no SHA-256 for it, so a download cannot be checked")
    return source.url, f"sha256:{facts.etag}", facts.size or 0
