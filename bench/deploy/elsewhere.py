"""Parts of a prediction on workers of a cluster. This process lists the files and writes; a worker reads pictures and answers.

Pictures are read where they lie: workers must see them under the same path. The model is sent to each worker once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from distributed import Client, Future, WorkerPlugin, get_worker, wait

from bench import environment
from bench.cluster import versions
from bench.cluster.connect import connected
from bench.cluster.plan import ClusterLostError, Plan
from bench.deploy.model import Model, load_model
from bench.deploy.predict import Part, Settings, answers
from bench.errors import UserError
from bench.side_by_side import _threads

_DEATHS = 3  # of workers over one part
_AHEAD = 2  # parts that a worker is given before the first is done
_LOOK = 0.5  # seconds
_one_at_a_time = threading.Lock()
_models: dict[str, Model] = {}


class Predicting:
    """Answers parts on a cluster; a value for `bench.deploy.predict.predict_to`.

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
        self.deaths: Counter[Path] = Counter()

    def __call__(self, parts: Iterator[Part]) -> Iterator[tuple[Part, pd.DataFrame]]:
        """Give each part with its answers, in the order in which they are done.

        Raises
        ------
        ClusterLostError
            If the scheduler is gone.
        UserError
            If workers differ from this process or do not see the pictures; at the end, if a part killed three workers.
        """
        first = next(parts, None)
        if first is None:
            return
        with connected(self.plan, threads=environment.threads(), gpu=bool(environment.gpu())) as client:
            _wait_for_workers(client)
            versions.check_all(client)
            _check_sight(client, first.files[0].file)
            name = self.model.folder.resolve().name
            files = {
                file.relative_to(self.model.folder).as_posix(): file.read_bytes()
                for file in sorted(self.model.folder.rglob("*"))
                if file.is_file()
            }
            client.register_plugin(Lent(name, files), name=f"xraybench-{name}")
            yield from self._answered(client, first, parts, name)

    def _answered(
        self, client: Client, first: Part, parts: Iterator[Part], name: str
    ) -> Iterator[tuple[Part, pd.DataFrame]]:
        again, running, spoilt = [first], {}, []
        while True:
            room = max(1, len(client.nthreads())) * _AHEAD
            while len(running) < room:
                part = again.pop() if again else next(parts, None)
                if part is None:
                    break
                running[self._submit(client, part, name)] = part
            if not running:
                break
            for future in _done(client, running):
                part = running.pop(future)
                try:
                    yield part, future.result()
                except UserError:
                    raise
                except Exception as error:
                    if client.status != "running":
                        raise ClusterLostError("it does not answer") from None
                    if type(error).__name__ not in ("KilledWorker", "CancelledError", "FutureCancelledError"):
                        raise
                    self.deaths[part.path] += 1
                    if self.deaths[part.path] < _DEATHS:
                        self.note(f"{part.path.stem}: its worker died: it is answered again")
                        again.append(part)
                    else:
                        spoilt.append(part)
        if spoilt:
            said = ", ".join(f"{part.files[0].file} to {part.files[-1].file}" for part in spoilt)
            raise UserError(
                f"{len(spoilt)} parts killed three workers each ({said}): give workers more memory, or smaller --part; the same command goes on"
            )

    def _submit(self, client: Client, part: Part, name: str) -> Future:
        key = f"{part.path.stem}-{self.deaths[part.path]}"
        return client.submit(_answer, name, part.files, self.settings, self.opening, key=key, pure=False)


class Lent(WorkerPlugin):
    """A model's folder on a worker, below what Dask removes with it."""

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name = f"xraybench-{name}"
        self.folder = name
        self.files = files
        self.versions = versions.found_here()

    def setup(self, worker: Any) -> None:
        """Write the files; a worker that comes later and has other versions is refused."""
        if wrong := versions.difference(self.versions, versions.found_here()):
            raise RuntimeError(f"xraybench: {wrong}")
        for name, content in self.files.items():
            path = _folder(worker, self.folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _models.pop(self.folder, None)


def _folder(worker: Any, name: str) -> Path:
    return Path(worker.local_directory) / "xraybench-models" / name


def _answer(name: str, files: list[Any], settings: Settings, opening: dict[str, Any]) -> pd.DataFrame:
    """Answer one part with all threads of the worker; parts that it has besides wait."""
    from dataclasses import replace

    worker = get_worker()
    threads = worker.state.nthreads
    with _one_at_a_time:
        if name not in _models:
            _models[name] = load_model(
                _folder(worker, name), opening["engine"], opening["device"], trusted=opening["trusted"]
            )
        with _threads(threads):
            return pd.concat(answers(_models[name], files, replace(settings, workers=threads)), ignore_index=True)


def _wait_for_workers(client: Client) -> None:
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=60)
    if not client.nthreads():
        raise UserError("--scheduler, --cluster: there is no worker: start one with: dask worker ADDRESS")


def _check_sight(client: Client, file: str) -> None:
    """See that workers find the pictures under the path that this process has for them."""
    if not Path(file).exists():
        return  # it is one of the rows that fail
    blind = [address for address, sees in client.run(_sees, file).items() if not sees]
    if blind:
        raise UserError(
            f"worker {blind[0]}: {file} is not there: mount the pictures under the same path on every worker"
        )


def _sees(file: str) -> bool:
    return Path(file).exists()


def _done(client: Client, running: dict[Future, Part]) -> list[Future]:
    """Wait for the first of these to be done."""
    while True:
        try:
            return list(wait(list(running), timeout=_LOOK, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            if client.status != "running":
                raise ClusterLostError("it does not answer") from None
