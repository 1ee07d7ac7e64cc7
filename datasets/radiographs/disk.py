"""Files that are written whole or not at all, errors that name their file, and removal of what a killed process leaves behind.

Everything is written beside its place under a name that identifies the writing process, synced to disk, and renamed. So a process that
is killed leaves nothing half-written in place, and the next one knows what to remove.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_MARK = ".tmp"
_SUMS = "SHA256SUMS"
_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]{64}) [ *](?:\./)?(?P<name>.+)")  # as sha256sum writes it
_FORGOTTEN = 24 * 3600  # seconds after which another host's remains are presumed dead


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in system errors that do not: those of a full disk name none."""
    try:
        yield
    except OSError as error:
        if error.errno:
            error.filename = error.filename or str(path)
        raise


@contextmanager
def fresh_folder(place: Path, *, durable: bool = False, private: bool = False) -> Iterator[Path]:
    """Yield a folder to fill, which takes its place when it is complete and is removed otherwise; an existing one is replaced.

    `durable` folders are on the disk before they get their name; others must have checksums, as those of a cache do. What is `private` only
    its owner can read, whatever the umask.
    """
    with naming(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = beside(place)
        try:
            fresh.mkdir(mode=0o700 if private else 0o777)
            yield fresh
            if private:
                for path in fresh.rglob("*"):
                    path.chmod(0o700 if path.is_dir() else 0o600)
            if durable:
                _sync(fresh)
            if place.exists():
                place.rename(old := beside(place))
                fresh.rename(place)
                shutil.rmtree(old, ignore_errors=True)
            else:
                fresh.rename(place)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, or keep the existing one; its folder is made."""
    write_file(path, lambda fresh: fresh.write_bytes(content.encode() if isinstance(content, str) else content))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """As `write_whole`, by a function that takes the path to write to."""
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = beside(path)
        try:
            write(fresh)
            _sync_file(fresh)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def reserve(path: Path) -> None:
    """Reserve the disk space of a file that has its length but not yet its content, so that a full disk is an error now rather than a crash later."""
    if hasattr(os, "posix_fallocate"):
        with naming(path), path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def beside(place: Path) -> Path:
    """Temporary path beside a place; the name identifies the process."""
    return place.with_name(f"{_MARK}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")


def remove_leftovers(folder: Path, *, all_: bool = False) -> None:
    """Remove unfinished files of dead processes from a folder; with `all_` those of any process."""
    for path in folder.glob(f"{_MARK}-*-*-*"):
        if all_ or _is_dead(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, as ``sha256sum --check`` reads it, over every file of a folder."""
    write_whole(folder / _SUMS, "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items()))


def damage(folder: Path) -> str | None:
    """Return which file of a folder contradicts SHA256SUMS, and why; None if every file is listed there once and matches.

    Files left by file managers (hidden files and the like) are ignored. A link to a folder counts as damage: its target was not checked.
    """
    known = _named(folder / _SUMS)
    if not known:
        return f"{_SUMS}: is missing, or not a list of checksums"
    found = _digests(folder)
    name = next((name for name in sorted({*known, *found}) if known.get(name) != found.get(name)), None)
    if name is None:
        return None
    if name not in known:
        return f"{name}: is not named in {_SUMS}"
    return f"{name}: was changed or damaged" if name in found else f"{name}: is missing"


def _named(sums: Path) -> dict[str, str]:
    """Checksums by file name; none if any line is invalid or repeats a name."""
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    found = [_LINE.fullmatch(line) for line in lines]
    known = {match["name"]: match["digest"].lower() for match in found if match}
    return known if len(known) == len(lines) else {}


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its name; empty for a broken link."""
    files = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    found = {path.relative_to(folder): sha256(path) if path.is_file() else "" for path in sorted(files)}
    return {name.as_posix(): digest for name, digest in found.items() if name != Path(_SUMS) and not _is_litter(name)}


def _is_litter(name: Path) -> bool:
    return name.name in ("Thumbs.db", "desktop.ini") or any(part.startswith(".") for part in name.parts)


def _is_dead(path: Path) -> bool:
    host, pid = path.name.removeprefix(f"{_MARK}-").rsplit("-", 2)[:2]
    try:
        if host == socket.gethostname():
            return not psutil.pid_exists(int(pid))
        return path.stat().st_mtime < time.time() - _FORGOTTEN
    except (OSError, ValueError):
        return False


def _sync(folder: Path) -> None:
    """Sync every file of a folder to disk before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync_file(path)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
