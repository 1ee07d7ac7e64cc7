"""Sums over rows that are the same bits for any number of threads of the processor.

A matrix library sums in an order that depends on its number of threads. So rows are processed in blocks of a fixed size, each by one
thread; blocks are concatenated, and summed in order. A GPU takes all rows together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

_ROWS = 512  # of a block

Blocks = Callable[[int, Callable[[slice], Any]], list[Any]]


@contextmanager
def in_blocks(device: torch.device) -> Iterator[Blocks]:
    """Yield a function that applies another to blocks of n rows while torch uses one thread for each."""
    if device.type != "cpu":
        yield lambda n, function: [function(slice(0, n))]
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda n, function: _side_by_side(pool, n, function)
    finally:
        torch.set_num_threads(threads)


def _side_by_side(pool: ThreadPoolExecutor, n: int, function: Callable[[slice], Any]) -> list[Any]:
    places = [slice(begin, min(begin + _ROWS, n)) for begin in range(0, n, _ROWS)]
    return [function(places[0])] if len(places) == 1 else list(pool.map(function, places))
