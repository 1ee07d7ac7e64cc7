"""Figures of the code's shape: rooms, arrows between them, lengths and numbers of parameters.

python tests/shape.py [ROOT]
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("bench", "baselines", "deep", "reports", "datasets/radiographs")


@dataclass(frozen=True)
class Function:
    """A function or method: where it stands, its lines, and its parameters without ``self`` and ``cls``."""

    module: str
    name: str
    lines: int
    parameters: int

    @property
    def where(self) -> str:
        """Such as ``bench.cells.runner:Runner.fit``."""
        return f"{self.module}:{self.name}"


def modules(root: Path) -> dict[str, ast.Module]:
    """Return the syntax tree of every module, by its import name."""
    found = {}
    for package in PACKAGES:
        top = root / package
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def functions(module: str, tree: ast.AST, prefix: str = "") -> Iterator[Function]:
    """Give every function of a module, those inside of others too."""
    for node in ast.iter_child_nodes(tree):
        name = f"{prefix}{node.name}" if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            extra = [a for a in (arguments.vararg, arguments.kwarg) if a]
            count = len([a for a in named if a not in ("self", "cls")]) + len(extra)
            yield Function(module, name, (node.end_lineno or node.lineno) - node.lineno + 1, count)
        yield from functions(module, node, f"{name}." if name else prefix)


def arrows(trees: dict[str, ast.Module], package: str) -> Counter[tuple[str, str]]:
    """Count the imports from one room of a package into another; a loose file at the top is a room of its own."""
    found: Counter[tuple[str, str]] = Counter()
    for module, tree in trees.items():
        if module.split(".")[0] != package:
            continue
        targets = {
            f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in trees else node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        found.update((room(module), room(target)) for target in targets if target.split(".")[0] == package)
    return Counter({(a, b): n for (a, b), n in found.items() if a != b and package not in (a, b)})


def room(module: str) -> str:
    """Return the room of a module: the first two parts of its name."""
    return ".".join(module.split(".")[:2])


def circles(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows that lie on a circle."""
    reach = {a: {b for x, b in edges if x == a} for a, _ in edges}
    for _ in reach:
        reach = {a: near | {c for b in near for c in reach.get(b, set())} for a, near in reach.items()}
    return {(a, b) for a, b in edges if a in reach.get(b, set())}


def main(root: Path) -> None:
    """Print the figures."""
    trees = modules(root)
    for package in ("bench", "reports"):
        edges = arrows(trees, package)
        names = sorted({name for edge in edges for name in edge})
        sizes = Counter(room(module) for module in trees if module.startswith(f"{package}."))
        print(
            f"{package}: {len(names)} rooms and loose files, {len(edges)} arrows, {len(circles(set(edges)))} on circles"
        )
        for name in names:
            targets = ", ".join(b.split(".")[1] for a, b in sorted(edges) if a == name)
            print(f"  {name.split('.')[1]} ({sizes[name]}) -> {targets or 'nothing'}")
    found = [each for module, tree in trees.items() for each in functions(module, tree)]
    print(f"functions: {len(found)}, median {statistics.median(f.lines for f in found):.0f} lines")
    for title, many in (
        ("more than 10 parameters", sorted((f for f in found if f.parameters > 10), key=lambda f: -f.parameters)),
        ("more than 60 lines", sorted((f for f in found if f.lines > 60), key=lambda f: -f.lines)),
    ):
        print(f"{title}: {len(many)}")
        for each in many:
            print(f"  {each.where} ({each.parameters} parameters, {each.lines} lines)")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])
