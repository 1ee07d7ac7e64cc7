"""How many threads libraries use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def using_threads(n: int) -> Iterator[None]:
    """Let every library with its own threads use `n`; for PyTorch and numba this is permanent."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(n):
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(n)
        if "numba" in sys.modules:
            sys.modules["numba"].set_num_threads(min(n, sys.modules["numba"].config.NUMBA_NUM_THREADS))
        yield
