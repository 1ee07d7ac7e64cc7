"""A finished run with a final test, and the command on it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from PIL import Image

from bench.cli import invoke


@dataclass(frozen=True)
class Finished:
    """What a command printed and returned."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Made:
    """A finished run, its data, and the environment that it was made in."""

    run: Path
    data: Path
    environment: dict[str, str]

    def model(self, name: str) -> Path:
        """Folder of the model that was tested on the held-out images."""
        return self.run / "holdout" / name / "model"

    def bench(self, *arguments: object, input: str = "") -> Finished:  # noqa: A002 - as subprocess.run calls it
        """Run a command in this process, whose libraries are loaded."""
        words, out, err = [str(argument) for argument in arguments], io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", ["bench", *words]),
            mock.patch.object(sys, "stdin", io.StringIO(input)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = invoke(words)
        return Finished(code, out.getvalue(), err.getvalue())


def endless_jpeg(scans: int = 90, side: int = 9000) -> bytes:
    """A small progressive JPEG that takes seconds to decode: its last scan stands there again and again."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 120).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    scan, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    return data[:end] + data[scan:end] * scans + data[end:]
