"""``bench doctor``: what this machine can do, line by line, and what to do about what it cannot."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench import environment

_ROOMS = {"classical": ("sklearn", "skimage", "xgboost"), "deep": ("torch", "torchvision", "timm")}


def examine(console: Console, weights_dir: Path | None) -> int:
    """Print the findings; 0 if the suites can run, 1 if a needed package is missing."""
    facts = environment.describe()
    say = _Speaker(console)
    say("ok", f"Python {facts['python']} on {facts['platform']}")
    say("ok", f"{facts['cpu']}, {facts['threads']} of {facts['cores']} cores usable, {facts['memory_gb']} GB memory")
    for room, modules in _ROOMS.items():
        missing = [name for name in modules if find_spec(name) is None]
        say(
            "missing" if missing else "ok",
            f"{room}: {', '.join(missing) + ' not installed: pip install xraybench[' + room + ']' if missing else 'installed'}",
        )
    if find_spec("torch"):
        import torch

        has_gpu = torch.cuda.is_available()
        say(
            "ok" if has_gpu else "note",
            f"GPU: {torch.cuda.get_device_name() if has_gpu else 'none that torch can use: suite quick is the default'}",
        )
        _backbones(say, weights_dir)
    cache = environment.cache_folder()
    say("ok", f"cache: {cache} ({shutil.disk_usage(cache).free / 1e9:.0f} GB free)")
    _weights(say, weights_dir)
    for name, version in facts["packages"].items():
        say("ok", f"{name} {version}")
    return 1 if say.missing else 0


def _backbones(say: _Speaker, folder: Path | None) -> None:
    """Name the backbones of the suites whose weights need no download."""
    from bench.inspection.weights import backbones
    from bench.recipes.suite import load_suite, suite_names
    from deep.published import published
    from deep.weights import at_hand

    names = dict.fromkeys([*published(), *(name for suite in suite_names() for name in backbones(load_suite(suite)))])
    found = {name: at_hand(name, folder) for name in names}
    here = [f"{name} ({weights.origin})" for name, weights in found.items() if weights]
    say(
        "ok" if here else "note",
        f"backbones at hand: {', '.join(here) or 'none: bench weights list says how they come here'}",
    )


def _weights(say: _Speaker, folder: Path | None) -> None:
    if folder is None:
        say("note", "weights: no --weights-dir or XRAYBENCH_WEIGHTS: torch's cache, then a download")
        return
    files = (
        sorted(f.name for suffix in ("safetensors", "pth") for f in folder.glob(f"*-*.{suffix}"))
        if folder.is_dir()
        else []
    )
    say("ok" if files else "note", f"weights in {folder}: {', '.join(files) or 'no BACKBONE-*.safetensors or .pth'}")


class _Speaker:
    """Prints a finding with its mark, and remembers whether something is missing."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.missing = False

    def __call__(self, mark: str, text: str) -> None:
        self.missing |= mark == "missing"
        style = {"ok": "green", "note": "yellow", "missing": "red"}[mark]
        self.console.print(Text(f"{mark:>7}  ", style=style).append(text, style="default"))
