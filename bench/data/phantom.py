"""Phantoms: simulated radiographs as a data set."""

from __future__ import annotations

from pathlib import Path

from radiographs.phantom import Recipe, write_folder
from rich.console import Console
from rich.markup import escape

from bench.environment import threads
from bench.errors import UserError
from bench.terminal.progress import Progress


def make_phantoms(folder: Path, recipe: Recipe, workers: int, console: Console) -> None:
    """Simulate radiographs into a folder.

    Parameters
    ----------
    folder : Path
        Folder to make.
    recipe : Recipe
        What to simulate.
    workers : int
        Threads; 0 for one per core.
    console : Console
        Where to print.

    Raises
    ------
    UserError
        If the recipe is impossible, a package is missing, or the folder cannot be written.
    """
    try:
        with Progress(console).counting("simulating radiographs (synthetic)", recipe.n) as progress:
            write_folder(folder, recipe, workers=workers or threads(), progress=progress)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--format dicom: the package {error.name} is not installed: pip install 'xraybench[dicom]'"
        ) from None
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    place = escape(str(folder))
    console.print(
        f"{recipe.n} synthetic images in {place}; truth.csv lists what they show. Next: bench run --all --data {place}"
    )
