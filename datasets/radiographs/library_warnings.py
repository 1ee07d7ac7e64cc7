"""Warnings of libraries while a file is read: collected as remarks on that file instead of anonymous lines on the terminal."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cv2
from PIL import Image

_MODULES = r"(PIL|tifffile|numpy|radiographs)(\.|$)"
_LOGGERS = ("PIL", "tifffile")
_LONGEST = 160
_here = threading.local()  # `collected`: the list of the file that this thread reads
_before: Any = None  # the previous handler


@contextmanager
def captured_warnings() -> Iterator[list[str]]:
    """Collect the warnings of this thread; those of other threads are not affected."""
    _install()
    _here.collected = []
    try:
        yield _here.collected
    finally:
        _here.collected = None


def _install() -> None:
    """Intercept the display of warnings; any `warnings.catch_warnings` removes the hook again."""
    global _before
    _quiet_c_libraries()
    if warnings.showwarning is not _show:
        _before = warnings.showwarning
        warnings.showwarning = _show
        warnings.filterwarnings("always", module=_MODULES)
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # readers have their own limit
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            if not any(isinstance(handler, _WarningHandler) for handler in logger.handlers):
                logger.addHandler(_WarningHandler(logging.WARNING))
                logger.propagate = False


@cache
def _quiet_c_libraries() -> None:
    """Keep libtiff and OpenCV from writing to the terminal; their callers raise errors."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with contextlib.suppress(
        OSError, AttributeError
    ):  # another build of Pillow, which has libtiff inside or not at all
        library = ctypes.CDLL(Image.core.__file__)
        for name in ("TIFFSetWarningHandler", "TIFFSetErrorHandler"):
            getattr(library, name)(None)


def _show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
    if getattr(_here, "collected", None) is None:
        _before(message, category, *rest, **more)
    else:
        _collect(str(message))


class _WarningHandler(logging.Handler):
    """Collects what a library logs; of messages that hold values of the file (as tifffile's do) only the logger's name."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(_here, "collected", None) is not None:
            _collect(f"{record.name.partition('.')[0]} reports damage in its structure")


def _collect(words: str) -> None:
    words = " ".join(words.split())[:_LONGEST].rstrip(". ")
    if words and words not in _here.collected:
        _here.collected.append(words)
