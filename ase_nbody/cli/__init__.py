"""The command line `nbody`: commands, what they do (runs), and what these share; torch and ASE load when one runs."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any, TextIO

import typer

from ase_nbody.cli.commands.adapt import adapt
from ase_nbody.cli.commands.bench import bench
from ase_nbody.cli.commands.calibrate import calibrate
from ase_nbody.cli.commands.check import check
from ase_nbody.cli.commands.distill import distill
from ase_nbody.cli.commands.evaluate import evaluate
from ase_nbody.cli.commands.import_ import import_model
from ase_nbody.cli.commands.info import info
from ase_nbody.cli.commands.label import label
from ase_nbody.cli.commands.md import md
from ase_nbody.cli.commands.meta_train import meta_train
from ase_nbody.cli.commands.models import models
from ase_nbody.cli.commands.neb import neb
from ase_nbody.cli.commands.relax import relax
from ase_nbody.cli.commands.sample import sample
from ase_nbody.cli.commands.train import train
from ase_nbody.cli.option_groups import with_single_options

__all__ = ["app", "main"]

app = typer.Typer(
    name="nbody",
    help="N-body networks for atomistic simulation. Energies in eV, lengths in angstrom, times in fs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_COMMANDS = (
    *(models, info, sample, label, train, meta_train, adapt, distill, calibrate, evaluate, check),
    *(md, relax, neb, bench),
)
for _command in _COMMANDS:
    app.command()(with_single_options(_command))
app.command("import")(with_single_options(import_model))


def _print_version(wanted: bool) -> None:
    if wanted:
        from ase_nbody import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _general(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line; errors go to stderr as one paragraph, with exit status 1."""
    arguments = sys.argv[1:]
    warnings.showwarning = _show_warning
    try:
        app(args=[a for a in arguments if a != "--debug"], prog_name="nbody")
    except Exception as error:
        if "--debug" in arguments:
            raise
        print(error_message(error), file=sys.stderr)
        sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings in one line, without the line of code that they came from; others as Python shows them."""
    if category.__module__.startswith("ase_nbody"):
        print(f"Warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=sys.stderr)


def error_message(error: Exception) -> str:
    """One paragraph on an error; the type is named where the message was not written for users."""
    text = " ".join((_settings_problems(error) or str(error)).split())
    from_ase = type(error).__module__.startswith("ase.calculators")
    if text and (from_ase or isinstance(error, ValueError | OSError)):
        return f"Error: {text}"
    return f"Error: {type(error).__name__}: {text} (nbody --debug ... shows where)"


def _settings_problems(error: Exception) -> str | None:
    """What is wrong with settings, without pydantic's own words around it; None for other errors."""
    if not type(error).__module__.startswith("pydantic"):
        return None
    problems: Any = error
    errors = problems.errors()
    inner = {one["loc"][:-1] for one in errors if one["loc"]}  # lists that are too short without their wrong items
    return "; ".join(_settings_problem(one) for one in errors if not one["loc"] or one["loc"] not in inner)


def _settings_problem(one: dict[str, Any]) -> str:
    words: str = one["msg"].removeprefix("Value error, ")
    if not one["loc"]:  # of several settings together
        return words
    return f"{'.'.join(map(str, one['loc']))}: {words}, got {one['input']!r}"
