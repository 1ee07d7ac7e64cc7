"""The request for a run: the options of ``bench run``, checked, and the suite with everything they change in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from radiographs.sources import Hints

from bench.errors import UserError
from bench.recipes.build import check_families
from bench.recipes.plugins import add_suite_folder
from bench.recipes.suite import Suite, load_suite, parse_setting, with_epochs
from bench.terminal.progress import Progress


@dataclass(frozen=True)
class Request:
    """What the user requested; None where an option was not given."""

    models: tuple[str, ...] = ()
    data: str | None = None
    suite: str | None = None
    out: Path | None = None
    folds: int | None = None
    repeats: int | None = None
    seed: int = 0
    splits: Path | None = None
    epochs: int | None = None
    device: str = "auto"
    weights_dir: Path | None = None
    offline: bool = False
    limit: int | None = None
    settings: tuple[str, ...] = ()
    hints: Hints = field(default_factory=Hints)
    pictures: bool = True
    jobs: int = 1
    timeout: float | None = None
    scheduler: str | None = None
    cluster: str | None = None
    holdout: float | None = None
    test: str | None = None
    test_hints: Hints | None = None  # if the folder for the final test is another kind of source than the data
    mlflow: str | None = None
    mlflow_answered: bool = False  # a study checks once, before its first run
    command: str = ""

    @property
    def resuming(self) -> str:
        """The command that resumes after an interruption."""
        return self.command or "the same command"

    @property
    def test_source(self) -> tuple[str, Hints] | None:
        """Folder of the final test, and how it is read."""
        return None if self.test is None else (self.test, self.test_hints or self.hints)


def check_request(request: Request, *, gpu: bool) -> None:
    """Check what can be checked before anything is loaded.

    Parameters
    ----------
    request : Request
    gpu : bool
        Whether heads may use a GPU: of this machine, or of a cluster.

    Raises
    ------
    UserError
        Naming the option.
    """
    if request.device == "cuda" and not gpu:
        raise UserError("--device cuda: no CUDA device found; use --device cpu")
    if request.weights_dir and not request.weights_dir.is_dir():
        raise UserError(f"--weights-dir {request.weights_dir}: no such folder")
    given = [name for name in ("holdout", "test", "splits") if getattr(request, name) is not None]
    if len(given) > 1:
        names = ", ".join(f"--{name}" for name in given)
        raise UserError(f"{names}: give one of them; a published splits file covers all images")


def requested_suite(request: Request, progress: Progress, *, gpu: bool) -> Suite:
    """Return the suite with everything the command line changes in it.

    Raises
    ------
    UserError
        If the suite, a model or an option is wrong.
    """
    name = request.suite or _default_suite(request.models, progress, gpu=gpu)
    suite = load_suite(name, dict(parse_setting(text) for text in request.settings))
    if name.endswith(".toml"):
        add_suite_folder(Path(name), suite)
    changes = {key: value for key in ("folds", "repeats") if (value := getattr(request, key)) is not None}
    if request.splits and changes:
        raise UserError("--splits: the file decides folds and repeats; leave out --folds and --repeats")
    suite = suite.model_copy(update={"cv": suite.cv.model_copy(update=changes)})
    if suite.cv.folds < 2:
        raise UserError(f"--folds {suite.cv.folds}: give 2 or more")
    suite = suite.select(request.models) if request.models else suite
    check_families(suite)
    return with_epochs(suite, request.epochs) if request.epochs is not None else suite


def _default_suite(models: tuple[str, ...], progress: Progress, *, gpu: bool) -> str:
    """Return the default suite: the first that has the models, depending on whether there is a GPU."""
    order = ["standard", "quick"] if gpu else ["quick", "standard"]
    if not models:
        if not gpu:
            progress.note("no GPU: suite 'quick'; for every model, which takes hours without one: --suite standard")
        return order[0]
    return next((name for name in order if set(models) <= set(load_suite(name).models)), order[0])
