"""The command ``bench pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bench.commands.options import Device, WithDevice
from bench.errors import UserError
from bench.terminal.console import out


def pretrain(
    backbone: Annotated[str, typer.Argument(help="Architecture by name, such as squeezenet1_0 or resnet18.")],
    phantom: Annotated[bool, typer.Option("--phantom", help="Train on simulated radiographs (synthetic).")] = False,
    folder: Annotated[Path, typer.Option("--out", help="Weights folder; then use it as --weights-dir.")] = Path(
        "weights"
    ),
    n: Annotated[int, typer.Option("--n", min=20, help="Number of images.")] = 4000,
    epochs: Annotated[
        int, typer.Option(min=1, help="Maximum number of epochs; the best on a tenth of the patients is kept.")
    ] = 10,
    side: Annotated[int, typer.Option(min=32, max=1024, help="Side of the network's input in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the images and of the training.")] = 0,
    device: WithDevice = Device.auto,
) -> None:
    """Train a backbone from random weights, into a file that --weights-dir finds."""
    from bench.session.pretrain import pretrain_on_phantoms

    if not phantom:
        raise UserError("bench pretrain: name the images to train on: --phantom")
    path = pretrain_on_phantoms(backbone, folder, n, epochs, side, seed, device.value, out)
    out.print(f"wrote {escape(str(path))}. Next: bench run --all --suite starts --weights-dir {escape(str(folder))}")
