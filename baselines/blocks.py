"""Matrix products that are the same bits for any number of threads.

A matrix library sums in an order that depends on its number of threads. So rows are processed in blocks of a fixed size, each by one
thread; blocks are concatenated, and summed in order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import numpy as np
from threadpoolctl import ThreadpoolController

_ROWS = 2048  # of a block

Blocks = Callable[[Callable[[slice], np.ndarray]], list[np.ndarray]]


@contextmanager
def blocks(n: int, rows: int = _ROWS) -> Iterator[Blocks]:
    """Yield a function that applies another to blocks of n rows in parallel, while the matrix library uses one thread."""
    places = [slice(begin, min(begin + rows, n)) for begin in range(0, n, rows)]
    if len(places) <= 1:
        with one_thread():
            yield lambda function: [function(place) for place in places]
        return
    with ThreadPoolExecutor(threads()) as pool, one_thread():
        yield lambda function: list(pool.map(function, places))


def one_thread() -> AbstractContextManager:
    """Return a context in which the matrix library uses one thread."""
    return _libraries(len(sys.modules)).limit(limits=1, user_api="blas")


def threads() -> int:
    """Return the current number of threads of the matrix library: a cell may have a share of the cores."""
    found = _libraries(len(sys.modules)).select(user_api="blas").info()
    return max((each["num_threads"] for each in found), default=1)


@lru_cache(1)
def _libraries(loaded: int) -> ThreadpoolController:  # noqa: ARG001 - libraries loaded since may have their own threads
    """Libraries with threads; finding them takes longer than a small product."""
    return ThreadpoolController()
