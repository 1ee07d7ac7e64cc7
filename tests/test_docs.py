"""The documentation says what is there: each command, option, key and file is documented, and each link leads somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from radiographs.preprocess import Preprocessing

from bench.recipes.search import Dimension, Tuned
from bench.recipes.suite import CrossValidation, ModelSpec, Suite

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]
WRITTEN = [page for page in PAGES if "generated" not in page.parts]


def script(path: str) -> ModuleType:
    """A script of the checkout as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and the site make them."""
    words = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", word).strip().lower().replace(" ", "-") for word in words}


def links(page: Path) -> Iterator[str]:
    """Targets of a page's links and pictures that are not elsewhere on the net."""
    text = re.sub(r"^(```.*?^```|    .*?)$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            yield target


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if "generated" in file.parts:
            continue  # made when the site is built, which checks them
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_every_page_is_in_the_contents() -> None:
    contents = re.findall(r"^```\{toctree\}.*?^```", (DOCS / "index.md").read_text(encoding="utf-8"), re.DOTALL | re.M)
    listed = {line for block in contents for line in block.splitlines() if re.fullmatch(r"[\w/-]+", line)}
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in WRITTEN if DOCS in path.parents}
    assert pages - {"index"} <= listed
    assert {name for name in listed if "generated" not in name} <= pages | {"notebook"}


def test_every_command_and_option_says_what_it_is_for() -> None:
    generate = script("docs/generate.py")
    for name, command, context in generate.commands():
        assert command.help, name
        described = {text for _, text in generate.parameters(command, context)}
        assert described or name == "bench version"
        assert all(text.strip() for text in described), (name, generate.parameters(command, context))


def test_the_page_of_commands_has_every_option() -> None:
    generate = script("docs/generate.py")
    page = generate.commands_page()
    for name, command, _ in generate.commands():
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            assert all(option in section for option in parameter.opts if option.startswith("--")), (name, parameter)


def test_every_key_of_a_suite_is_documented() -> None:
    page = (DOCS / "reference" / "suite-keys.md").read_text(encoding="utf-8")
    for model in (Suite, Preprocessing, CrossValidation, ModelSpec, Dimension, Tuned):
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}`" in page, f"{model.__name__}.{name}"


def test_every_column_and_key_of_a_run_folder_is_documented() -> None:
    import json

    import pandas as pd

    page = (DOCS / "reference" / "run-folder.md").read_text(encoding="utf-8")
    run = max((ROOT / "tests" / "golden").glob("schema-*"))
    keys = {*json.loads((run / "run.json").read_text(encoding="utf-8"))}
    for cell in run.glob("cells/*/*/cell.json"):
        keys |= {*json.loads(cell.read_text(encoding="utf-8"))}
    for table in (*run.glob("*.parquet"), *run.glob("cells/*/*/predictions.parquet")):
        keys |= {name.split("/")[0] + "/CLASS" * ("/" in name) for name in pd.read_parquet(table).columns}
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_every_marked_block_is_run_by_continuous_integration() -> None:
    blocks = script(".ci/blocks.py").blocks
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = blocks(readme)
    assert len(found) == readme.count("<!-- ci:") == 2
    assert found["comparison"].startswith("uv run --extra all bench run --all")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert {name for name in found if f"README.md {name}" not in ci} == set()


def test_a_marked_block_that_is_empty_is_refused() -> None:
    blocks = script(".ci/blocks.py").blocks
    assert blocks("<!-- ci: run a -->\n\n    one &&\n      two\n\ntext") == {"a": "one &&\n  two"}
    with pytest.raises(ValueError, match="line 1"):
        blocks("<!-- ci: run a -->\n\ntext")


@pytest.mark.slow
def test_the_tutorial_prints_what_it_says(tmp_path: Path) -> None:
    execute = script("docs/execute.py")
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    assert execute.masked(execute.executed(page, tmp_path)) == execute.masked(page)


def test_a_page_is_executed_in_place(tmp_path: Path) -> None:
    execute = script("docs/execute.py")
    page = "text\n```console\n$ echo one > file\n$ cat file\nold\n```\nmore\n"
    assert execute.executed(page, tmp_path) == "text\n```console\n$ echo one > file\n$ cat file\none\n```\nmore\n"
    with pytest.raises(RuntimeError, match="exit code 3"):
        execute.executed("```console\n$ exit 3\n```\n", tmp_path)


def test_the_built_site_loads_nothing_from_elsewhere() -> None:
    site = ROOT / "build" / "docs"
    if not (site / "index.html").is_file():
        pytest.skip("not built: make docs")
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc\s*=\s*["'](?:https?:)?//"""
        r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|preload|preconnect|icon|search))[^>]*href\s*=\s*["'](?:https?:)?//"""
        r"""|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//""",
        re.IGNORECASE,
    )
    files = [path for suffix in ("html", "css") for path in site.rglob(f"*.{suffix}")]
    assert len(files) > 30
    assert {str(path.relative_to(site)) for path in files if loads.search(path.read_text(encoding="utf-8"))} == set()
    assert (site / "searchindex.js").is_file()


def test_every_test_that_a_page_names_is_there() -> None:
    tests = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py")}
    defined = {name for text in tests.values() for name in re.findall(r"^\s*def (test_\w+)", text, re.MULTILINE)}
    for page in WRITTEN:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`(?:[\w/.]+::)?(test_[a-z0-9]+(?:_[a-z0-9]+){3,})`", text)
        assert {name for name in named if name not in defined} == set(), page.name
        files = re.findall(r"`((?:[\w/]+/)?test_\w+\.py)\b", text)
        assert {file for file in files if not any(f"/{path}".endswith(f"/{file}") for path in tests)} == set(), (
            page.name
        )


# Rooms in which every parameter and attribute that a docstring lists has its type.
TYPED = ("bench", "baselines", "deep", "reports", "datasets/radiographs")


@pytest.mark.parametrize("room", TYPED)
def test_every_parameter_that_a_docstring_lists_has_a_type(room: str) -> None:
    untyped = []
    for file in sorted((ROOT / room).rglob("*.py")) or [ROOT / room]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                untyped += [f"{file.name}:{node.name}: {name}" for name in _untyped(ast.get_docstring(node) or "")]
    assert untyped == []


def _untyped(docstring: str) -> list[str]:
    """Entries of a numpydoc docstring's lists without a type."""
    sections = re.split(r"^(\w[\w ]*)\n-{3,}$", docstring, flags=re.MULTILINE)
    lists = [
        text
        for title, text in zip(sections[1::2], sections[2::2], strict=True)
        if title in ("Parameters", "Attributes")
    ]
    return [line for text in lists for line in text.splitlines() if re.match(r"[*\w]", line) and " : " not in line]
