"""The options that several commands share: how a source of images is to be read."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from radiographs.sources import Hints


class Frames(StrEnum):
    """Which frames of a DICOM file are images."""

    first = "first"
    each = "each"


class Layout(StrEnum):
    """Where pictures without a table get their labels."""

    folders = "folders"
    dicom = "dicom"


Source = Annotated[str, typer.Argument(metavar="PATH", help="Folder, table, manifest, card, or a known name.")]
FileColumn = Annotated[str | None, typer.Option(help="Column of a table with the file names.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of a table with the labels.")]
GroupColumn = Annotated[str | None, typer.Option(help="Column of a table with the patients.")]
LabelSeparator = Annotated[str | None, typer.Option(help="What stands between several labels of an image.")]
WhichFrames = Annotated[Frames, typer.Option(help="Of DICOM files with several frames.")]
WhichLayout = Annotated[
    Layout | None,
    typer.Option("--layout", help="Labels from the folders or from the DICOM headers. Default: what fits."),
]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Follow links and paths that lead out of the data folder.")
]
MaxSeconds = Annotated[
    float, typer.Option(min=0.01, help="An image that takes longer to read is given up, and what reads it is ended.")
]
MaxMegapixels = Annotated[float, typer.Option(help="Larger files are not decoded; all frames count.")]


KeepIdentifiers = Annotated[
    bool,
    typer.Option(
        "--keep-identifiers",
        help="Call images by their files' names in results, though the data set's card does not say that these are public.",
    ),
]


def hints(
    file_column: str | None,
    label_column: str | None,
    group_column: str | None,
    label_separator: str | None,
    frames: Frames,
    *,
    layout: Layout | None,
    allow_outside: bool,
    max_megapixels: float,
    keep_identifiers: bool,
) -> Hints:
    """What these options say of a source."""
    from radiographs.sources import Hints

    max_pixels = int(max_megapixels * 1e6)
    return Hints(
        file_column,
        label_column,
        group_column,
        label_separator,
        frames.value,
        allow_outside,
        max_pixels,
        keep_identifiers,
        layout=layout and layout.value,
    )
