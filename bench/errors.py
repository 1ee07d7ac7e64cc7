"""What a user can mend: every such error is one line that names the file or key, what is wrong and the way out."""

from __future__ import annotations

import errno
import os

_DISK = {
    code
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "ESTALE", "ENODEV", "ENXIO", "EMFILE", "ENFILE")
    if (code := getattr(errno, name, None))
}


class UserError(ValueError):
    """Wrong input; the command line prints the message and ends with exit code 2."""


class DiskError(UserError):
    """Files that could not be written: the disk is full, over quota or broken, or the folder is gone. Exit code 1."""


def is_disk_error(error: BaseException) -> bool:
    """Whether it is the disk that fails, and not what somebody asked of it."""
    return isinstance(error, OSError) and error.errno in _DISK


def one_line(error: BaseException, most: int = 500) -> str:
    """Return what an error says as one line of at most so many characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def cause(error: OSError) -> str:
    """Return file and reason, such as ``runs/a/run.json: No space left on device``."""
    reason = os.strerror(error.errno) if error.errno else one_line(error)
    return f"{error.filename}: {reason}" if error.filename else reason
