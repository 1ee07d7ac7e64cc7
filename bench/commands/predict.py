"""The command ``bench predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import (
    AllowOutside,
    Cluster,
    Device,
    Engine,
    Frames,
    MaxMegapixels,
    MaxSeconds,
    ModelFolder,
    Scheduler,
    TrustCode,
    WhichFrames,
    WithDevice,
    WithEngine,
    command_line,
)
from bench.terminal.console import out


def predict(
    model: ModelFolder,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, folders or patterns; - reads a list from standard input."),
    ],
    output: Annotated[
        Path | None, typer.Option("--out", help="A .csv, .parquet or .jsonl file; or a folder of Parquet parts.")
    ] = None,
    kaggle: Annotated[
        Path | None, typer.Option(help="Also write UNIFESP's submission file (SOPInstanceUID,Target).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out and --kaggle.")] = False,
    engine: WithEngine = Engine.auto,
    device: WithDevice = Device.auto,
    frames: WhichFrames = Frames.first,
    allow_outside: AllowOutside = False,
    max_megapixels: MaxMegapixels = 100,
    max_seconds: MaxSeconds = 30,
    trust_code: TrustCode = False,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    part: Annotated[int, typer.Option(min=1, help="Files per part of the predictions.")] = 512,
) -> None:
    """Name the body parts in images, with a confidence, and say when the model is not sure. The same command again resumes."""
    from bench.inference.session import PredictRequest, predict_session

    request = PredictRequest(
        model=model,
        paths=tuple(paths),
        out=output,
        kaggle=kaggle,
        overwrite=overwrite,
        engine=engine.value,
        device=device.value,
        every_frame=frames is Frames.each,
        allow_outside=allow_outside,
        max_pixels=int(max_megapixels * 1e6),
        seconds=max_seconds,
        trusted=trust_code,
        scheduler=scheduler,
        cluster=cluster,
        part=part,
        command=command_line(),
    )
    raise typer.Exit(predict_session(request, sys.stdin, out))
