"""Options that several commands share, each defined once, and groups of them.

A command takes a group as one keyword-only parameter, annotated with a dataclass; `with_option_groups` gives the command line an option for each
field of the dataclass.
"""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from radiographs.sources import Hints


class Device(StrEnum):
    """Where networks and boosters compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Engine(StrEnum):
    """Inference engine of an exported model."""

    auto = "auto"
    native = "native"
    onnx = "onnx"
    openvino = "openvino"


class Frames(StrEnum):
    """Which frames of a DICOM file are images."""

    first = "first"
    each = "each"


class Layout(StrEnum):
    """Where the labels of images without a table come from."""

    folders = "folders"
    dicom = "dicom"


Models = Annotated[
    list[str] | None, typer.Argument(metavar="MODEL", help="Models of the suite; or --all.", show_default=False)
]
Source = Annotated[str, typer.Argument(metavar="PATH", help="Folder, table, manifest, card, or a known name.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder, made by bench export.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]

WithDevice = Annotated[Device, typer.Option("--device", help="Where networks compute.")]
WithEngine = Annotated[Engine, typer.Option("--engine", help="Inference engine.")]
WeightsDir = Annotated[
    Path | None, typer.Option(envvar="XRAYBENCH_WEIGHTS", help="Folder with BACKBONE-*.safetensors or .pth files.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Never download weights.")]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Import classes that the model names from outside xraybench.")
]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler, such as tcp://HOST:8786.")]
Cluster = Annotated[
    str | None,
    typer.Option(help="local[:N], or a .toml file for SLURM, PBS, LSF, SGE or HTCondor: docs/cluster.md."),
]
Alpha = Annotated[float, typer.Option(help="Claim a difference if the adjusted p is below this.")]
Rope = Annotated[float, typer.Option(help="Differences within ± this do not matter in practice.")]
Reference = Annotated[str | None, typer.Option(help="Also compare every model with this one.", show_default=False)]
WhichFrames = Annotated[Frames, typer.Option(help="Frames of a DICOM file that are images.")]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Follow links and paths that lead outside the data folder.")
]
MaxSeconds = Annotated[float, typer.Option(min=0.01, help="Give up on an image that takes longer to read.")]
MaxMegapixels = Annotated[
    float, typer.Option(min=0.001, help="Do not decode larger images; all frames of a file count.")
]
KeepIdentifiers = Annotated[
    bool,
    typer.Option(
        "--keep-identifiers",
        help="Call images by their file names in results, even if the data set's card does not declare them public.",
    ),
]


@dataclass(frozen=True)
class SourceOptions:
    """How a source of images is read."""

    file_column: Annotated[str | None, typer.Option(help="Column of a table with the file names.")] = None
    label_column: Annotated[str | None, typer.Option(help="Column of a table with the labels.")] = None
    group_column: Annotated[str | None, typer.Option(help="Column of a table with the patients.")] = None
    label_separator: Annotated[str | None, typer.Option(help="Separates the labels of an image.")] = None
    layout: Annotated[
        Layout | None,
        typer.Option("--layout", help="Labels from folders or from DICOM headers. Default: whichever most files have."),
    ] = None
    frames: WhichFrames = Frames.first
    allow_outside: AllowOutside = False
    max_megapixels: MaxMegapixels = 100
    keep_identifiers: KeepIdentifiers = False

    def hints(self) -> Hints:
        """Return the options as the reader of sources takes them."""
        from radiographs.sources import Hints

        return Hints(
            self.file_column,
            self.label_column,
            self.group_column,
            self.label_separator,
            self.frames.value,
            self.allow_outside,
            int(self.max_megapixels * 1e6),
            self.keep_identifiers,
            layout=self.layout.value if self.layout else None,
        )


@dataclass(frozen=True)
class ExperimentOptions:
    """Data, suite and folds of a run."""

    data: Annotated[
        str | None,
        typer.Option(help="Folder, .csv table, card, or name of a known data set. Default: simulated radiographs."),
    ] = None
    suite: Annotated[
        str | None, typer.Option(help="Suite by name or .toml file. Default: quick without a GPU, standard with one.")
    ] = None
    folds: Annotated[int | None, typer.Option(help="Folds of the cross-validation (the suites have 5).")] = None
    repeats: Annotated[int | None, typer.Option(help="Repeats with different folds (the suites have 1).")] = None
    seed: Annotated[int, typer.Option(help="Seed of splits, initial weights, augmentation and search.")] = 0
    splits: Annotated[
        Path | None,
        typer.Option(
            help="Published splits file (.parquet, .csv, .json); or folders: the train, val and test folders of the data."
        ),
    ] = None
    epochs: Annotated[int | None, typer.Option(help="Number of epochs of every model that has epochs.")] = None
    limit: Annotated[int | None, typer.Option(help="Use at most this many images, drawn by patient.")] = None
    holdout: Annotated[
        float | None, typer.Option(help="Share of patients held out of all folds, for a final test of every model.")
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE changed in the suite, such as preprocessing.denoise=median."),
    ] = None

    def values(self) -> dict[str, Any]:
        """Return the options by the names of a request's fields."""
        return {**vars(self), "settings": tuple(self.settings or ())}


@dataclass(frozen=True)
class NetworkOptions:
    """Where networks compute, and where their weights come from."""

    device: WithDevice = Device.auto
    weights_dir: WeightsDir = None
    offline: Offline = False

    def values(self) -> dict[str, Any]:
        """Return the options by the names of a request's fields."""
        return {**vars(self), "device": self.device.value}


@dataclass(frozen=True)
class ExecutionOptions:
    """How the cells of a run are executed."""

    jobs: Annotated[
        int, typer.Option(min=1, help="Cells fitted at the same time, with the cores divided; fit times are marked.")
    ] = 1
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds after which fitting or predicting a cell fails.")
    ] = None
    scheduler: Scheduler = None
    cluster: Cluster = None
    mlflow: Annotated[
        str | None, typer.Option(help="Log every run to this MLflow server, such as http://HOST:5000.")
    ] = None

    def values(self) -> dict[str, Any]:
        """Return the options by the names of a request's fields."""
        return dict(vars(self))


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of its parameters that are dataclasses.

    Parameters
    ----------
    command : callable
        A command; such a parameter is keyword-only, and every field of its dataclass has a default.

    Returns
    -------
    callable
        The command with the fields as parameters of its own, which Typer turns into options.
    """
    annotations = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = annotations[parameter.name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[parameter.name] = kind
            parameters += _parameters(kind)
        else:
            parameters.append(parameter.replace(annotation=kind))

    @wraps(command)
    def flat(*arguments: Any, **values: Any) -> None:
        for name, kind in groups.items():
            own = {each.name: values.pop(each.name) for each in fields(kind) if each.name in values}
            values[name] = kind(**own)
        command(*arguments, **values)

    flat.__dict__["__signature__"] = inspect.Signature(parameters)
    flat.__annotations__ = {each.name: each.annotation for each in parameters}
    return flat


def _parameters(group: type) -> list[inspect.Parameter]:
    """Return a parameter for each field of a dataclass."""
    annotations = get_type_hints(group, include_extras=True)
    parameters = []
    for each in fields(group):
        if each.default is MISSING:
            raise TypeError(f"{group.__name__}.{each.name}: an option of a group needs a default")
        parameters.append(
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=annotations[each.name]
            )
        )
    return parameters


def command_line() -> str:
    """Return the command as it was typed, for records and for messages on how to resume."""
    return shlex.join(["bench", *sys.argv[1:]])
