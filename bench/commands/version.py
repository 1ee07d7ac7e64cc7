"""The command ``bench version``."""

from __future__ import annotations

import bench
from bench.terminal.console import out


def version() -> None:
    """Show the version."""
    out.print(bench.__version__)
