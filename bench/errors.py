"""Errors that a user can fix: each is one line that names the file or key, what is wrong and the way out."""

from __future__ import annotations

import errno
import os

_DISK = {
    code
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "ESTALE", "ENODEV", "ENXIO", "EMFILE", "ENFILE")
    if (code := getattr(errno, name, None))
}
# By name, since the rooms do not import each other, and naming them here would load their libraries.
_USER_ERRORS = {
    "UserError",
    "SourceError",
    "SplitsError",
    "CardError",
    "UnreadableImageError",
    "ResultsError",
    "NotInstalledError",
    "WeightsUnavailableError",
}


class UserError(ValueError):
    """Wrong input; the command line prints the message and ends with exit code 2."""


class DiskError(UserError):
    """Files that could not be written: the disk is full, over quota or broken, or the folder is gone. Exit code 1."""


def is_user_error(error: BaseException) -> bool:
    """Whether the message of an error is one line for the user."""
    return any(kind.__name__ in _USER_ERRORS for kind in type(error).__mro__)


def is_disk_error(error: BaseException) -> bool:
    """Whether the disk failed, rather than the request."""
    return isinstance(error, OSError) and error.errno in _DISK


def one_line(error: BaseException, most: int = 500) -> str:
    """Return the message of an error as one line of at most this many characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def cause(error: OSError) -> str:
    """Return file and reason, such as ``runs/a/run.json: No space left on device``."""
    reason = os.strerror(error.errno) if error.errno else one_line(error)
    return f"{error.filename}: {reason}" if error.filename else reason
