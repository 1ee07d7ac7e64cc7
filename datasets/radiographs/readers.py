"""Work on files in separate processes, which are killed when a file takes too long, and which a file may crash.

A decoder in C that does not return cannot be stopped otherwise: a thread cannot be killed. Processes are started on demand, one for each
calling thread, and wait for the next file afterwards; they end with the process that started them.

Requests and results are plain bytes (`radiographs.messages`), and a result is decoded as the type that the function is annotated with: a
decoder that a file has taken over can give a wrong result, but none that runs code in the calling process.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import typing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from radiographs.messages import Message, MessageError, receive, send

SECONDS = 30.0  # seconds that a file may take by default
AHEAD = 64  # files read ahead
_PATIENCE = 120.0  # seconds in which a process must have started and loaded its libraries
_ANSWER_LIMIT = 1 << 28  # bytes of a result's arrays
_PROGRAM = "from radiographs.readers import serve; serve()"


class CutOffError(ValueError):
    """A file that took too long, or crashed its process; the message says which, in one line."""


class Readers:
    """Processes that work on one file each at a time.

    Parameters
    ----------
    started : int, default 0
        Number of processes to start now, so that they load their libraries in the meantime.
    """

    def __init__(self, started: int = 0) -> None:
        self._lock = threading.Lock()
        self._idle = [_Process() for _ in range(started)]
        self._busy: set[_Process] = set()

    def do(self, work: Callable[..., Any], *arguments: Any, seconds: float = SECONDS) -> Any:
        """Call a function of a module in a process of its own.

        Parameters
        ----------
        work : callable
            Its annotations decide how arguments and result are decoded; without them both are plain values.
        *arguments : object
            What `radiographs.messages.send` can send.
        seconds : float
            Time limit.

        Returns
        -------
        object
            What the function returns.

        Raises
        ------
        CutOffError
            If it takes longer, crashes its process, or returns anything but a value of its type.
        Exception
            What the function raises, if it is a built-in error or one that the function's module defines or imports; else RuntimeError.
        """
        with self._lock:
            process = self._idle.pop() if self._idle else _Process()
            self._busy.add(process)
        try:
            return process.ask(work, arguments, seconds)
        finally:
            with self._lock:
                self._busy.discard(process)
                if process.alive:
                    self._idle.append(process)

    def end(self) -> None:
        """End every process, busy or not."""
        with self._lock:
            processes, self._idle = [*self._idle, *self._busy], []
        for process in processes:
            process.end()


_shared: dict[int, Readers] = {}  # by process, for a forked one must not use its parent's


def readers(started: int = 0) -> Readers:
    """Return the processes that do all of this process's work; start this many if there are none yet."""
    pid = os.getpid()
    if pid not in _shared:
        _shared[pid] = Readers(started)
        atexit.register(_shared[pid].end)
    return _shared[pid]


