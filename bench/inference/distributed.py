"""Parts of a prediction on workers of a cluster. This process lists the files and writes; a worker reads images and predicts.

Images are read where they are: workers must find them under the same path. The model is sent to each worker once.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
from distributed import Client, Future, KilledWorker, WorkerPlugin, get_worker, wait
from distributed.comm.core import CommClosedError

from bench import environment
from bench.cells.threads import using_threads
from bench.cluster import versions
from bench.cluster.config import ClusterLostError, Plan
from bench.cluster.connect import connected
from bench.cluster.jobs import Jobs
from bench.errors import UserError
from bench.inference.inputs import Item
from bench.inference.model import Model, load_model
from bench.inference.parts import Part
from bench.inference.predict import Settings, predict_part

_MAX_DEATHS = 3  # of workers over one part
_POLL = 0.5  # seconds
_PATIENCE = 60.0  # seconds without a worker after which a note is printed
_LOST = "the scheduler is gone (it does not answer)"
_one_at_a_time = threading.Lock()
_models: dict[str, Model] = {}  # of a worker, by name


@dataclass
class _Queue:
    """Waiting parts: new ones, and those whose worker died, up to three times."""

    new: Iterator[Part]
    again: list[Part] = field(default_factory=list)
    given_up: list[Part] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)  # by the part's name

    def take(self) -> Part | None:
        """Return the next part, or None if there is none for now."""
        return self.again.pop() if self.again else next(self.new, None)

    def died(self, part: Part, deaths: int) -> bool:
        """Count worker deaths on a part; return whether to retry it."""
        self.deaths[part.name] += deaths
        tried_again = self.deaths[part.name] < _MAX_DEATHS
        (self.again if tried_again else self.given_up).append(part)
        return tried_again


class ClusterPredictor:
    """Predicts parts on a cluster; a value for `compute` of `bench.inference.predict.predict_to`.

    Parameters
    ----------
    plan : Plan
        The cluster.
    model : Model
        As it was opened here.
    settings : Settings
        How files are read.
    note : callable
        Called with notes for the user.
    device : {"auto", "cpu", "cuda"}
        Where networks compute.
    trusted : bool
        Whether the workers may import classes from outside of xraybench.
    """

    def __init__(
        self, plan: Plan, model: Model, settings: Settings, note: Callable[[str], None], *, device: str, trusted: bool
    ) -> None:
        self.plan = plan
        self.model = model
        self.settings = settings
        self.note = note
        self.opening = {"engine": model.engine.name, "device": device, "trusted": trusted}
        self.name = secrets.token_hex(8)  # others may use the same scheduler for models of the same name

    def __call__(self, parts: Iterator[Part]) -> Iterator[tuple[Part, pd.DataFrame]]:
        """Yield each part with its predictions, in the order in which they are done.

        Parameters
        ----------
        parts : iterator of Part
            The parts that are missing.

        Yields
        ------
        part : Part
            A part that is done.
        table : DataFrame
            Its predictions.

        Raises
        ------
        ClusterLostError
            If the scheduler is gone, or no job of the queue is left.
        UserError
            If workers differ from this process or do not find the images; at the end, if three workers died on a part.
        """
        first = next(parts, None)
        if first is None:
            return
        queue = _Queue(parts, again=[first])
        with connected(self.plan, threads=environment.threads(), gpu=bool(environment.gpu())) as client:
            jobs = Jobs(self.plan.queue, client.cluster, self.note)
            try:
                self._wait_for_workers(client, jobs)
                versions.check_all(client)
                client.register_plugin(ModelPlugin(self.name, _content(self.model.folder)), name=self.name)
                with client.as_current():
                    yield from self._predicted(client, jobs, queue)
                client.unregister_worker_plugin(self.name)
            except (CancelledError, CommClosedError) as error:
                raise ClusterLostError(f"the scheduler is gone ({error or 'it does not answer'})") from None
        _check_all_done(queue.given_up)

    def _wait_for_workers(self, client: Client, jobs: Jobs) -> None:
        """Wait for the first worker: a minute, or for a queue as long as it takes."""
        begun = noted = time.monotonic()
        while not _n_workers(client):
            with suppress(TimeoutError):
                client.wait_for_workers(1, timeout=_POLL)
            jobs.check()
            if self.plan.queue is None and time.monotonic() - begun > _PATIENCE:
                raise UserError("--scheduler, --cluster: there is no worker: start one with: dask worker ADDRESS")
            if time.monotonic() - noted > _PATIENCE:
                noted = time.monotonic()
                self.note(f"no worker yet: {jobs.why_waiting()} (stop with Ctrl-C; the same command resumes)")

    def _predicted(self, client: Client, jobs: Jobs, queue: _Queue) -> Iterator[tuple[Part, pd.DataFrame]]:
        running: dict[Future, Part] = {}
        while True:
            self._submit_more(client, queue, running)
            if not running:
                return
            for future in self._wait_for_any(client, jobs, running):
                part = running.pop(future)
                if future.status == "finished":
                    jobs.has_result()
                    yield part, future.result()
                else:
                    self._handle_failure(client, part, future, queue)

    def _submit_more(self, client: Client, queue: _Queue, running: dict[Future, Part]) -> None:
        """Submit one part per worker: one that dies takes no other part with it."""
        room = max(1, _n_workers(client))
        while len(running) < room and (part := queue.take()) is not None:
            witness = next((item.file for item in part.files if Path(item.file).exists()), None)
            key = f"{part.name}-{queue.deaths[part.name]}-{self.name}"
            future = client.submit(
                _predict_on_worker, self.name, part.files, witness, self.settings, self.opening, key=key, pure=False
            )
            running[future] = part

    def _wait_for_any(self, client: Client, jobs: Jobs, running: dict[Future, Part]) -> list[Future]:
        """Wait until one of these or more are done."""
        begun, noted = time.monotonic(), False
        while True:
            try:
                wait(list(running), timeout=_POLL, return_when="FIRST_COMPLETED")
                return [future for future in running if future.status != "pending"]
            except TimeoutError:
                if client.status != "running":
                    raise ClusterLostError(_LOST) from None
                jobs.check()
            if not noted and time.monotonic() - begun > _PATIENCE and not _n_workers(client):
                self.note(f"no worker left: {jobs.why_waiting()} (stop with Ctrl-C; finished predictions are kept)")
                noted = True

    def _handle_failure(self, client: Client, part: Part, future: Future, queue: _Queue) -> None:
        """Queue a part again if its worker died; raise any other error."""
        if client.status != "running":
            raise ClusterLostError(_LOST)
        error = _error(future)
        if error is not None and not isinstance(error, KilledWorker):
            raise error
        deaths = error.allowed_failures + 1 if error else 1  # the scheduler has retried by itself before
        if queue.died(part, deaths):
            self.note(f"{part.name}: its worker died: predicting it again")


def _n_workers(client: Client) -> int:
    return len(cast("dict[str, int]", client.nthreads()))  # a coroutine only with an asynchronous client


def _error(future: Future) -> BaseException | None:
    """Return the error of a future; None if it was lost with its worker."""
    return cast("BaseException | None", future.exception()) if future.status == "error" else None  # as above


def _check_all_done(given_up: list[Part]) -> None:
    if given_up:
        named = ", ".join(f"{part.files[0].file} to {part.files[-1].file}" for part in given_up)
        raise UserError(
            f"three workers died on each of {len(given_up)} parts ({named}): give them more memory, or a smaller --part; "
            "the same command resumes"
        )


def _content(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder, by relative path."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


class ModelPlugin(WorkerPlugin):
    """Puts a model's folder on a worker, inside the directory that Dask removes with it.

    Parameters
    ----------
    name : str
        Name of the folder.
    files : dict of str to bytes
        Content of each file, by relative path.
    """

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name = name
        self.files = files
        self.versions = versions.found_here()

    def setup(self, worker: Any) -> None:
        """Write the files; a worker that joins later with other versions is refused."""
        if wrong := versions.difference(self.versions, versions.found_here()):
            raise RuntimeError(f"xraybench: {wrong}")
        for name, content in self.files.items():
            path = _model_folder(worker, self.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def teardown(self, worker: Any) -> None:
        """Forget the model."""
        _models.pop(self.name, None)
        shutil.rmtree(_model_folder(worker, self.name), ignore_errors=True)


def _model_folder(worker: Any, name: str) -> Path:
    return Path(worker.local_directory) / "xraybench-models" / name


def _predict_on_worker(
    name: str, files: list[Item], witness: str | None, settings: Settings, opening: dict[str, Any]
) -> pd.DataFrame:
    """Predict one part with all threads of the worker; `witness` is one of its files that the sender can read."""
    worker = get_worker()
    threads = worker.state.nthreads
    if witness and not Path(witness).exists():
        raise UserError(
            f"worker {worker.address}: {witness} is missing: mount the images under the same path on every worker; "
            "the same command resumes"
        )
    with _one_at_a_time:
        if name not in _models:
            _models[name] = load_model(_model_folder(worker, name), **opening)
        with using_threads(threads):
            return predict_part(_models[name], files, replace(settings, workers=threads))
