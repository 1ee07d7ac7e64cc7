"""The command ``bench study``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bench.terminal.console import out


def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The plan: docs/studies.md.")],
    output: Annotated[Path | None, typer.Option("--out", help="Folder of the study. Default: studies/NAME.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Print the list of runs and stop.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    weights_dir: Annotated[
        Path | None, typer.Option(envvar="XRAYBENCH_WEIGHTS", help="Folder with BACKBONE-*.safetensors or .pth files.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download weights.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Cells fitted side by side, with the cores divided.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that a cell may fit, and predict, before it has failed.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, such as tcp://HOST:8786.")] = None,
    cluster: Annotated[str | None, typer.Option(help="local[:N], or a .toml file: docs/cluster.md.")] = None,
    mlflow: Annotated[str | None, typer.Option(help="Log every run to this MLflow server.")] = None,
) -> None:
    """Several data sets, suites, variants and seeds as one plan, with one report. The same command goes on where it was stopped."""
    from bench.errors import UserError
    from bench.session.run import Request
    from bench.study.plan import read_study
    from bench.study.session import run_study
    from reports.studies.report import write_study

    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: there are auto, cpu, cuda")
    base = Request(
        device=device,
        weights_dir=weights_dir,
        offline=offline,
        jobs=jobs,
        timeout=timeout,
        scheduler=scheduler,
        cluster=cluster,
        mlflow=mlflow,
        command=shlex.join(["bench", *sys.argv[1:]]),
    )
    folder = output or Path("studies") / read_study(file).name
    code = run_study(file, folder, base, out, dry=dry)
    if dry or code == 130:
        raise typer.Exit(code)
    words, paths = write_study(folder, html=True, csv=True)
    out.print(escape("\n" + "\n".join(words)))
    for path in paths:
        out.print(f"wrote {escape(str(path))}")
    raise typer.Exit(code)
