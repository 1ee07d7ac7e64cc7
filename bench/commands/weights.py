"""The commands below ``bench weights``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UserError
from bench.terminal.console import out

app = typer.Typer(
    no_args_is_help=True, help="Pretrained weights: what is at hand, from where, and a folder of them to carry along."
)

Names = Annotated[list[str] | None, typer.Argument(metavar="BACKBONE...", help="Names in torchvision or timm.")]
WeightsDir = Annotated[
    Path | None, typer.Option(envvar="XRAYBENCH_WEIGHTS", help="Folder with BACKBONE-*.safetensors or .pth files.")
]


@app.command(name="list")
def list_(weights_dir: WeightsDir = None) -> None:
    """List the backbones of the package's suites: where their weights are, or how they come here and how large they are."""
    from bench.inspection.weights import list_weights

    _needs_deep()
    raise typer.Exit(list_weights(weights_dir, out))


@app.command()
def where(backbones: Names = None, weights_dir: WeightsDir = None) -> None:
    """Print the file that each backbone would start from; exit code 1 where it is not at hand."""
    from bench.inspection.weights import where as print_where

    _needs_deep()
    if not backbones:
        raise UserError("bench weights where: name backbones; see: bench weights list")
    raise typer.Exit(print_where(backbones, weights_dir, out))


@app.command()
def get(
    output: Annotated[
        Path, typer.Option("--out", help="Folder for the files; carry it along, and use it as --weights-dir.")
    ],
    backbones: Names = None,
    suite: Annotated[str | None, typer.Option(help="All backbones of a suite, by name or .toml file.")] = None,
    weights_dir: WeightsDir = None,
) -> None:
    """Put weights into a folder: copied where they are at hand, else downloaded, resumed where that stopped, and checked."""
    from bench.inspection.weights import backbones as of_suite
    from bench.inspection.weights import get as put
    from bench.recipes.suite import load_suite

    _needs_deep()
    names = [*(backbones or []), *(of_suite(load_suite(suite)) if suite else [])]
    if not names:
        raise UserError("bench weights get: name backbones or a --suite that has some; see: bench weights list")
    raise typer.Exit(put(dict.fromkeys(names), output, weights_dir, out))


def _needs_deep() -> None:
    absent = [name for name in ("torch", "torchvision") if find_spec(name) is None]
    if absent:
        raise UserError(f"bench weights: {', '.join(absent)} not installed: pip install 'xraybench[deep]'")
