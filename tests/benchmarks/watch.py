"""Time and memory of a command with all its processes: ``python tests/benchmarks/watch.py bench run ...`` (Linux).

Memory is the proportional set size, summed over the processes: a page that several of them share, such as one of a mapped file, counts once.
"""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

EVERY = 2.0  # seconds


def proportional(pid: int) -> int:
    """Bytes of a process and of those that it began."""
    total = 0
    try:
        top = psutil.Process(pid)
        for process in [top, *top.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total


def main() -> int:
    """Run the command and say what it took."""
    begun, most = time.perf_counter(), 0
    with subprocess.Popen(sys.argv[1:]) as running:
        while running.poll() is None:
            most = max(most, proportional(running.pid))
            time.sleep(EVERY)
    minutes, seconds = divmod(time.perf_counter() - begun, 60)
    print(f"{minutes:.0f}:{seconds:04.1f} min:s, at most {most / 1e9:.2f} GB, exit {running.returncode}")
    return running.returncode


if __name__ == "__main__":
    sys.exit(main())
