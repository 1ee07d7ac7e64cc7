"""``bench data check``: what is wrong with a data set, in the terminal, as a page and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from radiographs.audit.check import Audit, check
from radiographs.audit.duplicates import known_near_duplicates
from radiographs.audit.lettering import known_letters
from radiographs.pixels import Pixels, load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import Hints
from rich.console import Console
from rich.text import Text

from bench import environment
from bench.data import prepare
from bench.data.pictures import thumbnail
from bench.errors import UserError
from bench.terminal.progress import Progress
from reports.runs.provenance import counted

SHOWN = 8  # cases of a finding in the terminal
REFUSED = "D001"  # every file of these gets a line
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


@dataclass(frozen=True)
class CheckRequest:
    """What the user requested."""

    data: str
    hints: Hints
    folds: int = 5
    splits: Path | None = None
    html: Path | None = None
    json: Path | None = None
    strict: bool = False


def check_data(request: CheckRequest, console: Console) -> int:
    """Check a data set; exit code 1 if there are errors, with `strict` also for warnings.

    Raises
    ------
    SourceError, SplitsError
        If the data or the splits cannot be read at all.
    """
    progress, cache = Progress(console), environment.cache_folder()
    listing = prepare.find_data(request.data, request.hints, cache, progress)
    settings = Preprocessing()
    with progress.counting("decoding and preprocessing", len(listing.items)) as advance:
        pixels = load_pixels(listing, settings, cache, workers=environment.threads(), progress=advance)
    near = known_near_duplicates(pixels.images, pixels.digest, cache, workers=environment.threads())
    usable = pixels.manifest["status"] == "ok"
    words = known_letters(listing, pixels, cache, workers=environment.threads())
    manifest = pixels.manifest.assign(letters=0)
    manifest.loc[usable, "letters"] = words
    refusal, given = prepare.refusal(listing, pixels, near, request.folds, request.splits)
    found = check(listing, manifest, pixels.images, near, folds=request.folds, splits=given, refusal=refusal)
    _print(found, console)
    if request.json:
        _write(request.json, json.dumps(found.as_dict(), indent=1), console)
    if request.html:
        from reports.pages.check import html

        _write(request.html, html(found.as_dict(), _pictures(found, pixels)), console)
    return int(bool(found.count("error")) or (request.strict and bool(found.count("warning"))))


def _print(found: Audit, console: Console) -> None:
    console.print(
        Text(
            f"{found.name} ({found.layout} layout): {counted(found.n_images, 'image')} of {counted(found.n_groups, 'group')}, "
            f"{len(found.classes)} {'class' if len(found.classes) == 1 else 'classes'}, {counted(found.n_excluded, 'file')} that cannot be used"
        )
    )
    for finding in found.findings:
        facts = finding.as_dict()
        console.print(
            Text(f"{finding.code} {finding.level}: {facts['title']}: {facts['n']}", style=STYLES[finding.level])
        )
        shown = finding.rows if finding.code == REFUSED else finding.rows[:SHOWN]
        for row in shown:
            console.print(Text(f"     {row.text}"))
        if len(finding.rows) > len(shown):
            console.print(Text(f"     and {len(finding.rows) - len(shown)} more (--json, --html)"))
        console.print(Text(f"     {facts['remedy']}", style="dim"))
    counts = [f"{counted(found.count(level), 'kind')} of {level}s" for level in ("error", "warning", "note")]
    console.print(Text("; ".join(counts) if found.findings else "nothing found"))


def _write(path: Path, text: str, console: Console) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    console.print(Text(f"wrote {path}"))


def _pictures(found: Audit, pixels: Pixels) -> dict[str, bytes]:
    """Return a thumbnail of every image that a finding concerns."""
    wanted = {image for finding in found.findings for row in finding.rows for image in row.images}
    ids = pixels.usable["image_id"]
    return {image: thumbnail(pixels.images[row]) for row, image in enumerate(ids) if image in wanted}
