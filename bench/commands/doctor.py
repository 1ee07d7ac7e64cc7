"""The command ``bench doctor``."""

from __future__ import annotations

import typer

from bench.commands.options import WeightsDir
from bench.terminal.console import out


def doctor(weights_dir: WeightsDir = None) -> None:
    """Show what this machine can do: packages, GPU, threads, cache, weights."""
    from bench.inspection.doctor import examine

    raise typer.Exit(examine(out, weights_dir))
