"""One study: the trials of one model in one fold, kept in a journal that survives a kill.

A trial is fitted on the training part and scored on the validation part; the test part is left out. The first trial has the suite's own
parameters. Every trial draws from its own generator, so that a killed search resumes as if it had not been interrupted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from bench.cells.experiment import Experiment
from bench.cells.runner import Runner
from bench.errors import UserError, is_disk_error, one_line
from bench.recipes.build import skip_reasons
from bench.recipes.suite import ModelSpec
from bench.store.run_folder import Cell
from bench.terminal.progress import Progress

SCORE = "F1 per image"  # for one label per image this is the accuracy
_RANDOM = 5  # trials before the sampler learns from them
_COMPARED = 4  # finished trials before one is stopped early
_SHORT = 10.0  # seconds of a trial below which the loading time of a first fit would count
_SLOW = 5.0  # seconds from which a trial gets a line without a live view
_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Trial:
    """One set of values and its outcome: done, pruned (stopped early) or failed."""

    values: dict[str, Any]
    status: str
    score: float  # not a number unless done
    seconds: float  # of fitting and predicting; what models share, such as encodings, is not counted
    reason: str = ""


@dataclass(frozen=True)
class Budget:
    """Budget of every model in every fold: a number of trials, or of seconds."""

    trials: int | None = None
    seconds: float | None = None

    def within(self, trials: list[Trial]) -> list[Trial]:
        """Return the number of trials in the budget; the last one may exceed the seconds."""
        if self.seconds is None:
            return trials[: self.trials]
        begins = np.cumsum([0.0, *(trial.seconds for trial in trials)])
        return [trial for trial, begin in zip(trials, begins, strict=False) if begin < self.seconds]

    def is_spent(self, trials: list[Trial]) -> bool:
        """Whether no other trial may begin."""
        if self.seconds is None:
            return len(trials) >= (self.trials or 0)
        return sum(trial.seconds for trial in trials) >= self.seconds

    def __str__(self) -> str:
        """Such as ``20 trials`` or ``60 seconds``."""
        return f"{self.trials} trials" if self.seconds is None else f"{self.seconds:g} seconds"


@dataclass(frozen=True)
class FoldStudy:
    """A model's trials in one fold, the suite's own parameters first."""

    cell: Cell
    trials: tuple[Trial, ...]

    @property
    def baseline(self) -> float:
        """Score of the suite's own parameters."""
        return self.trials[0].score

    @property
    def best(self) -> Trial | None:
        """Trial with the highest score, the first of equals: the suite's own parameters are only replaced by better ones."""
        done = [trial for trial in self.trials if trial.status == "done"]
        return max(done, key=lambda trial: trial.score, default=None)

    @property
    def fault(self) -> str | None:
        """Why the last trial failed, if no trial but the suite's own parameters gave a score."""
        tried = self.trials[1:] if self.trials[0].status == "done" else self.trials
        return tried[-1].reason if tried and all(trial.status == "failed" for trial in tried) else None

    def count(self, status: str) -> int:
        """Return the number of trials with this outcome."""
        return sum(trial.status == status for trial in self.trials)


