"""The command ``bench cite``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.terminal.console import err, out


def cite(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Run folder. Default: the software alone.", show_default=False),
    ] = None,
) -> None:
    """Print BibTeX of everything that a run used.

    With a run, also write it, a methods paragraph and two checklists under RUN/report.
    """
    from bench.inspection.reporting import print_citations

    print_citations(folder, out, err)
