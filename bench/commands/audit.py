"""The command ``bench audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bench.commands.options import MaxSeconds, ModelFolder, TrustCode
from bench.terminal.console import out as console


def audit(
    model: ModelFolder,
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
    threshold: Annotated[float, typer.Option(help="List exams with a mismatch of at least this, 0 to 1.")] = 0.5,
    pseudonyms: Annotated[
        bool, typer.Option("--pseudonyms", help="Use running numbers for exams and files, and no texts of headers.")
    ] = False,
    max_seconds: MaxSeconds = 30,
    trust_code: TrustCode = False,
) -> None:
    """List exams whose images do not fit their registration, worst first, with the pictures. No DICOM file is changed."""
    from bench.audit.audit import audit as audit_tree
    from bench.environment import threads
    from bench.inference.model import load_model
    from bench.terminal.progress import Progress

    outcome = audit_tree(
        load_model(model, trusted=trust_code),
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
    for line in outcome.lines():
        console.print(Text(line))
