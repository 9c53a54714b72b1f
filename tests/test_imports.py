"""Modules do not import each other in circles, not even for types, and no two classes have one name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ase_nbody"


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_of(path): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
del SOURCES["ase_nbody"]  # it loads its modules on first use; they need its version


def imported(source: str, modules: Mapping[str, str]) -> set[str]:
    """Modules that a source file imports, inside functions and for types too.

    A name of a package that is a module of it counts as that module, not as the package.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & modules.keys()
            if not names <= modules.keys():
                found.add(node.module)
    return found & modules.keys()


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each imports the next and the last the first; none if there is no circle."""
    done: set[str] = set()
    trail: list[str] = []

    def follow(module: str) -> list[str]:
        if module in trail:
            return trail[trail.index(module) :]
        if module in done:
            return []
        trail.append(module)
        for other in sorted(graph[module]):
            if around := follow(other):
                return around
        done.add(trail.pop())
        return []

    for module in graph:
        if around := follow(module):
            return around
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({module: imported(source, SOURCES) - {module} for module, source in SOURCES.items()}) == []


def test_no_folders_import_each_other_in_a_circle() -> None:
    """Parts of the package: its folders, and the modules beside them."""
    parts: dict[str, set[str]] = defaultdict(set)
    for module, source in SOURCES.items():
        part = module.split(".")[1]
        parts[part] |= {other.split(".")[1] for other in imported(source, SOURCES)} - {part}
    assert circle(parts) == []


def test_circles_are_seen_in_functions_and_for_types() -> None:
    sources = {
        "p": "",
        "p.a": "from p import b",
        "p.b": "def f():\n    from p.c import g",
        "p.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.a",
        "p.d": "from p.a import x",
    }
    graph = {module: imported(source, sources) for module, source in sources.items()}
    assert circle(graph) == ["p.a", "p.b", "p.c"]
    assert circle(graph | {"p.c": set()}) == []


def test_no_two_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for module, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}
