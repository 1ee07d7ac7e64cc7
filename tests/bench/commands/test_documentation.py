"""Every command, option and suite key is documented on a page that a person wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli import app
from bench.recipes.suite import CrossValidation, ModelSpec, Suite

ROOT = Path(__file__).parents[3]


@cache
def documentation() -> str:
    """Return the README and every page that a person wrote."""
    pages = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in page.parts]
    pages = [ROOT / "README.md", *pages]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def commands(command: Any = None, path: str = "bench") -> Iterator[tuple[str, Any]]:
    """Yield every command with what is typed for it, such as ``bench data check``."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from commands(each, f"{path} {name}")


def is_named(option: str, text: str) -> bool:
    """Whether a text names an option, such as ``--masks`` or its opposite ``--no-masks``."""
    return re.search(rf"(?<![\w-]){option}(?![\w-])", text) is not None


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_each_of_its_options_is_documented(name: str) -> None:
    text = documentation()
    assert re.search(rf"\b{name}\b", text), f"no page names the command {name}"
    options = [[*each.opts, *each.secondary_opts] for each in COMMANDS[name].params if each.opts[0].startswith("--")]
    missing = [names[0] for names in options if not any(is_named(option, text) for option in names)]
    assert not missing, f"{name}: no page names {', '.join(missing)}"


def test_every_command_and_option_has_a_help_text() -> None:
    for name, command in COMMANDS.items():
        assert command.help, name
        for each in command.params:
            assert getattr(each, "help", None), f"{name}: {each.name}"


@pytest.mark.parametrize("model", [Suite, CrossValidation, ModelSpec])
def test_every_key_of_a_suite_is_documented(model: Any) -> None:
    keys = {field.alias or name for name, field in model.model_fields.items()}
    missing = {key for key in keys if not re.search(rf"\b{key}\b", documentation())}
    assert not missing, f"no page names the suite keys {', '.join(sorted(missing))}"
