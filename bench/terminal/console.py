"""Where commands print, and what they do when nobody reads."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

from rich.console import Console
from rich.markup import escape

_IN_A_FILE = 200  # columns of output that is not a terminal: wide enough to truncate nothing


def _width() -> int | None:
    """Columns to write in; None asks the terminal."""
    seen = sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()
    return None if seen or "COLUMNS" in os.environ else _IN_A_FILE


out = Console(highlight=False, soft_wrap=True, width=_width())
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say_error(message: str) -> None:
    """Print an error as one line on standard error."""
    with suppress(OSError):  # perhaps closed
        err.print(f"[bold red]error:[/] {escape(message)}")


def silence_broken_pipe() -> None:
    """Discard Python's last flush of a broken pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_streams() -> None:
    """Make closed streams printable, and keep an encoding without × or – from ending a run."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for the whole life of the process
        getattr(sys, name).reconfigure(errors="replace")


class WarningHandler(logging.Handler):
    """Warnings of the rooms, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning."""
        with suppress(OSError):
            err.print(escape(f"note: {record.getMessage()}"))
