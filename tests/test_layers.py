"""Imports go down only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ase_nbody"
LAYERS = (
    {"algebra", "edges", "math", "thread_count", "timings", "structures", "pairs", "devices", "files", "stopping"},
    {"compiler", "cuda"},
    {"kernels"},
    {"contacts", "graph", "neighbours", "neighbour_cache", "predictions", "repulsion"},
    {"scheme", "nn", "steps"},
    {"architectures"},
    {"terms"},
    {"model_records", "model_information", "known_surroundings", "readout_posterior"},
    {"potential", "levels", "model_knowledge", "models_directory", "model_file", "model_terms"},
    {"onsets", "hessian", "descriptors", "states", "results", "uncertainties", "surroundings"},
    {"data", "training", "envelope", "envelope_check", "dispersion", "calibration"},
    {"meta"},
    {"calculator_inputs", "model_calculator", "analysis_calculator", "evaluator", "excursions"},
    {"calculator", "dispersion_calculator", "importers"},
    {"simulation"},
    {"labelling"},
    {"distillation"},
    {"cli"},
)
COMMAND_LINE = (
    {"card", "card_errors", "continuation", "endings", "inputs", "option_groups", "options", "outcome", "output"},
    {"runs"},
    {"commands"},
    {"__init__"},
)
COMMAND_FILES = sorted((PACKAGE / "cli").rglob("*.py"))
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported_modules(source: str) -> set[str]:
    """Modules, and names of modules, that a source file imports, inside functions too."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.ImportFrom) and node.level > 0:
            raise AssertionError(f"line {node.lineno}: relative import")
    return modules


def imported_parts(source: str) -> set[str]:
    """Parts of the package, such as "nn", that a source file imports."""
    return {m.split(".")[1] for m in imported_modules(source) if m.startswith("ase_nbody.")} & LEVELS.keys()


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_part_has_a_layer():
    parts = {part_of(p) for p in PACKAGE.rglob("*.py")} - {"__init__"}
    assert parts <= LEVELS.keys()


@pytest.mark.parametrize("part", sorted(LEVELS))
def test_imports_go_down(part):
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in PACKAGE.rglob("*.py")
        if part_of(path) == part
        for other in imported_parts(path.read_text())
        if LEVELS[other] > LEVELS[part]
    ]
    assert not wrong


def test_within_the_command_line_imports_go_down_too():
    levels = {name: level for level, names in enumerate(COMMAND_LINE) for name in names}
    sources = {path: path.relative_to(PACKAGE / "cli").parts[0].removesuffix(".py") for path in COMMAND_FILES}
    assert set(sources.values()) == levels.keys()
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path, part in sources.items()
        for module in imported_modules(path.read_text())
        if module.startswith("ase_nbody.cli.") and levels.get(module.split(".")[2], levels[part]) > levels[part]
    ]
    assert not wrong


def test_the_check_sees_imports_in_functions():
    assert imported_parts("def f():\n    from ase_nbody.cli import app") == {"cli"}
    assert imported_parts("import ase_nbody.nn.gates\nfrom ase_nbody import potential, list_models") == {
        "nn",
        "potential",
    }
