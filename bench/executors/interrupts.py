"""Ctrl-C is this process's own: no library may take it away, and the processes that work for this one do not hear it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

_OURS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers of signals back: some packages set their own when they are imported."""
    before = {each: signal.getsignal(each) for each in _OURS}
    try:
        yield
    finally:
        for each, handler in before.items():
            if signal.getsignal(each) is not handler:
                signal.signal(each, handler)


@contextmanager
def unheard() -> Iterator[None]:
    """Keep Ctrl-C from every thread and process that is begun in here: a terminal sends it to all of them, and this one ends the others.

    What is pressed meanwhile is heard at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # beginning later, it would let its thread hear again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
