"""The layers of the package: imports point one way, and a function fits on a screen."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "faceanon_hub"
# Each line may import from the lines above it: folders, and modules at the root.
LAYERS = """
errors ranges diffusion faces alignment
files options processes
component io
hub
networks
detection landmarks parsing recognition generators
lighting
look color placing blending
attributes surroundings sampling scene preview
metrics
selection video
pipeline
loading editor runs
bulk
evaluation
attacks training demo
cli
__main__
"""
RANKS = {name: rank for rank, line in enumerate(LAYERS.split("\n")) for name in line.split()}
MOST_MODULES, MOST_LINES = 30, 80
SOURCES = sorted({*PACKAGE.rglob("*.py")} - {*(PACKAGE / "checkpoints").rglob("*.py"), PACKAGE / "__init__.py"})


def unit(path: Path) -> str:
    """The folder, or the module at the root."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Folders and modules of the package that a file imports when it runs, wherever in it."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = set()
    parents = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = parents[: len(parents) - node.level + 1]
            rest = node.module.split(".") if node.module else []
            names = [rest[0]] if rest else [alias.name for alias in node.names]
            found |= {start[0]} if start else set(names)
    return found & RANKS.keys() - {unit(path)}


def test_every_module_has_a_layer():
    assert {unit(path) for path in SOURCES} == set(RANKS)
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_MODULES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    upwards = [name for name in imports(path) if RANKS[name] >= RANKS[unit(path)]]
    assert not upwards, f"{path.name} imports {', '.join(upwards)}, which stand on it"


def test_functions_fit_on_a_screen():
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                long += [f"{path.name}: {node.name}, {lines} lines"] * (lines > MOST_LINES)
    assert not long


def test_no_test_imports_another_or_a_benchmark():
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in {"tests", "benchmarks"}, path
                assert not (node.module or "").split(".")[-1].startswith("test_"), path
