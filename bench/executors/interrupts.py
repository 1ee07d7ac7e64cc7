"""Ctrl-C is this process's own: no library may take it over, and worker processes ignore it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

_OURS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Restore the signal handlers: some packages set their own on import."""
    before = {each: signal.getsignal(each) for each in _OURS}
    try:
        yield
    finally:
        for each, handler in before.items():
            if signal.getsignal(each) is not handler:
                signal.signal(each, handler)


@contextmanager
def unheard() -> Iterator[None]:
    """Shield every thread and process started in here from Ctrl-C: a terminal sends it to all of them, and this process ends the others.

    A Ctrl-C in the meantime takes effect at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # if it began later, its thread would receive the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
