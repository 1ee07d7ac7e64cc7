"""Parts of a prediction on workers of a cluster. This process lists the files and writes; a worker reads pictures and answers.

Pictures are read where they lie: workers must see them under the same path. The model is sent to each worker once.
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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from distributed import Client, Future, KilledWorker, WorkerPlugin, get_worker, wait
from distributed.comm import CommClosedError

from bench import environment
from bench.cells.threads import using_threads
from bench.cluster import versions
from bench.cluster.config import ClusterLostError, Plan
from bench.cluster.connect import connected
from bench.cluster.jobs import Jobs
from bench.errors import UserError
from bench.inference.model import Model, load_model
from bench.inference.predict import Part, Settings, answers

_DEATHS = 3  # of workers over one part
_LOOK = 0.5  # seconds
_PATIENCE = 60.0  # seconds without a worker after which it is said
_one_at_a_time = threading.Lock()
_models: dict[str, Model] = {}
_GONE = "the scheduler is gone (it does not answer)"


class Predicting:
    """Answers parts on a cluster; a value for `bench.inference.predict.predict_to`.

    Parameters
    ----------
    model
        As it was opened here.
    note
        Called with what a person should know.
    trusted
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
        self.deaths: Counter[Path] = Counter()

    def __call__(self, parts: Iterator[Part]) -> Iterator[tuple[Part, pd.DataFrame]]:
        """Give each part with its answers, in the order in which they are done.

        Raises
        ------
        ClusterLostError
            If the scheduler is gone, or no job of the queue is left.
        UserError
            If workers differ from this process or do not see the pictures; at the end, if workers died three times over a part.
        """
        first = next(parts, None)
        if first is None:
            return
        with connected(self.plan, threads=environment.threads(), gpu=bool(environment.gpu())) as client:
            self.jobs = Jobs(self.plan.queue, client.cluster, self.note)
            try:
                self._wait_for_workers(client)
                versions.check_all(client)
                folder = self.model.folder
                files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
                sent = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
                client.register_plugin(Lent(self.name, sent), name=self.name)
                with client.as_current():
                    yield from self._answered(client, first, parts)
                client.unregister_worker_plugin(self.name)
            except (CancelledError, CommClosedError) as error:
                raise ClusterLostError(f"the scheduler is gone ({error or 'it does not answer'})") from None

    def _wait_for_workers(self, client: Client) -> None:
        """Wait for the first worker: a minute, but for a queue as long as it takes."""
        begun = told = time.monotonic()
        while not client.nthreads():
            with suppress(TimeoutError):
                client.wait_for_workers(1, timeout=_LOOK)
            self.jobs.check()
            if self.plan.queue is None and time.monotonic() - begun > _PATIENCE:
                raise UserError("--scheduler, --cluster: there is no worker: start one with: dask worker ADDRESS")
            if time.monotonic() - told > _PATIENCE:
                told = time.monotonic()
                self.note(f"no worker is there: {self.jobs.why_waiting()} (Ctrl-C ends; the same command goes on)")

    def _answered(self, client: Client, first: Part, parts: Iterator[Part]) -> Iterator[tuple[Part, pd.DataFrame]]:
        again: list[Part] = [first]
        running: dict[Future, Part] = {}
        spoilt: list[Part] = []
        while True:
            room = max(1, len(client.nthreads()))  # one part for each worker: who dies had no other one
            while len(running) < room:
                part = again.pop() if again else next(parts, None)
                if part is None:
                    break
                running[self._submit(client, part)] = part
            if not running:
                break
            for future in self._done(client, running):
                part = running.pop(future)
                if future.status == "finished":
                    self.jobs.has_result()
                    yield part, future.result()
                else:
                    self._failed(client, part, future, again, spoilt)
        if spoilt:
            said = ", ".join(f"{part.files[0].file} to {part.files[-1].file}" for part in spoilt)
            raise UserError(
                f"workers died three times over {len(spoilt)} parts ({said}): give them more memory, or a smaller --part; the same command goes on"
            )

    def _submit(self, client: Client, part: Part) -> Future:
        seen = next((item.file for item in part.files if Path(item.file).exists()), None)
        key = f"{part.path.stem}-{self.deaths[part.path]}-{self.name}"
        return client.submit(_answer, self.name, part.files, seen, self.settings, self.opening, key=key, pure=False)

    def _failed(self, client: Client, part: Part, future: Future, again: list[Part], spoilt: list[Part]) -> None:
        """Have a part answered again whose worker died; raise what else went wrong."""
        if client.status != "running":
            raise ClusterLostError(_GONE)
        error = future.exception() if future.status == "error" else None
        if error is not None and not isinstance(error, KilledWorker):
            raise error
        # A scheduler of others tries again by itself before it says so.
        self.deaths[part.path] += error.allowed_failures + 1 if error else 1
        if self.deaths[part.path] < _DEATHS:
            self.note(f"{part.path.stem}: its worker died: it is answered again")
            again.append(part)
        else:
            spoilt.append(part)

    def _done(self, client: Client, running: dict[Future, Part]) -> list[Future]:
        """Wait for the first of these to be done."""
        begun, told = time.monotonic(), False
        while True:
            try:
                return list(wait(list(running), timeout=_LOOK, return_when="FIRST_COMPLETED").done)
            except TimeoutError:
                if client.status != "running":
                    raise ClusterLostError(_GONE) from None
                self.jobs.check()
                alone = not told and time.monotonic() - begun > _PATIENCE and not client.nthreads()
            if alone:
                self.note(f"no worker is there: {self.jobs.why_waiting()} (Ctrl-C keeps what was answered)")
                told = True


class Lent(WorkerPlugin):
    """A model's folder on a worker, below what Dask removes with it."""

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name = name
        self.files = files
        self.versions = versions.found_here()

    def setup(self, worker: Any) -> None:
        """Write the files; a worker that comes later and has other versions is refused."""
        if wrong := versions.difference(self.versions, versions.found_here()):
            raise RuntimeError(f"xraybench: {wrong}")
        for name, content in self.files.items():
            path = _folder(worker, self.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def teardown(self, worker: Any) -> None:
        """Forget the model."""
        _models.pop(self.name, None)
        shutil.rmtree(_folder(worker, self.name), ignore_errors=True)


def _folder(worker: Any, name: str) -> Path:
    return Path(worker.local_directory) / "xraybench-models" / name


def _answer(name: str, files: list[Any], seen: str | None, settings: Settings, opening: dict[str, Any]) -> pd.DataFrame:
    """Answer one part with all threads of the worker; `seen` is a file of it that is there for whoever asks."""
    worker = get_worker()
    threads = worker.state.nthreads
    if seen and not Path(seen).exists():
        raise UserError(
            f"worker {worker.address}: {seen} is not there: mount the pictures under the same path on every worker; the same command goes on"
        )
    with _one_at_a_time:
        if name not in _models:
            _models[name] = load_model(_folder(worker, name), **opening)
        with using_threads(threads):
            return pd.concat(answers(_models[name], files, replace(settings, workers=threads)), ignore_index=True)
