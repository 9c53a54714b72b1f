"""`nbody models`: the models that are there, one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def models(
    directory: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder to look in, besides the shipped models.")
    ] = Path("."),
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the shipped models with their errors, as a Markdown table.")
    ] = False,
) -> None:
    """List the shipped models and those in a folder."""
    from ase_nbody.cli.card import models_table
    from ase_nbody.cli.output import say
    from ase_nbody.model_information import SUFFIX
    from ase_nbody.models_directory import list_models, models_directory

    if markdown:
        typer.echo(models_table({entry.name: entry.information for entry in list_models()}), nl=False)
        return
    shipped = sorted(models_directory().glob(f"*{SUFFIX}"))
    local = sorted(p for p in directory.glob(f"*{SUFFIX}") if p.resolve() not in {s.resolve() for s in shipped})
    for path in shipped:
        say(_line(path.stem, path))
    for path in local:
        say(_line(str(path), path))
    if not shipped and not local:
        say("no models are shipped with this installation or lie in this folder; train one: nbody train --help")


def _line(name: str, path: Path) -> str:
    from ase_nbody.model_information import ModelFileError, check_checksum, read_information

    try:
        information = read_information(path)
        check_checksum(path)
    except ModelFileError as error:
        return f"{name:20s}  not usable: {error}"
    elements = ",".join(information.elements)
    method = information.method or "method not given"
    purpose = "" if information.purpose is None else f"  for {information.purpose}"
    return f"{name:20s}  {information.architecture:10s}  {elements:15s}  {information.cutoff:g} Å  {method}{purpose}"
