"""The two tables of a model in a suite that tuning reads and writes: `search`, what may be tried, and `tuned`, what was chosen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.errors import UserError
from reports.runs.format import fold_name

if TYPE_CHECKING:
    from optuna.trial import Trial

_DIGITS = 4  # significant digits of a tried value: few enough to cite in a table

Key = Annotated[str, Field(pattern=r"^(head|encoders\.\d+)\.\w+$")]  # such as head.gamma or encoders.0.cell
Place = Annotated[str, Field(pattern=r"^r\d+-f\d+$")]  # repeat and fold
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Dimension(BaseModel):
    """Values that one parameter may take: a list of choices, or the numbers from `low` to `high`.

    With `log` numbers are drawn evenly on a logarithmic scale, with `step` or `int` on a grid. With `as_list` a number is given as a
    list of one, to parameters that take candidates (C and gamma of a support vector machine). `false` leaves a parameter out that the
    class declares in its search space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    whole: bool = Field(default=False, alias="int")
    as_list: bool = False
    left_out: bool = False

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, raw: Any) -> Any:
        if raw is False:
            return {"left_out": True}
        return {"choices": raw} if isinstance(raw, list) else raw

    @model_validator(mode="after")
    def _makes_sense(self) -> Dimension:
        if self.left_out:
            return self
        wrong = _wrong_choices(self) if "choices" in self.model_fields_set else _wrong_range(self)
        if wrong:
            raise ValueError(wrong)
        return self

    @property
    def first(self) -> Any:
        """A value of the dimension, to try the model's constructor with."""
        return self.choices[0] if self.choices else self._given(self.low or 0.0)

    def suggest(self, trial: Trial, key: str) -> Any:
        """Value for a trial to try."""
        if self.choices:  # as text: Optuna does not take lists
            return json.loads(trial.suggest_categorical(key, [json.dumps(choice) for choice in self.choices]))
        low, high = self.low or 0.0, self.high or 0.0
        if self.whole:
            return self._given(trial.suggest_int(key, int(low), int(high), step=int(self.step or 1), log=self.log))
        return self._given(trial.suggest_float(key, low, high, step=self.step, log=self.log))

    def as_table(self) -> Any:
        """Return the dimension as written in a suite file."""
        if self.left_out:
            return False
        return list(self.choices) or self.model_dump(by_alias=True, exclude_defaults=True)

    def _given(self, value: float) -> Any:
        value = int(value) if self.whole else float(f"{value:.{_DIGITS}g}")
        return [value] if self.as_list else value


def _wrong_choices(dimension: Dimension) -> str | None:
    if dimension.model_fields_set != {"choices"}:
        return "give choices, or low and high, not both"
    return None if len(dimension.choices) > 1 else "give two choices or more"


def _wrong_range(dimension: Dimension) -> str | None:
    low, high = dimension.low, dimension.high
    if low is None or high is None or not low < high:
        return "give a list of choices, or low and a larger high"
    if dimension.log and (low <= 0 or dimension.step):
        return "log needs a low above 0, and no step"
    if dimension.whole and not all(float(v).is_integer() for v in (low, high, dimension.step or 1)):
        return "int needs whole numbers for low, high and step"
    return None


class Tuned(BaseModel):
    """What a search chose for each fold, and how: on which splits and data, with which budget per fold, by which score.

    The values hold for these splits alone: on others, the images they were chosen on could be a test part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    splits: Digest
    data: Digest
    seed: int
    score: str
    trials: int | None = None
    seconds: float | None = None
    folds: dict[Place, dict[Key, Any]]

    def values(self, repeat: int, fold: int) -> dict[str, Any]:
        """Values of a fold; empty if nothing was better than the suite's own.

        Raises
        ------
        UserError
            If the fold is missing.
        """
        place = fold_name(repeat, fold)
        if place not in self.folds:
            raise UserError(f"tuned.folds: {place} is missing: it was removed from the suite file; tune again")
        return self.folds[place]
