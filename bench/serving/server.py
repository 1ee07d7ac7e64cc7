"""``bench serve``: opens the models and runs the server until it is stopped."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from radiographs.readers import readers
from rich.console import Console
from rich.markup import escape

from bench.errors import UserError
from bench.inference.model import load_model
from bench.serving.app import make_app
from bench.serving.connections import TimedProtocol
from bench.serving.limits import Limits
from bench.serving.predictions import disambiguate


def serve(
    folders: Sequence[Path],
    host: str,
    port: int,
    limits: Limits,
    console: Console,
    *,
    engine: str,
    device: str,
    trusted: bool = False,
) -> None:
    """Serve models until Ctrl-C.

    Parameters
    ----------
    folders : sequence of Path
        Model folders.
    host : str
        Address to listen on.
    port : int
        Port to listen on.
    limits : Limits
        What a request may be.
    console : Console
        Where to print.
    engine, device : str
    trusted : bool
        See `bench.inference.model.load_model`.

    Raises
    ------
    UserError
        If the server cannot listen on the address, or a folder holds no model.
    """
    _check_free(host, port)
    readers(started=1)  # loads its libraries while the models are opened
    models = disambiguate([load_model(folder, engine, device, trusted=trusted) for folder in folders])
    if not _is_loopback(host):
        warning = f"warning: {host} accepts connections from other machines, without password or encryption: put a proxy with both in front"
        console.print(escape(warning))
    names = ", ".join(model.name for model in models)
    address = f"[{host}]" if ":" in host else host
    console.print(escape(f"{names} at http://{address}:{port}/ (API: /openapi.json); stop with Ctrl-C"))
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(
            make_app(models, limits),
            host=host,
            port=port,
            http=TimedProtocol,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=5,
            limit_concurrency=64,
        )
    console.print("stopped")


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}): give another --port"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