@dataclass(frozen=True)
class Tuner:
    """Runs studies, or resumes those that the storage holds.

    Attributes
    ----------
    storage : BaseStorage
        Of Optuna.
    experiment : Experiment
    budget : Budget
        Of every model in every fold.
    progress : Progress
    warm : set of str
        Classes of heads that this process has fitted.
    """

    storage: optuna.storages.BaseStorage
    experiment: Experiment
    budget: Budget
    progress: Progress
    warm: set[str] = field(default_factory=set)

    def tune(self, cell: Cell, spec: ModelSpec) -> FoldStudy:
        """Spend the budget on one model in one fold.

        Raises
        ------
        UserError
            If the storage holds trials of another setup under this name.
        """
        study = self._open(cell, spec)
        while not self.budget.is_spent(trials := _finished(study)):
            self._trial(study, cell, spec, trials)
        return FoldStudy(cell, tuple(self.budget.within(trials)))

    def _open(self, cell: Cell, spec: ModelSpec) -> optuna.Study:
        study = optuna.create_study(
            storage=self.storage,
            study_name=cell.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_COMPARED, n_warmup_steps=1),
        )
        provenance = self._provenance(spec)
        before = study.user_attrs.get("provenance", study.user_attrs.get("made_of"))  # as version 0.1 called it
        if before is None:
            study.set_user_attr("provenance", provenance)
        elif before != provenance:
            raise UserError(
                f"{cell.name}: was tuned here with other data, splits, seed, parameters or search space: give another --out"
            )
        for trial in study.get_trials(states=(TrialState.RUNNING,)):  # its process was killed: ignored
            study.tell(trial.number, state=TrialState.FAIL)
        return study

    def _provenance(self, spec: ModelSpec) -> str:
        space = {key: dimension.as_table() for key, dimension in spec.search.items()}
        return hashlib.sha256(f"{self.experiment.key(spec)} {space}".encode()).hexdigest()

    def _trial(self, study: optuna.Study, cell: Cell, spec: ModelSpec, before: list[Trial]) -> None:
        """Compute one trial and write its outcome."""
        study.sampler = optuna.samplers.TPESampler(
            seed=self._trial_seed(cell, len(before)), n_startup_trials=_RANDOM, multivariate=False, constant_liar=False
        )
        trial = study.ask()
        values = {key: dimension.suggest(trial, key) for key, dimension in spec.search.items()} if before else {}
        trial.set_user_attr("values", values)
        score, state, reason, seconds = self._outcome(trial, cell, spec.with_values(values))
        trial.set_user_attr("seconds", self._warm_seconds(cell, spec.with_values(values), seconds, state))
        if reason:
            trial.set_user_attr("reason", reason)
        study.tell(trial, score, state=state)
        self._show(cell, [*before, _trial_of(study.trials[-1])])

    def _trial_seed(self, cell: Cell, k: int) -> int:
        """Seed of a fold's k-th trial: the same for every model."""
        digest = hashlib.sha256(f"{self.experiment.seed} {cell.repeat} {cell.fold} {k}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def _outcome(self, trial: optuna.Trial, cell: Cell, spec: ModelSpec) -> tuple[float | None, TrialState, str, float]:
        """Score of a trial, its outcome, the reason if it failed, and the seconds; errors that every trial would share are raised."""
        runner, begun = self._runner(trial, cell, spec), time.perf_counter()
        try:
            runner.prepare()
            begun = time.perf_counter()
            score, state, reason = self._score(runner), TrialState.COMPLETE, ""
        except optuna.TrialPruned:
            score, state, reason = None, TrialState.PRUNED, ""
        except (UserError, *skip_reasons()):
            raise
        except Exception as error:  # whatever values do to a model fails the trial, not the search
            if is_disk_error(error):
                raise
            score, state, reason = None, TrialState.FAIL, _named(error)
        return score, state, reason, time.perf_counter() - begun

    def _warm_seconds(self, cell: Cell, spec: ModelSpec, seconds: float, state: TrialState) -> float:
        """Seconds of a trial without those of loading libraries, which would count against the first model."""
        is_cold = spec.head.class_ not in self.warm
        self.warm.add(spec.head.class_)
        if self.budget.seconds is None or not is_cold or state != TrialState.COMPLETE or seconds > _SHORT:
            return seconds
        begun = time.perf_counter()
        self.experiment.with_model(cell.model, spec).runner(cell).validate()
        return min(seconds, time.perf_counter() - begun)

    def _runner(self, trial: optuna.Trial, cell: Cell, spec: ModelSpec) -> Runner:
        def on_epoch(record: dict[str, float]) -> None:
            if self.progress.live is not None:
                self.progress.epoch(record)
            trial.report(-record["valid_loss"], int(record["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned

        resources = replace(self.experiment.resources, on_epoch=on_epoch)
        return self.experiment.with_resources(resources).with_model(cell.model, spec).runner(cell)

    def _score(self, runner: Runner) -> float:
        """Mean F1 per image of the validation part, at the threshold that maximises it: the score by which heads choose."""
        from baselines.selection import best_f1_samples

        probability = runner.validate()
        if not np.isfinite(probability).all():
            raise ValueError("predict_proba gave values that are not finite")
        return best_f1_samples(probability, runner.data.y[runner.parts.valid])

    def _show(self, cell: Cell, trials: list[Trial]) -> None:
        best, last = FoldStudy(cell, tuple(trials)).best, trials[-1]
        result = last.reason or last.status if last.status != "done" else f"{last.score:.3f}"
        of = f"/{self.budget.trials}" if self.budget.trials else ""
        text = f"trial {len(trials)}{of}: {result}; best {best.score if best else float('nan'):.3f}"
        if self.progress.live is not None:
            self.progress.now = f"{cell.name}, {text}"
        elif last.seconds > _SLOW:
            self.progress.note(f"          {cell.name}, {text}, {last.seconds:.0f} s")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error, 300)}"


def _finished(study: optuna.Study) -> list[Trial]:
    """Trials that count, in order; killed ones do not, and are tried again."""
    return [_trial_of(trial) for trial in study.trials if _counts(trial)]


def _counts(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "reason" in trial.user_attrs


def _trial_of(trial: FrozenTrial) -> Trial:
    status, attributes = _STATES[trial.state], trial.user_attrs
    score = float(trial.values[0]) if status == "done" and trial.values else float("nan")
    return Trial(attributes["values"], status, score, attributes["seconds"], attributes.get("reason", ""))


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