def in_order(pool: ThreadPoolExecutor, one: Callable, items: Iterable, ahead: int = AHEAD) -> Iterator:
    """Map in order with bounded read-ahead, so that finished pictures do not pile up in memory behind a slow one."""
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
            stderr=subprocess.DEVNULL,  # where C libraries write warnings without naming the file
            env={**os.environ, "PYTHONPATH": places},
        )
        self._in, self._out = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._loaded: set[str] = set()  # modules, whose loading counts for no file
        self.alive = True

    def ask(self, work: Callable[..., Any], arguments: tuple, seconds: float) -> Any:
        """Do the work in the process; return its result or raise its error."""
        if work.__module__ not in self._loaded:
            with contextlib.suppress(CutOffError):
                self._exchange(work, None, _PATIENCE)
            if not self.alive:
                raise RuntimeError(f"cannot start a process to read files (exit code {self._process.returncode})")
            self._loaded.add(work.__module__)
        return self._exchange(work, arguments, seconds)

    def _exchange(self, work: Callable[..., Any], arguments: tuple | None, seconds: float) -> Any:
        expected = None if arguments is None else _annotations(work).get("return", Any)
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), self._process.kill()))
        timer.daemon = True
        timer.start()
        question = {
            "module": work.__module__,
            "name": work.__qualname__,
            "arguments": arguments,
            "seconds": 0.0 if arguments is None else seconds,
        }
        answer, wrong = None, False
        try:
            send(self._in, question)
            answer = _answer_of(receive(self._out, _ANSWER_LIMIT), work.__module__, expected)
        except MessageError:
            wrong = True
        except (OSError, EOFError):
            pass
        finally:
            timer.cancel()
            if answer is None or late.is_set():
                self.end()
        if answer is None:
            raise CutOffError(self._why(seconds, late=late.is_set(), wrong=wrong))
        result, error = answer
        if error is not None:
            raise error
        return result

    def _why(self, seconds: float, *, late: bool, wrong: bool) -> str:
        if late:
            return f"took longer than {seconds:g} seconds"
        return "made its reader return an invalid result" if wrong else f"crashed its reader ({self._ending()})"

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
    """Work and reply until the pipe is closed: the main loop of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it, and ends us
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries is not a result
    _load()
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answer(questions, answers)


def _answer(questions: BinaryIO, answers: BinaryIO) -> None:
    question = receive(questions)
    _end_after(question.at("seconds").as_type(float))
    try:
        work: Any = importlib.import_module(question.at("module").as_type(str))
        for step in question.at("name").as_type(str).split("."):
            work = getattr(work, step)
        answer = {"value": _call(work, question.at("arguments")), "error": None}
    except Exception as error:  # noqa: BLE001 - the parent raises it
        answer = {"value": None, "error": _Failure.of(error)}
    _end_after(0)
    send(answers, answer)


def _call(work: Callable[..., Any], arguments: Message) -> Any:
    """Return the function's result; None if it only needs to be loaded."""
    values = arguments.as_type(list[Any] | None)
    if values is None:
        return None
    kinds = [kind for name, kind in _annotations(work).items() if name != "return"]
    kinds += [Any] * (len(values) - len(kinds))  # without annotations: plain values
    return work(*(arguments.at(k).as_type(kinds[k]) for k in range(len(values))))


def _annotations(work: Callable[..., Any]) -> dict[str, Any]:
    """Types of arguments and result; none for a class, whose annotations describe its attributes."""
    return {} if isinstance(work, type) else typing.get_type_hints(work)


@dataclass(frozen=True)
class _Failure:
    """A serialised error: the name of its class, and its arguments."""

    name: str
    arguments: tuple[str | int | None, ...]
    text: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        """Serialise an error."""
        arguments: tuple = error.args
        if isinstance(error, OSError) and error.errno is not None:
            arguments = (error.errno, error.strerror, None if error.filename is None else str(error.filename))
        if not all(isinstance(argument, str | int | None) for argument in arguments):
            arguments = (str(error),)
        return cls(type(error).__name__, arguments, str(error))

    def as_error(self, module: str) -> Exception:
        """Restore the error: a built-in one, or one that the module has under that name."""
        kind = vars(sys.modules[module]).get(self.name) or getattr(builtins, self.name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            with contextlib.suppress(TypeError):  # made with something else
                return kind(*self.arguments)
        return RuntimeError(f"{self.name}: {self.text}")


def _answer_of(message: Message, module: str, expected: Any) -> tuple[Any, Exception | None]:
    """Return a function's result, of the expected type, or raise its error."""
    failure: _Failure | None = message.at("error").as_type(_Failure | None)
    if failure is not None:
        return None, failure.as_error(module)
    return message.at("value").as_type(expected), None


def _end_after(seconds: float) -> None:
    """Have the system end this process some time after its parent should have, in case the parent is gone."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + 5 if seconds else 0)


def _load() -> None:
    """Load, and compile, what most files need, before the first one is timed."""
    import cv2
    import numpy as np

    from radiographs.parse import quiet_pydicom
    from radiographs.read import read_bytes

    cv2.setNumThreads(1)  # there is a process for each core
    read_bytes(cv2.imencode(".png", np.zeros((2, 2), np.uint8))[1].tobytes(), "")
    with contextlib.suppress(ModuleNotFoundError):
        quiet_pydicom()
