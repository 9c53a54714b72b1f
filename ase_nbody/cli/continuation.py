"""Commands that go on where this one ended, ready to paste."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer


def command_with(context: typer.Context, **changes: Any) -> str:
    """The command line of this command with other values.

    Args:
        context: the command, with the values it was given.
        **changes: values by name of the parameter; None leaves a parameter out.
    """
    words = ["nbody", str(context.info_name)]
    for kind in ("argument", "option"):
        for parameter in context.command.params:
            if parameter.param_type_name != kind:
                continue
            if parameter.name in changes:
                value = changes[parameter.name]
            elif _was_given(context, str(parameter.name)):
                value = context.params[str(parameter.name)]
            else:
                continue
            words += _words(parameter, value)
    return shlex.join(words)


def next_output(output: Path) -> Path:
    """A name for the output of the next command, OUTPUT-2 after OUTPUT, of no file that is there."""
    stem = re.sub(r"-\d+$", "", output.stem)
    count = 2
    while (path := output.with_name(f"{stem}-{count}{output.suffix}")).exists() or path == output:
        count += 1
    return path


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _words(parameter: Any, value: Any) -> Iterator[str]:
    if value is None:
        return
    if parameter.param_type_name == "argument":
        yield str(value)
    elif isinstance(value, bool):
        yield from (parameter.opts if value else parameter.secondary_opts)[:1]
    else:
        yield parameter.opts[0]
        for part in value if isinstance(value, tuple | list) else [value]:
            yield str(part.value if isinstance(part, Enum) else part)
