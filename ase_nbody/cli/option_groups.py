"""Commands that are given their options in groups: typer takes each option as a parameter of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any


def with_single_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, from one whose options are in groups.

    Args:
        command: each of its parameters is one of typer's, or a group: a dataclass, whose fields are.

    Returns:
        A function with the fields of each group in its place, of the same name and words.

    Raises:
        ValueError: two options have one name.
    """
    parameters = signature(command, eval_str=True).parameters.values()
    groups = {p.name: _fields(p.annotation) for p in parameters if is_dataclass(p.annotation)}
    kinds = {p.name: p.annotation for p in parameters if p.name in groups}

    @wraps(command)
    def command_of_single_options(**values: Any) -> None:
        grouped = {
            name: kinds[name](**{field.name: values.pop(field.name) for field in fields})
            for name, fields in groups.items()
        }
        command(**values, **grouped)

    single = [one for p in parameters for one in groups.get(p.name, [p])]
    # Options are given by name: as keywords they may stand in any order, with and without a default.
    keywords = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in single]
    command_of_single_options.__signature__ = Signature(keywords)  # type: ignore[attr-defined]
    return command_of_single_options


def _fields(group: Any) -> list[Parameter]:
    return list(signature(group, eval_str=True).parameters.values())
