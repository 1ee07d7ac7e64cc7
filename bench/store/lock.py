"""One run at a time on one folder, on this machine or another: a file that says who owns it.

The file appears whole, by a hard link, which succeeds for only one process on every cluster file system; nothing here relies on flock, which
some of them only pretend to support. An owner that is gone is replaced by renaming its file, which again succeeds for one process
only. An owner that was presumed dead and wakes up finds another's file and stops before it writes anything.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from radiographs.disk import beside, naming

from bench.store.run_folder import RunFolder, StoreError

_BEAT = 20.0  # seconds between signs of life
_SILENCE = 300.0  # seconds without one after which an owner on another host is presumed dead
_TRIES = 20
_WRITING = 0.2  # seconds


class Lock:
    """Holds a run folder for one process.

    Raises
    ------
    StoreError
        On entering, if a living process holds the folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.path = folder.root / "lock"
        self.owner = _me()
        self._stop = threading.Event()

    def __enter__(self) -> Lock:
        """Take the lock, or raise."""
        for _ in range(_TRIES):
            if self._created():
                threading.Thread(target=self._beat, daemon=True).start()
                return self
            self._take_over()
        raise StoreError(
            f"{self.path.parent}: several runs are competing for this folder: try again, or give another --out"
        )

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._stop.set()
        if self.is_mine():
            self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Check that this process still owns the folder.

        Raises
        ------
        StoreError
            If it does not: this process slept so long that it was presumed dead.
        """
        if not self.path.exists():
            raise StoreError(f"{self.path}: is gone, perhaps with the folder: stopping; run the same command again")
        if not self.is_mine():
            raise StoreError(
                f"{self.path.parent}: another run took over this folder: stopping, nothing more is written"
            )

    def is_mine(self) -> bool:
        """Whether this process still owns the folder."""
        return (_read(self.path) or {}).get("mark") == self.owner["mark"]

    def _created(self) -> bool:
        fresh = beside(self.path)
        with naming(self.path):
            fresh.write_text(json.dumps(self.owner), encoding="utf-8")
            try:
                os.link(fresh, self.path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                return self._created_without_links()
            finally:
                fresh.unlink(missing_ok=True)
        return True

    def _created_without_links(self) -> bool:
        try:
            with self.path.open("x", encoding="utf-8") as stream:
                json.dump(self.owner, stream)
        except FileExistsError:
            return False
        return True

    def _take_over(self) -> None:
        """Remove the file of an owner that is gone; refuse if it is alive."""
        if os.path.lexists(self.path) and (self.path.is_symlink() or not self.path.is_file()):
            raise StoreError(f"{self.path}: is not a lock file of a run: remove it, or give another --out")
        owner = _read(self.path)
        if owner == {}:  # without hard links it may still be being written
            time.sleep(_WRITING)
            owner = _read(self.path)
        if owner is None:
            return
        if not owner and self._silence() <= _SILENCE:
            raise StoreError(
                f"{self.path}: is damaged, so its owner is unknown: wait {_SILENCE / 60:g} minutes, after which it is ignored, or "
                "remove it if no other run uses this folder"
            )
        if owner and not self._is_gone(owner):
            raise StoreError(
                f"{self.path.parent}: in use by process {owner['pid']} on {owner['host']} since {owner['since']}: "
                f"wait for it, or give another --out (if that process is gone, remove {self.path})"
            )
        taken = beside(self.path)
        try:
            self.path.rename(taken)
        except FileNotFoundError:
            return  # another process was faster
        found = _read(taken)
        if found != owner and found is not None:  # of a run that began in between: give it back
            try:
                os.link(taken, self.path)
            except OSError:
                taken.rename(self.path)
        taken.unlink(missing_ok=True)

    def _is_gone(self, owner: dict[str, Any]) -> bool:
        if owner["host"] != socket.gethostname():
            return self._silence() > _SILENCE
        return not psutil.pid_exists(owner["pid"]) or _started(owner["pid"]) != owner.get("started")

    def _silence(self) -> float:
        """Seconds since the owner's last sign of life by the clock of the file system, which all hosts share."""
        now = beside(self.path)
        try:
            now.touch()
            return now.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            now.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT):
            if self.is_mine():
                try:
                    os.utime(self.path)
                except OSError:
                    continue


def _read(path: Path) -> dict[str, Any] | None:
    """Owner of a lock; empty for a damaged one; None if there is none."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) and _is_whole(owner) else {}


def _is_whole(owner: dict[str, Any]) -> bool:
    """Whether all entries of an owner are present and of the right type."""
    pid = owner.get("pid")
    texts = all(isinstance(owner.get(key), str) for key in ("host", "since", "mark"))
    return texts and type(pid) is int and 0 < pid < 1 << 31


def _me() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "mark": secrets.token_hex(8),
    }


def _started(pid: int) -> str | None:
    """Start of a process, independent of clock changes: it distinguishes a living owner from another process with the same number."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        )  # ticks since boot, proc(5)
    except OSError:
        try:
            return f"{psutil.Process(pid).create_time():.1f}"
        except psutil.Error:
            return None
