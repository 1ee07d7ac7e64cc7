"""Options are defined once: a command that takes a group has an option for each of its fields."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from bench import commands
from bench.commands.options import Device, Engine, SourceOptions, with_option_groups
from bench.inference.model import ENGINES
from tests.bench.commands.test_documentation import COMMANDS


@dataclass(frozen=True)
class Colours:
    """A group of options."""

    red: Annotated[int, typer.Option(help="Red.")] = 1
    green: Annotated[Device, typer.Option("--leaf", help="Green.")] = Device.cpu


def paint(received: list[Any]) -> Callable[..., None]:
    """A command with a group, which appends what it receives."""

    def command(name: str, *, colours: Colours, blue: Annotated[int, typer.Option()] = 3) -> None:
        received.append((name, colours, blue))

    return with_option_groups(command)


def test_a_group_becomes_an_option_for_each_field_in_its_place() -> None:
    received: list[Any] = []
    command = paint(received)
    assert list(inspect.signature(command).parameters) == ["name", "red", "green", "blue"]
    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, ["wall", "--red", "7", "--leaf", "cuda"]).exit_code == 0
    command("fence")
    assert received == [("wall", Colours(7, Device.cuda), 3), ("fence", Colours(), 3)]


def test_a_field_without_a_default_is_refused() -> None:
    @dataclass(frozen=True)
    class Wrong:
        """A group whose option would be required."""

        red: int

    def command(*, wrong: Any) -> None: ...

    command.__annotations__["wrong"] = Wrong
    with pytest.raises(TypeError, match=r"Wrong\.red: an option of a group needs a default"):
        with_option_groups(command)


def test_the_defaults_of_the_options_are_those_of_the_reader_of_sources() -> None:
    from radiographs.sources import Hints

    assert SourceOptions().hints() == Hints()


def test_the_engines_of_the_option_are_those_of_the_models() -> None:
    assert tuple(Engine) == ENGINES


def test_every_command_stands_in_a_file_of_its_name() -> None:
    files = {path.stem for path in Path(str(commands.__file__)).parent.glob("*.py")} - {"__init__", "options"}
    single = {name.split()[-1] for name in COMMANDS if "weights" not in name}
    assert files == single | {"weights"}


@pytest.mark.parametrize("option", ["--weights-dir", "--offline", "--device", "--engine", "--cluster", "--scheduler"])
def test_an_option_of_one_name_has_one_help_text(option: str) -> None:
    texts: dict[str, set[str]] = defaultdict(set)
    for command in COMMANDS.values():
        for each in command.params:
            if option in each.opts:
                texts[option].add(each.help)
    assert len(texts[option]) == 1
