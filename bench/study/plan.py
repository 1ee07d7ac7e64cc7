"""A study file: what is compared with what, checked before anything is computed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from radiographs.sources import Hints
from radiographs.text import read_toml

from bench.errors import UserError

BASE = "base"
Name = Annotated[str, Field(pattern=r"^\w[\w-]{0,39}$")]  # a part of the name of a run folder
Share = Annotated[float, Field(gt=0, le=1)]


class DataSet(BaseModel):
    """One data set: its location, how its table is read, and the names of its classes in this study (an empty name leaves a class out)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    name: Name = ""
    file_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    label_separator: str | None = None
    allow_outside: bool = False
    layout: Literal["folders", "dicom"] | None = None
    classes: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, table: Any) -> Any:
        """Name a data set after its folder if it has no name."""
        if isinstance(table, dict) and "name" not in table and isinstance(table.get("path"), str):
            return table | {"name": Path(table["path"]).stem}
        return table

    @property
    def hints(self) -> Hints:
        """The study's hints on the source, as the commands take them."""
        return Hints(
            self.file_column,
            self.label_column,
            self.group_column,
            self.label_separator,
            allow_outside=self.allow_outside,
            classes=self.classes or None,
            layout=self.layout,
        )


class LearningCurve(BaseModel):
    """Shares of the training part's patients that every model is trained on; all of them are always included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shares: tuple[Share, ...] = Field(min_length=1)

    @property
    def steps(self) -> tuple[float, ...]:
        """The shares in order, with 1 at the end."""
        return tuple(sorted({*self.shares, 1.0}))


class Study(BaseModel):
    """A whole plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    data: tuple[DataSet, ...] = Field(min_length=1)
    suite: str | tuple[str, ...] = "quick"
    models: tuple[str, ...] = ()
    folds: int | None = Field(default=None, ge=2)
    repeats: int | None = Field(default=None, ge=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    variants: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    learning_curve: LearningCurve | None = None
    leave_one_out: bool = False

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites, one or several."""
        return (self.suite,) if isinstance(self.suite, str) else self.suite

    @model_validator(mode="after")
    def _is_sound(self) -> Study:
        names = [each.name for each in self.data]
        for what, values in (("data: name", names), ("seeds", self.seeds), ("suite", self.suites)):
            twice = [each for each in values if list(values).count(each) > 1]
            if twice:
                raise ValueError(f"{what} {twice[0]!r} occurs twice: give each its own")
        for variant, changes in self.variants.items():
            for key in changes:
                if key.split(".")[0] not in ("preprocessing", "models"):
                    raise ValueError(f"variants.{variant}: {key}: a variant changes preprocessing or models")
        if BASE in self.variants:
            raise ValueError(f"variants.{BASE}: reserved for the suite without changes: use another name")
        if self.leave_one_out and len(self.data) < 2:
            raise ValueError("leave_one_out: there is only one data set: give another [[data]] to test on")
        return self


def read_study(path: Path) -> Study:
    """Read a study file; data folders are relative to it.

    Raises
    ------
    UserError
        If the file cannot be read, or a key is unknown, missing or of the wrong kind.
    """
    try:
        raw = read_toml(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): give a study file, see docs/studies.md") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a TOML file ({error})") from None
    raw.setdefault("name", path.stem)
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "study"
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {key}: {message[0].lower()}{message[1:]}; see docs/studies.md") from None
    return study.model_copy(update={"data": tuple(_beside(each, path.parent) for each in study.data)})


def _beside(data: DataSet, folder: Path) -> DataSet:
    there = folder / data.path
    return data.model_copy(update={"path": str(there)}) if there.exists() else data
