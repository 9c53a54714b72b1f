"""Commands and options that messages name are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from ase_nbody.cli import app

PACKAGE = Path(__file__).parent.parent / "ase_nbody"
FOREIGN = {"--name", "--no-deps"}  # stands for any option; of pip


def strings(source: str) -> list[str]:
    """String constants, the parts of one f-string put together with a gap for each value."""
    tree = ast.parse(source)
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(value) for node in joined for value in node.values}
    whole = ["".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values) for node in joined]
    plain = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return whole + [node.value for node in plain if id(node) not in inside]


def commands() -> dict[str, set[str]]:
    group = typer.main.get_command(app)
    options = {name: options_of(command) for name, command in group.commands.items()}
    return {**options, "": options_of(group) | {"--help"}}


def options_of(command: Any) -> set[str]:
    return {word for p in command.params for word in (*p.opts, *p.secondary_opts) if word.startswith("--")}


def hints(text: str) -> tuple[set[str], set[str]]:
    """Commands and options that a text names."""
    named = set(re.findall(r"\bnbody ([a-z][a-z-]+)(?= -|[`,;:.)\'\"]|$| [A-Z]| --)", text))
    return named, set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_command_and_option_named_is_there(path):
    known = commands()
    every = set().union(*known.values()) | FOREIGN
    for text in strings(path.read_text()):
        named, options = hints(text)
        assert named <= known.keys(), text
        assert options <= every, text


def test_hints_are_seen():
    assert hints("train it: nbody adapt MODEL --dta X, or `nbody models`") == ({"adapt", "models"}, {"--dta"})
    assert hints("no such model; nbody models lists them") == (set(), set())
    assert strings('f"see nbody info {x} --verbose"') == ["see nbody info {} --verbose"]
