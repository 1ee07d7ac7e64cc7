"""Work on files in processes of their own, which are ended when a file takes too long, and which it may take along.

A decoder in C that does not return can be ended in no other way: a thread cannot. Processes are started when they are needed, one for each
thread that asks, and wait for the next file afterwards; they end with the process that started them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, cast

SECONDS = 30.0  # that a file may take, unless told otherwise
AHEAD = 64  # files begun and not yet used
_PATIENCE = 120.0  # seconds in which a process must have started and loaded its libraries
_PROGRAM = "from radiographs.readers import serve; serve()"


class CutOffError(ValueError):
    """A file that took too long, or took its process along; the message says which, in one line."""


class Readers:
    """Processes that work on one file each at a time.

    Parameters
    ----------
    started
        How many to start now, so that they load their libraries while something else is done.
    """

    def __init__(self, started: int = 0) -> None:
        self._lock = threading.Lock()
        self._idle = [_Process() for _ in range(started)]
        self._busy: set[_Process] = set()

    def do(self, work: Callable[..., Any], *arguments: Any, seconds: float = SECONDS) -> Any:
        """Call a function of a module, with arguments that can be pickled, in a process of its own.

        Raises
        ------
        CutOffError
            If it takes more than so many seconds, or ends its process.
        Exception
            Whatever the function raises.
        """
        with self._lock:
            process = self._idle.pop() if self._idle else _Process()
            self._busy.add(process)
        try:
            done, answer = process.ask(work, arguments, seconds)
        finally:
            with self._lock:
                self._busy.discard(process)
                if process.alive:
                    self._idle.append(process)
        if done:
            return answer
        raise answer

    def end(self) -> None:
        """End every process, at work or not."""
        with self._lock:
            processes, self._idle = [*self._idle, *self._busy], []
        for process in processes:
            process.end()


_shared: dict[int, Readers] = {}  # by process, for a forked one must not use its parent's


def readers(started: int = 0) -> Readers:
    """The processes that all of this process's work is given to; so many are started if there are none yet."""
    pid = os.getpid()
    if pid not in _shared:
        _shared[pid] = Readers(started)
        atexit.register(_shared[pid].end)
    return _shared[pid]


def in_order(pool: ThreadPoolExecutor, one: Callable, items: Iterable, ahead: int = AHEAD) -> Iterator:
    """Map in order with a bounded number begun, so that finished pictures do not pile up in memory behind a slow one."""
    begun: deque[Future] = deque()
    for item in items:
        begun.append(pool.submit(one, item))
        if len(begun) >= ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


class _Process:
    """One process, and the pipes to it."""

    def __init__(self) -> None:
        places = os.pathsep.join(place for place in sys.path if place)
        self._process = subprocess.Popen(  # noqa: S603 - of our own program
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where C libraries complain without saying of what file
            env={**os.environ, "PYTHONPATH": places},
        )
        self._in, self._out = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._loaded: set[str] = set()  # modules, whose loading is no file's time
        self.alive = True

    def ask(self, work: Callable[..., Any], arguments: tuple, seconds: float) -> tuple[bool, Any]:
        """Whether the work was done, and its answer; or an error."""
        if work.__module__ not in self._loaded:
            self._said((work, None, 0.0), _PATIENCE)
            if not self.alive:
                raise RuntimeError(f"no process can be started to read files in (exit code {self._process.returncode})")
            self._loaded.add(work.__module__)
        return self._said((work, arguments, seconds), seconds)

    def _said(self, question: tuple, seconds: float) -> tuple[bool, Any]:
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), self._process.kill()))
        timer.daemon = True
        timer.start()
        answer = None
        try:
            pickle.dump(question, self._in)
            self._in.flush()
            answer = pickle.load(self._out)  # noqa: S301 - of our own process
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            pass
        timer.cancel()
        if answer is None or late.is_set():
            self.end()
        if answer is not None:
            return answer
        how = f"took longer than {seconds:g} seconds" if late.is_set() else f"ended what read it ({self._ending()})"
        return False, CutOffError(how)

    def _ending(self) -> str:
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def end(self) -> None:
        """End the process, whatever it does."""
        self.alive = False
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):
                pipe.close()


def serve() -> None:
    """Life of a process: work, and answer, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends us
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    _load()
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answer(questions, answers)


def _answer(questions: BinaryIO, answers: BinaryIO) -> None:
    work, arguments, seconds = pickle.load(questions)  # noqa: S301 - of our own parent
    _end_after(seconds)
    try:
        answer = (True, None if arguments is None else work(*arguments))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        answer = (False, error)
    _end_after(0)
    pickle.dump(answer, answers)
    answers.flush()


def _end_after(seconds: float) -> None:
    """Have the system end this process some time after its parent should have done so, which may be gone."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + 5 if seconds else 0)


def _load() -> None:
    """Load, and compile, what most files need, before the first one's time begins."""
    import cv2
    import numpy as np

    from radiographs.parse import quiet_pydicom
    from radiographs.read import read_bytes

    cv2.setNumThreads(1)  # there is a process for each core
    read_bytes(cv2.imencode(".png", np.zeros((2, 2), np.uint8))[1].tobytes(), "")
    with contextlib.suppress(ModuleNotFoundError):
        quiet_pydicom()
