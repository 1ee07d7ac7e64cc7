"""The command ``bench dictionary``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bench.terminal.console import out


def dictionary(
    output: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("dictionary.safetensors"),
    data: Annotated[
        str | None,
        typer.Option(help="Folder, table or card to learn from. Without: simulated radiographs.", show_default=False),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=10, help="Number of images.")] = 200,
    components: Annotated[int, typer.Option(min=2, max=128, help="Principal components of a descriptor.")] = 48,
    gaussians: Annotated[int, typer.Option(min=2, help="Gaussians of the mixture.")] = 64,
    side: Annotated[int, typer.Option(min=64, max=1024, help="Side of the images in pixels.")] = 224,
    seed: Annotated[int, typer.Option(help="Seed of the images and of the mixture.")] = 2010,
) -> None:
    """Learn the dictionary of Fisher vectors from images without their labels.

    A suite names it with dictionary = "FILE" in a table of baselines.fisher:FisherVector. The one of the package was written by this
    command without options.
    """
    from bench.session.dictionary import DictionaryRequest, dictionary_session

    request = DictionaryRequest(
        out=output, data=data, n=n, components=components, gaussians=gaussians, side=side, seed=seed
    )
    out.print(f"wrote {escape(str(dictionary_session(request, out)))}")
