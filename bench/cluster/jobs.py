"""Jobs of a batch system: why they wait is reported, and one that ends while there is work left is submitted again.

SLURM is asked for the state of its jobs. Elsewhere a job counts as ended when its worker was there and Dask has missed it for a minute.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
from distributed import Status

from bench.cluster.config import ClusterLostError, Queue
from bench.errors import UserError

AGAIN = 3  # times that each job is submitted again without a result in between
_LOOK = 10.0  # seconds between two questions to the batch system, which has others to serve
_ANSWER = 30.0  # seconds in which the batch system must answer
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}  # fmt: skip
_SHOWN_BY = {"slurm": "squeue", "pbs": "qstat -f", "lsf": "bjobs -l", "sge": "qstat -j", "htcondor": "condor_q -better"}


@dataclass(frozen=True)
class State:
    """The batch system's view of a job, such as PENDING and Resources."""

    word: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.word in _ENDED

    def __str__(self) -> str:
        """Such as TIMEOUT: TimeLimit; of a cancelled job, what it was waiting for."""
        return ": ".join(filter(None, (self.word, self.reason if self.word != "CANCELLED" else "")))


class Jobs:
    """Keeps as many jobs in the queue as the file asks for.

    Parameters
    ----------
    queue : Queue or None
        What the file says; None where no batch system is asked: then there is nothing to watch.
    cluster : object
        Of dask-jobqueue.
    note : callable
        Called with notes for the user.
    """

    def __init__(self, queue: Queue | None, cluster: Any, note: Callable[[str], None]) -> None:
        self.queue = queue
        self.cluster = cluster
        self.note = note
        self.ends = 0  # in a row
        self.waiting = ""  # why jobs wait
        self._last_end = ""
        self._said: set[str] = set()
        self._looked = time.monotonic()
        self._numbers: dict[str, str] = {}  # of jobs, by their workers' names
        if queue and queue.is_alone:
            note(f"the scheduler listens on this machine alone (127.0.0.1){_hint(queue)}")

    def has_result(self) -> None:
        """Note that the jobs produce results: ends are counted from zero again."""
        self.ends = 0

    def check(self) -> None:
        """Check what became of the jobs, not more often than a batch system likes.

        Raises
        ------
        ClusterLostError
            If no job is left and too many ended without a result.
        """
        if self.queue is None or time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        self._numbers |= {name: job.job_id for name, job in list(self.cluster.workers.items()) if job.job_id}
        states = self._states()
        ended = {name: state for name, state in states.items() if state.ended}
        for name in ended:
            del self.cluster.worker_spec[name]
        words = [f"job {self._numbers.get(name, '')} has ended ({state})" for name, state in ended.items()]
        self._last_end = words[-1] if words else self._last_end
        self.ends += len(ended)
        self._fill(self.queue.jobs, "; ".join(words))
        self._say_why({self._numbers[name]: state for name, state in states.items() if state.word == "PENDING"})

    def _states(self) -> dict[str, State]:
        """States of jobs by their workers' names; unknown ones are left out."""
        names = list(self.cluster.worker_spec)
        gone = {name: State("COMPLETED", "its worker is gone") for name in names if name not in self.cluster.workers}
        there = {name: self._numbers[name] for name in names if name in self._numbers and name not in gone}
        found = _asked_slurm(list(there.values())) if self.queue and self.queue.kind == "slurm" else None
        if found is None:
            return gone
        return gone | {name: found.get(number, State("COMPLETED")) for name, number in there.items()}

    def _fill(self, wanted: int, ended: str) -> None:
        """Replace jobs that have ended, unless too many did."""
        missing = wanted - len(self.cluster.worker_spec)
        if missing and self.ends <= AGAIN * wanted:
            try:
                names = submit(self.cluster, missing)
            except UserError as error:
                self.ends += 1
                self._last_end = str(error)
                self.note(f"{ended}; {error}" if ended else str(error))
            else:
                numbers = ", ".join(self.cluster.workers[name].job_id for name in names)
                self.note(f"{ended or 'jobs were missing'}: submitted again as {numbers}")
        elif missing == wanted:
            raise ClusterLostError(
                f"the jobs end before computing anything (last: {self._last_end}; their output says more): too short a walltime, "
                f"too little memory, or a scheduler that they cannot reach{_hint(self.queue)}"
            )
        elif ended:
            self.note(f"{ended}, like others before, without a result: not submitted again")

    def _say_why(self, pending: dict[str, State]) -> None:
        """Report why jobs wait, once the reason was the same at two checks in a row."""
        reasons = {state.reason for state in pending.values()} - {"", "None"}
        before, self.waiting = self.waiting, ""
        if reasons:
            names = f"{'job' if len(pending) == 1 else 'jobs'} {', '.join(pending)}"
            self.waiting = f"{names} waiting in the queue ({', '.join(sorted(reasons))})"
        if self.waiting and self.waiting == before and reasons != self._said:
            self._said = reasons
            self.note(self.waiting)

    def why_waiting(self) -> str:
        """Return what a run without workers is waiting for."""
        if self.queue is None:
            return "waiting"
        if self.waiting:
            return self.waiting
        numbers = ", ".join(str(job.job_id) for job in list(self.cluster.workers.values()))
        return f"waiting for the jobs {numbers}, of which {_SHOWN_BY[self.queue.kind]} says more"


def submit(cluster: Any, n: int) -> list[str]:
    """Submit this many more jobs; return their workers' names.

    Each gets a fresh name: after a while Dask closes whatever has the name of a worker that is gone.

    Raises
    ------
    UserError
        With the batch system's message.
    """
    names = [f"xraybench-{secrets.token_hex(4)}" for _ in range(n)]
    cluster.worker_spec |= dict.fromkeys(names, cluster.new_spec)
    try:
        cluster.sync(cluster._correct_state)  # as `scale` does, which does not report errors
    except (RuntimeError, ValueError, OSError) as error:
        _forget(cluster, names)
        raise UserError(f"--cluster: {_refusal(error)}") from None
    return names


def _forget(cluster: Any, names: list[str]) -> None:
    """Remove rejected jobs from the cluster, which would not close with them."""
    for name in names:
        job = cluster.workers.get(name)
        if job is not None and not job.job_id:
            del cluster.workers[name], cluster.worker_spec[name]
            job.status = Status.failed


def _refusal(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is missing: start this on a machine from which jobs can be submitted"
    return f"the job was rejected: {' '.join(str(error).rpartition('stderr:')[2].split())[:300]}"


def _asked_slurm(numbers: list[str]) -> dict[str, State] | None:
    """States by number; jobs that SLURM has forgotten are missing. None if it gives no answer."""
    wanted = [number for number in numbers if number]
    if not wanted:
        return {}
    line = ["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--jobs={','.join(wanted)}"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=_ANSWER, check=False)  # noqa: S603 - numbers that SLURM gave
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode and "nvalid job id" not in done.stderr:
        return None
    rows = [row.strip().split("|") for row in done.stdout.splitlines() if row.strip()]
    if any(len(row) != 3 for row in rows):
        return None
    return {number: State(word, "" if reason == "None" else reason) for number, word, reason in rows}


def _hint(queue: Queue | None) -> str:
    """Hint on how jobs on other machines reach this one; empty if the file names a network."""
    if queue is None or not queue.is_alone:
        return ""
    known = [
        name for name, addresses in psutil.net_if_addrs().items() if any(a.family.name == "AF_INET" for a in addresses)
    ]
    names = ", ".join(name for name in known if name != "lo")
    return ': jobs on other machines need a line interface = "..." in the file' + (f" (here: {names})" if names else "")
