"""The command ``bench export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bench.commands.options import NetworkOptions, Run, with_option_groups
from bench.terminal.console import out


@with_option_groups
def export(
    folder: Run,
    output: Annotated[Path, typer.Option("--out", help="Model folder to make.")],
    model: Annotated[str, typer.Option(help="A model of the run, or best.")] = "best",
    sure: Annotated[
        float, typer.Option(min=0.5, max=1, help="Share of sure predictions that must be correct on validation data.")
    ] = 0.95,
    *,
    network: NetworkOptions,
) -> None:
    """Fit a model of a run to all its images, and write it as a folder of its own, with a model card."""
    from bench import environment
    from bench.export.export import export as write
    from bench.recipes.build import Resources

    resources = Resources(
        device=environment.resolve_device(network.device.value),
        weights_dir=network.weights_dir,
        offline=network.offline,
        threads=environment.threads(),
    )
    facts = write(folder, model, output, environment.cache_folder(), resources, target=sure)
    trained, noun = facts["trained_on"], facts["data"]["group_noun"]
    out.print(
        escape(
            f"{facts['name']} ({facts['family']}), fitted to {trained['n_images']} images of {trained['n_groups']} {noun}s "
            "with the hyper-parameters that the folds chose"
        )
    )
    if facts["graph"]:
        out.print(f"model.onnx: differs from torch by at most {facts['graph']['onnx_to_torch']:.1e}")
    out.print(
        escape(f"wrote {output}; see {output / 'README.md'}. Next: bench predict {shlex.quote(str(output))} FILES")
    )
