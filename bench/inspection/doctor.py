"""``bench doctor``: what this machine can do, and how to get what is missing."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench import environment

_ROOMS = {"classical": ("sklearn", "skimage", "xgboost"), "deep": ("torch", "torchvision", "timm")}


def examine(console: Console, weights_dir: Path | None) -> int:
    """Print the findings.

    Parameters
    ----------
    console : Console
        Where to print.
    weights_dir : Path or None
        Weights folder to search.

    Returns
    -------
    int
        0 if the suites can run, 1 if a required package is missing.
    """
    facts = environment.describe()
    findings = _Findings(console)
    findings.add("ok", f"Python {facts['python']} on {facts['platform']}")
    findings.add(
        "ok", f"{facts['cpu']}, {facts['threads']} of {facts['cores']} cores usable, {facts['memory_gb']} GB memory"
    )
    for room, modules in _ROOMS.items():
        missing = [name for name in modules if find_spec(name) is None]
        findings.add(
            "missing" if missing else "ok",
            f"{room}: {', '.join(missing) + ' not installed: pip install xraybench[' + room + ']' if missing else 'installed'}",
        )
    if find_spec("torch"):
        import torch

        has_gpu = torch.cuda.is_available()
        findings.add(
            "ok" if has_gpu else "note",
            f"GPU: {torch.cuda.get_device_name() if has_gpu else 'none that torch can use: suite quick is the default'}",
        )
        _backbones(findings, weights_dir)
    cache = environment.cache_folder()
    findings.add("ok", f"cache: {cache} ({shutil.disk_usage(cache).free / 1e9:.0f} GB free)")
    _weights(findings, weights_dir)
    for name, version in facts["packages"].items():
        findings.add("ok", f"{name} {version}")
    return 1 if findings.missing else 0


def _backbones(findings: _Findings, folder: Path | None) -> None:
    """List the backbones of the suites whose weights need no download."""
    from bench.inspection.weights import backbones
    from bench.recipes.suite import load_suite, suite_names
    from deep.published import published
    from deep.weights import at_hand

    names = dict.fromkeys([*published(), *(name for suite in suite_names() for name in backbones(load_suite(suite)))])
    found = {name: at_hand(name, folder) for name in names}
    here = [f"{name} ({weights.origin})" for name, weights in found.items() if weights]
    findings.add(
        "ok" if here else "note",
        f"backbones available: {', '.join(here) or 'none: see bench weights list'}",
    )


def _weights(findings: _Findings, folder: Path | None) -> None:
    if folder is None:
        findings.add("note", "weights: no --weights-dir or XRAYBENCH_WEIGHTS: torch's cache, then a download")
        return
    files = (
        sorted(f.name for suffix in ("safetensors", "pth") for f in folder.glob(f"*-*.{suffix}"))
        if folder.is_dir()
        else []
    )
    findings.add(
        "ok" if files else "note", f"weights in {folder}: {', '.join(files) or 'no BACKBONE-*.safetensors or .pth'}"
    )


class _Findings:
    """Prints findings, and remembers whether something is missing."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.missing = False

    def add(self, mark: str, text: str) -> None:
        """Print a finding with its mark: ok, note or missing."""
        self.missing |= mark == "missing"
        style = {"ok": "green", "note": "yellow", "missing": "red"}[mark]
        self.console.print(Text(f"{mark:>7}  ", style=style).append(text, style="default"))
