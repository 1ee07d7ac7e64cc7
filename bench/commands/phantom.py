"""The command ``bench data phantom``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.terminal.console import out


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
    part: Annotated[list[str] | None, typer.Option(help="Only this body part; can be given several times.")] = None,
    frequencies: Annotated[
        str, typer.Option(help="Frequencies of the parts: balanced, or as in unifesp.")
    ] = "balanced",
    wrong_labels: Annotated[float, typer.Option(help="Share of images registered under another part.")] = 0.0,
    near_duplicates: Annotated[float, typer.Option(help="Share of images that are near-duplicates of another.")] = 0.0,
    shortcut: Annotated[
        float, typer.Option(help="How reliably the device's name reveals the part, from 0 to 1.")
    ] = 0.0,
    masks: Annotated[bool, typer.Option(help="Also write which pixels each bone covers.")] = True,
    workers: Annotated[int, typer.Option(help="Threads; 0: one per core.")] = 0,
) -> None:
    """Simulate radiographs (synthetic) with known truth: labels, patients, bones, and errors made on purpose."""
    from radiographs.phantom import Recipe

    from bench.data.phantom import make_phantoms
    from bench.errors import UserError

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
    except ValueError as error:
        raise UserError(str(error)) from None
    make_phantoms(folder, recipe, workers, out)
