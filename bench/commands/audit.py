"""The command ``bench audit``: what a model says of a hospital's own tree of DICOM files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bench.commands.options import MaxSeconds
from bench.terminal.console import out as console

if TYPE_CHECKING:
    from bench.audit.audit import AuditOutcome


def audit(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a model.")],
    tree: Annotated[Path, typer.Argument(metavar="DICOM-TREE", help="Top of a tree of DICOM files; it is only read.")],
    out: Annotated[Path, typer.Option(help="Folder for worklist.csv, images.csv and audit.html.")] = Path("audit"),
    write_tags: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write copies with a corrected BodyPartExamined to this new folder, and a log beside it.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Also write audit.json.")] = False,
    threshold: Annotated[float, typer.Option(help="Misfit, 0 to 1, from which on an exam is listed.")] = 0.5,
    pseudonyms: Annotated[
        bool, typer.Option("--pseudonyms", help="Running numbers for exams and files, no texts of headers.")
    ] = False,
    max_seconds: MaxSeconds = 30,
) -> None:
    """List exams whose images do not fit their registration, worst first, with the pictures. No DICOM file is changed."""
    from bench.audit.audit import audit as find_misfits
    from bench.environment import threads
    from bench.inference.model import load_model
    from bench.terminal.progress import Progress

    outcome = find_misfits(
        load_model(model),
        tree,
        out,
        write_tags=write_tags,
        json=json,
        threshold=threshold,
        pseudonyms=pseudonyms,
        workers=threads(),
        seconds=max_seconds,
        counting=Progress(console).counting,
    )
    _print(outcome, write_tags)


def _print(outcome: AuditOutcome, write_tags: Path | None) -> None:
    counts = "; ".join(f"{status}: {n}" for status, n in outcome.counts.items() if n)
    lines = [
        f"{outcome.listed} of {outcome.exams} exams do not fit their registration",
        f"{outcome.images} files: {counts}",
    ]
    if outcome.unknown_classes:
        lines.append(f"classes without words, which fit everything: {', '.join(outcome.unknown_classes)}")
    if write_tags is not None:
        lines.append(f"{outcome.copied} corrected copies in {write_tags}, {outcome.refused} refused: the log says why")
    for line in [*lines, *(f"wrote {path}" for path in outcome.written)]:
        console.print(Text(line))
