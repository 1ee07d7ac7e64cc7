"""Download a data set whose licence allows it: resumed, verified, and unpacked without writing outside the folder."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from radiographs.disk import beside
from radiographs.listing import SourceError

FEWEST_DIGITS = 8  # of a checksum: PyTorch's file names carry no more
CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte
PARTIAL = 206  # HTTP: the rest of a file, as requested


def fetch(url: str, target: Path, checksum: str, progress: Callable[[int, int], object] = max) -> Path:
    """Download a file; an interrupted download is resumed.

    Parameters
    ----------
    url : str
    target : Path
        Final path, used once the file is complete and its hash is right; until then it has the suffix ".part".
    checksum : str
        Such as "sha256:9f86..." or "md5:0bc7..."; the first eight digits or more will do.
    progress : callable
        Called with the bytes received and the total (0 if the server does not state it).

    Raises
    ------
    SourceError
        If the server cannot be reached or the content does not match.
    """
    kind, _, wanted = checksum.partition(":")
    if len(wanted) < FEWEST_DIGITS:
        raise ValueError(f"checksum {checksum!r}: give {FEWEST_DIGITS} digits or more")
    if target.is_file() and _hash(target, kind).startswith(wanted):
        return target
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part, progress)
    except (
        OSError,
        HTTPException,
        ValueError,
    ) as error:  # ValueError: of an answer that is not HTTP, such as a length that is not a number
        reason = getattr(error, "reason", None) or error
        said = " ".join(str(reason).split())[:150] or type(error).__name__
        raise SourceError(f"{url}: the download failed ({said}); the same command resumes it") from None
    found = _hash(part, kind)
    if not found.startswith(wanted):
        part.unlink()
        raise SourceError(
            f"{url}: the download is damaged or was changed ({kind} {found[:12]}, not {wanted[:12]}); it was removed"
        )
    part.replace(target)
    return target


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a .zip or .tar.* file into a folder that appears when it is complete.

    Raises
    ------
    SourceError
        If it is not an archive, is damaged, or holds a path that leads outside the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = beside(folder)
    fresh.mkdir()
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for member in file.infolist():
                    if not (fresh / member.filename).resolve().is_relative_to(fresh.resolve()):
                        raise SourceError(
                            f"{archive}: holds {member.filename!r}, which leads outside the folder; nothing was unpacked"
                        )
                file.extractall(fresh)  # noqa: S202 - every name was checked
        else:
            with tarfile.open(archive) as file:
                file.extractall(fresh, filter="data")  # refuses paths that lead outside, links and devices
        inner = [path for path in fresh.iterdir() if not path.name.startswith(".")]
        if not inner:
            raise SourceError(f"{archive}: holds no file")
        whole = inner[0] if len(inner) == 1 and inner[0].is_dir() else fresh
        whole.rename(folder)
    except tarfile.FilterError as error:
        raise SourceError(
            f"{archive}: {type(error).__name__}: a path leads outside the folder; nothing was unpacked"
        ) from None
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 - the archive modules raise anything on passwords, methods and damage
        said = " ".join(str(error).split())[:150] or type(error).__name__
        raise SourceError(
            f"{archive}: cannot be unpacked ({said}): unpack it by other means into {folder}, or remove it to fetch it again"
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _receive(url: str, part: Path, progress: Callable[[int, int], object]) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if not url.startswith(("https://", "http://")):
        raise OSError(f"{url.split(':')[0]} is not http")
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - http alone, above
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send
            return
        raise
    with answer, part.open("ab" if answer.status == PARTIAL else "wb") as stream:
        have = stream.tell()
        total = have + int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(CHUNK):
            stream.write(chunk)
            have += len(chunk)
            progress(have, total)
    if total and have < total:
        raise OSError(f"received {have:,} of {total:,} bytes")


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
