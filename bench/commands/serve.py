"""``bench serve``: models behind a page and an API on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bench.commands.options import MaxSeconds
from bench.errors import UserError
from bench.terminal.console import out


def serve(
    folders: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Model folders, made by bench export.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this machine's own let others in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8765,
    engine: Annotated[str, typer.Option(help="auto, native, onnx or openvino.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Larger files are refused.")] = 64,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, help="Larger pictures are refused; all frames count.")
    ] = 100,
    max_seconds: MaxSeconds = 10,
) -> None:
    """Serve a page where an image or DICOM file is dropped and every model's answer is seen, and an HTTP API. Nothing is stored."""
    try:
        import uvicorn

        from bench.serving.app import make_app
        from bench.serving.connections import Impatient
    except ModuleNotFoundError as error:
        raise UserError(f"bench serve needs {error.name}: pip install 'xraybench[serve]'") from None
    from radiographs.readers import readers

    from bench.inference.model import load_model
    from bench.serving.limits import Limits
    from bench.serving.looking import disambiguate

    _check_free(host, port)
    readers(started=1)  # loads its libraries while the models are opened
    models = disambiguate([load_model(folder, engine, device) for folder in folders])
    limits = Limits(int(max_megabytes * 1e6), int(max_megapixels * 1e6), image_seconds=max_seconds, hosts=(host,))
    if not _is_loopback(host):
        out.print(
            escape(
                f"warning: {host} lets other machines in, without a password and without encryption: put a proxy with both before it"
            )
        )
    address = f"[{host}]" if ":" in host else host
    out.print(
        escape(
            f"{', '.join(model.name for model in models)} at http://{address}:{port}/ (API: /openapi.json); Ctrl-C ends it"
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(
            make_app(models, limits),
            host=host,
            port=port,
            http=Impatient,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=5,
            limit_concurrency=64,
        )
    out.print("stopped")


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on ({error.strerror}): give another --port"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
