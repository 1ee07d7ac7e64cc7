"""Rules of the code's shape that no linter has: what may stand where, and how long and wide a function may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import shape

ROOT = Path(__file__).parents[1]
TREES = shape.modules(ROOT)
FUNCTIONS = [each for module, tree in TREES.items() for each in shape.functions(module, tree)]


def is_command(function: shape.Function) -> bool:
    return function.module.startswith("bench.commands.")


def test_four_files_stand_at_the_top_of_the_hub_and_none_but_the_package_at_that_of_reports() -> None:
    assert sorted(path.name for path in (ROOT / "bench").glob("*.py")) == [
        "__init__.py",
        "cli.py",
        "environment.py",
        "errors.py",
    ]
    assert [path.name for path in (ROOT / "reports").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("package", ["bench", "reports"])
def test_no_two_rooms_import_each_other_even_by_way_of_others(package: str) -> None:
    assert not shape.circles(set(shape.arrows(TREES, package)))


def test_functions_take_ten_parameters_at_most_but_for_commands_and_what_a_suite_sets_in_a_constructor() -> None:
    wide = [f.where for f in FUNCTIONS if f.parameters > 10 and not is_command(f) and not f.name.endswith("__init__")]
    assert not wide


def test_functions_have_sixty_lines_at_most_but_for_commands() -> None:
    assert not [f.where for f in FUNCTIONS if f.lines > 60 and not is_command(f)]


def test_every_package_ships_its_types() -> None:
    for package in shape.PACKAGES:
        assert (ROOT / package / "py.typed").is_file(), package


def test_only_the_contract_asks_a_class_what_it_can_do() -> None:
    asked = [
        module
        for module, tree in TREES.items()
        if module.startswith("bench.") and module != "bench.recipes.contract"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "hasattr"
        and not (isinstance(node.args[0], ast.Name) and node.args[0].id in ("mmap", "os", "signal"))
    ]
    assert not asked


def test_the_figures_of_a_small_tree_are_right(tmp_path: Path) -> None:
    for name, text in {
        "__init__": "",
        "low/__init__": "",
        "low/a": "def f(x, *, y, **z):\n    return x\n",
        "high/__init__": "",
        "high/b": "from bench.low import a\n\n\nclass C:\n    def g(self):\n        def inner(): pass\n",
    }.items():
        path = tmp_path / "bench" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    trees = shape.modules(tmp_path)
    assert shape.arrows(trees, "bench") == {("bench.high", "bench.low"): 1}
    found = [each for module, tree in trees.items() for each in shape.functions(module, tree)]
    assert [(f.where, f.lines, f.parameters) for f in found] == [
        ("bench.high.b:C.g", 2, 0),
        ("bench.high.b:C.g.inner", 1, 0),
        ("bench.low.a:f", 2, 3),
    ]
    assert shape.circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == {("a", "b"), ("b", "c"), ("c", "a")}
