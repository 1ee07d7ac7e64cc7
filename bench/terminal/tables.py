"""Tables as the terminal shows them."""

from __future__ import annotations

from rich.table import Table


def plain_table(title: str) -> Table:
    """Return an empty table without lines, with its title at the left."""
    return Table(title=title, box=None, padding=(0, 2, 0, 0), title_justify="left")
