"""The clock and the memory meter. The timed region is the call and nothing else; raw samples are kept."""

from __future__ import annotations

import atexit
import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from reports.runs.costs import SPREAD_LIMIT

T = TypeVar("T")

_ENOUGH = 0.3  # seconds: predictions are not repeated beyond this total
_SAMPLES = 5
_LOAD = 0.10  # share of all cores that others may keep busy
_collected = {"modules": 0}
_TICKS = 0.2  # seconds: the system counts in hundredths, too coarse for shorter regions


@dataclass
class Cost:
    """What a measured region took."""

    seconds: float = 0.0
    peak_memory_bytes: int = 0
    load_of_others: float = 0.0  # cores that other processes kept busy meanwhile


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure wall-clock seconds and peak resident memory of a region.

    The kernel's high-water mark is reset at the start where the system allows it (Linux); elsewhere the peak is that of the
    whole process so far.
    """
    cost = Cost()
    _collect()
    _reset_peak()
    before, start = _processor_seconds(), time.perf_counter()
    yield cost
    _wait_for_device()
    cost.seconds = time.perf_counter() - start
    everyone, ours = (after - then for after, then in zip(_processor_seconds(), before, strict=True))
    cost.load_of_others = max(0.0, everyone - ours) / cost.seconds if cost.seconds > _TICKS else 0.0
    cost.peak_memory_bytes = _peak()


def timed_repeats(call: Callable[[], T]) -> tuple[T, list[float]]:
    """Return the result of a call, and raw seconds: one sample for a slow call, up to five for a quick one."""
    samples: list[float] = []
    while True:
        start = time.perf_counter()
        result = call()
        _wait_for_device()
        samples.append(time.perf_counter() - start)
        if len(samples) >= _SAMPLES or sum(samples) > _ENOUGH:
            return result, samples


def free_memory() -> None:
    """Free unused memory, including a GPU's."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def warnings(samples: list[float], load_of_others: float = 0.0) -> list[str]:
    """Warn if timings are unreliable: the samples vary widely, or other processes were busy.

    >>> warnings([1.0, 1.01, 0.99])
    []
    >>> warnings([1.0, 2.0, 1.0], 0.52)
    ['prediction times spread by 100 % of their median', 'other processes kept 0.5 cores busy during the fit']
    """
    found = []
    if load_of_others > _LOAD * (os.cpu_count() or 1):
        found = [f"other processes kept {load_of_others:.1f} cores busy during the fit"]
    if len(samples) < 2:
        return found
    spread = (max(samples) - min(samples)) / statistics.median(samples)
    words = f"prediction times spread by {spread:.0%} of their median".replace("%", " %")
    return ([words] if spread > SPREAD_LIMIT else []) + found


def _collect() -> None:
    """Collect garbage; modules loaded so far are not scanned again (with torch that would take 0.2 s before each region)."""
    gc.collect()
    if _collected["modules"] < len(sys.modules):
        gc.freeze()
        atexit.register(gc.unfreeze)  # extension modules check at exit that all their objects are freed
        _collected["modules"] = len(sys.modules)


def _processor_seconds() -> tuple[float, float]:
    """Seconds that all processes, and that this one, have computed so far."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user and nice already
    return sum(times) - idle - guest, time.process_time()


def _wait_for_device() -> None:
    """GPU work is queued: stop the clock when it is done, not when it is submitted."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
