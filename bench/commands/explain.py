"""The command ``bench explain``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Device, KeepIdentifiers, TrustCode, WithDevice
from bench.terminal.console import err, out


class Method(StrEnum):
    """How maps are made."""

    auto = "auto"
    occlusion = "occlusion"


def explain(
    paths: Annotated[
        list[str], typer.Argument(metavar="MODEL... IMAGE... | RUN", help="Model folders and images; or a run folder.")
    ],
    output: Annotated[
        Path | None, typer.Option("--out", help="Folder to make. Default: explanations, or RUN/explanations.")
    ] = None,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="Class to explain. Default: the most probable of each image.", show_default=False),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="auto: the method that suits each model. occlusion: the same for all.")
    ] = Method.auto,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random maps and random weights.")] = 0,
    device: WithDevice = Device.auto,
    keep_identifiers: KeepIdentifiers = False,
    trust_code: TrustCode = False,
) -> None:
    """Show which parts of an image matter to each model: heat maps side by side, tested against random maps and random weights."""
    from bench.explaining.session import ExplainRequest, explain_session

    request = ExplainRequest(
        paths=tuple(paths),
        out=output,
        class_=class_,
        method=str(method),
        seed=seed,
        device=str(device),
        keep_identifiers=keep_identifiers,
        trusted=trust_code,
    )
    explain_session(request, sys.stdin, out, err)
