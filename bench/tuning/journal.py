"""The journal that holds all trials: Optuna's own format, a line of JSON for each thing that happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from bench.errors import UserError

NAME = "trials.journal"


class _FolderIsLocked:
    """Replaces Optuna's lock: the folder's own is held, and Optuna would wait for one left behind by a killed process."""

    def acquire(self) -> bool:
        """Succeed."""
        return True

    def release(self) -> None:
        """Do nothing."""


def open_journal(folder: Path) -> JournalStorage:
    """Open the journal of a folder, or start one. Only the owner of the folder's lock may call this.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / NAME
    if path.exists():
        _end_with_a_whole_line(path)
    lock: Any = _FolderIsLocked()  # the base class of locks is private
    try:
        return JournalStorage(JournalFileBackend(str(path), lock))
    except OSError:
        raise
    except Exception as error:  # Optuna raises anything on a damaged journal
        raise UserError(
            f"{path}: is damaged ({type(error).__name__}): give another --out, or remove it to begin again"
        ) from error


def _end_with_a_whole_line(path: Path) -> None:
    """Truncate a line that a killed process left unfinished."""
    with path.open("r+b") as stream:
        content = stream.read()
        stream.truncate(content.rfind(b"\n") + 1)
