"""The commands below ``bench weights``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import WeightsDir
from bench.errors import UserError
from bench.terminal.console import out

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Find pretrained weights, and collect them in a folder for a machine without a network.",
)

Names = Annotated[list[str] | None, typer.Argument(metavar="BACKBONE", help="Names in torchvision or timm.")]


@app.command(name="list")
def list_(weights_dir: WeightsDir = None) -> None:
    """List the backbones of the package's suites: where their weights are, or where they are downloaded from."""
    from bench.inspection.weights import list_weights

    _check_installed()
    raise typer.Exit(list_weights(weights_dir, out))


@app.command()
def where(backbones: Names = None, weights_dir: WeightsDir = None) -> None:
    """Print the weights file of each backbone. Exits with code 1 if one is not available."""
    from bench.inspection.weights import where as print_where

    _check_installed()
    if not backbones:
        raise UserError("bench weights where: name backbones; see: bench weights list")
    raise typer.Exit(print_where(backbones, weights_dir, out))


@app.command()
def get(
    output: Annotated[Path, typer.Option("--out", help="Folder for the files; then use it as --weights-dir.")],
    backbones: Names = None,
    suite: Annotated[str | None, typer.Option(help="All backbones of a suite, by name or .toml file.")] = None,
    weights_dir: WeightsDir = None,
) -> None:
    """Collect weights in a folder: copied if available, else downloaded and checked. Interrupted downloads are resumed."""
    from bench.inspection.weights import backbones as of_suite
    from bench.inspection.weights import collect
    from bench.recipes.suite import load_suite

    _check_installed()
    names = [*(backbones or []), *(of_suite(load_suite(suite)) if suite else [])]
    if not names:
        raise UserError("bench weights get: name backbones or a --suite that has some; see: bench weights list")
    raise typer.Exit(collect(dict.fromkeys(names), output, weights_dir, out))


def _check_installed() -> None:
    missing = [name for name in ("torch", "torchvision") if find_spec(name) is None]
    if missing:
        raise UserError(f"bench weights: {', '.join(missing)} not installed: pip install 'xraybench[deep]'")
