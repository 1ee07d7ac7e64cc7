"""Pages of the reference that are made of the code: each command with its options, each room with its docstrings."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = (
    "radiographs",
    "baselines",
    "deep",
    "reports",
    "bench.session",
    "bench.recipes",
    "bench.inference",
)  # of the hub what is called from Python


def write(folder: Path) -> None:
    """Write all pages; a file that is as it should be is left alone, so that Sphinx does not read it again."""
    pages = {"commands.md": commands_page(), **python_pages()}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Markdown of every command: what ``--help`` says, with an anchor for each option."""
    lines = ["# Commands", "", "What `bench COMMAND --help` shows, made from the command line itself.", ""]
    for name, command, context in commands():
        lines += [f"## {name}", "", command.help.strip(), "", "```text", usage(command, context), "```", ""]
        lines += [f"```{{program}} {name}", "```", ""]
        for names, text in parameters(command, context):
            lines += [f"````{{option}} {names}", text, "````", ""]
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command with its full name and a context, in alphabetical order."""
    from typer.main import get_command

    from bench.cli import app

    def below(name: str, command: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:
        context = command.context_class(command, info_name=name.split()[-1], parent=parent)
        if not hasattr(command, "commands"):
            yield name, command, context
        for word, child in sorted(getattr(command, "commands", {}).items()):
            yield from below(f"{name} {word}", child, context)

    yield from below("bench", get_command(app), None)


def usage(command: Any, context: Any) -> str:
    """One line, such as ``bench run [OPTIONS] [MODELS]...``."""
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def parameters(command: Any, context: Any) -> list[tuple[str, str]]:
    """Names and help of arguments and options, without ``--help``."""
    records = [parameter.get_help_record(context) for parameter in command.params]
    return [(names, text) for names, text in filter(None, records)]


def python_pages() -> dict[str, str]:
    """One page per package and room, with the public functions and classes of its modules."""
    rooms: dict[str, list[str]] = {}
    for package in PACKAGES:
        for module in modules(package):
            rooms.setdefault(module.rpartition(".")[0], []).append(module)
    pages = {f"{room}.rst": _room_page(room, names) for room, names in sorted(rooms.items())}
    contents = "\n".join(f"   {room}" for room in sorted(rooms))
    pages["python.rst"] = (
        "Python\n======\n\nEvery room is an ordinary package: what the commands do can be called.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{contents}\n"
    )
    return pages


def modules(package: str) -> list[str]:
    """Names of a package's modules that hold functions or classes of their own."""
    root = importlib.import_module(package)
    names = [module.name for module in pkgutil.walk_packages(root.__path__, f"{package}.") if not module.ispkg]
    return [name for name in names if not name.rpartition(".")[2].startswith("_")]


def _room_page(room: str, names: list[str]) -> str:
    lines = [room, "=" * len(room), ""]
    for name in names:
        lines += [name, "-" * len(name), "", f".. automodule:: {name}", ""]
    return "\n".join(lines)
