"""The command ``bench serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Device, Engine, MaxMegapixels, MaxSeconds, TrustCode, WithDevice, WithEngine
from bench.errors import UserError
from bench.terminal.console import out


def serve(
    folders: Annotated[list[Path], typer.Argument(metavar="MODEL", help="Model folders, made by bench export.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own is open to other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8765,
    engine: WithEngine = Engine.auto,
    device: WithDevice = Device.auto,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Refuse larger files.")] = 64,
    max_megapixels: MaxMegapixels = 100,
    max_seconds: MaxSeconds = 10,
    trust_code: TrustCode = False,
) -> None:
    """Serve a page that shows every model's prediction for a dropped image or DICOM file, and an HTTP API. Nothing is stored."""
    try:
        from bench.serving.limits import Limits
        from bench.serving.server import serve as run_server
    except ModuleNotFoundError as error:
        raise UserError(f"bench serve needs {error.name}: pip install 'xraybench[serve]'") from None

    limits = Limits(int(max_megabytes * 1e6), int(max_megapixels * 1e6), image_seconds=max_seconds, hosts=(host,))
    run_server(folders, host, port, limits, out, engine=engine.value, device=device.value, trusted=trust_code)
