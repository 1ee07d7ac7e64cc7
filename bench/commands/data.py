"""The commands about data sets: ``bench data`` check, get and phantom, and ``bench splits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bench.commands.options import (
    AllowOutside,
    FileColumn,
    Frames,
    GroupColumn,
    KeepIdentifiers,
    LabelColumn,
    LabelSeparator,
    MaxMegapixels,
    Source,
    WhichFrames,
    WhichLayout,
    hints,
)
from bench.errors import UserError
from bench.terminal.console import out

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check data sets, and make them.")


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    n: Annotated[int, typer.Option("--n", help="Number of images.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    format_: Annotated[
        str,
        typer.Option("--format", help="unifesp (Kaggle, 8-bit PNG), png (a table of 16-bit PNGs) or dicom (a tree)."),
    ] = "unifesp",
    difficulty: Annotated[str, typer.Option(help="easy, standard or hard.")] = "standard",
    side: Annotated[int, typer.Option(help="Longer side in pixels.")] = 512,
    part: Annotated[list[str] | None, typer.Option(help="Only this body part; may be repeated.")] = None,
    frequencies: Annotated[str, typer.Option(help="How often parts come: balanced, or as in unifesp.")] = "balanced",
    wrong_labels: Annotated[float, typer.Option(help="Share of images registered under another part.")] = 0.0,
    near_duplicates: Annotated[float, typer.Option(help="Share of images that nearly repeat another.")] = 0.0,
    shortcut: Annotated[float, typer.Option(help="0 to 1: how surely the device's name gives the part away.")] = 0.0,
    masks: Annotated[bool, typer.Option(help="Also write which pixels each bone covers.")] = True,
    workers: Annotated[int, typer.Option(help="Threads; 0: one per core.")] = 0,
) -> None:
    """Simulate radiographs (synthetic) whose truth is known: labels, patients, bones, errors made on purpose."""
    from radiographs.phantom import Recipe, write_folder

    from bench.environment import threads
    from bench.terminal.progress import Progress

    try:
        recipe = Recipe(
            n,
            seed,
            side,
            tuple(part or ()),
            difficulty,
            format_,
            frequencies,
            wrong_labels,
            near_duplicates,
            shortcut,
            masks,
        )
        with Progress(out).counting("simulating radiographs (synthetic)", n) as progress:
            write_folder(folder, recipe, workers=workers or threads(), progress=progress)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--format dicom: the package {error.name} is not installed: pip install 'xraybench[dicom]'"
        ) from None
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    out.print(
        f"{n} synthetic images in {escape(str(folder))}; truth.csv says what is on them. Next: bench run --all --data {escape(str(folder))}"
    )


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="Known data set (bench list datasets), or a card file.")],
    output: Annotated[Path | None, typer.Option("--out", help="Folder to make. Default: the data set's name.")] = None,
) -> None:
    """Fetch a data set where its licence lets a program do so; else print the steps that a person takes."""
    from bench.data.download import get_data

    raise typer.Exit(get_data(name, output, out))


@app.command(name="check")
def check_(
    data: Source,
    html: Annotated[Path | None, typer.Option(help="Write the page, with the pictures, to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings too.")] = False,
    folds: Annotated[int, typer.Option(help="That every class should fill.")] = 5,
    splits: Annotated[
        Path | None,
        typer.Option(help="Look for duplicates in two parts of these splits; folders: of train, val and test."),
    ] = None,
    file_column: FileColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    label_separator: LabelSeparator = None,
    layout: WhichLayout = None,
    frames: WhichFrames = Frames.first,
    allow_outside: AllowOutside = False,
    max_megapixels: MaxMegapixels = 100,
    keep_identifiers: KeepIdentifiers = False,
) -> None:
    """Say what is wrong with a data set before anything is trained on it. Exit 1 if there are errors."""
    from bench.data.check import CheckRequest, check_data

    said = hints(
        file_column,
        label_column,
        group_column,
        label_separator,
        frames,
        layout=layout,
        allow_outside=allow_outside,
        max_megapixels=max_megapixels,
        keep_identifiers=keep_identifiers,
    )
    raise typer.Exit(check_data(CheckRequest(data, said, folds, splits, html, json, strict), out))


def splits(
    data: Source,
    output: Annotated[Path, typer.Option("--out", help="File to write: .json, .csv or .parquet.")] = Path(
        "splits.json"
    ),
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    repeats: Annotated[int, typer.Option(help="Repeats with other folds.")] = 1,
    seed: Annotated[int, typer.Option(help="Decides between splits that are equally good.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use at most so many images, drawn by patient.")] = None,
    file_column: FileColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    label_separator: LabelSeparator = None,
    layout: WhichLayout = None,
    frames: WhichFrames = Frames.first,
    allow_outside: AllowOutside = False,
    max_megapixels: MaxMegapixels = 100,
    keep_identifiers: KeepIdentifiers = False,
) -> None:
    """Publish leak-free splits without running anything; bench run --splits FILE uses them."""
    from bench.data.publish import publish_splits

    if folds < 2:
        raise UserError(f"--folds {folds}: give 2 or more")
    said = hints(
        file_column,
        label_column,
        group_column,
        label_separator,
        frames,
        layout=layout,
        allow_outside=allow_outside,
        max_megapixels=max_megapixels,
        keep_identifiers=keep_identifiers,
    )
    publish_splits(data, said, output, folds=folds, repeats=repeats, seed=seed, limit=limit, console=out)
