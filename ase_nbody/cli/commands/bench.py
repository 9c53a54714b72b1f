"""`nbody bench`: how fast a model is on this machine, and how fast it could be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ase_nbody.cli.options import STRUCTURE_HELP, DeviceName, Dtype, DtypeOption, Force, ModelArgument, Threads

if TYPE_CHECKING:
    from ase import Atoms


def bench(
    model: ModelArgument,
    structure: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{STRUCTURE_HELP} May be repeated; if not given, a small and a larger structure of its elements.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.", show_default=False)] = None,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="Time for measuring, s; loading and compiling come on top.")
    ] = 25.0,
    device: DeviceName = "auto",
    dtype: DtypeOption = Dtype.FLOAT64,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Time a model on this machine: loading, molecular dynamics and its parts, many structures, the machine's floor."""
    from ase_nbody.cli.inputs import check_outputs
    from ase_nbody.cli.output import say, write_json
    from ase_nbody.cli.runs.bench_report import Options, measured_report
    from ase_nbody.cli.runs.bench_tables import print_report

    if json is not None:
        check_outputs([json], force)
    options = Options(model, device, dtype, threads, seconds)
    report = measured_report(options, _structures(model, structure or []))
    print_report(report)
    if json is not None:
        write_json(asdict(report), json)
        say(f"figures written to {json}")


def _structures(model: str, names: list[str]) -> dict[str, Atoms]:
    """The structures asked for, by name, or those that suit the model.

    Raises:
        ValueError: no such structure, or one that the model does not know the elements of.
    """
    from ase_nbody.cli.inputs import read_structure
    from ase_nbody.cli.runs.bench_structures import default_structures
    from ase_nbody.model_information import read_information
    from ase_nbody.models_directory import find_model
    from ase_nbody.structures import check_structure

    elements = read_information(find_model(model)).elements
    structures = {name: read_structure(name) for name in names} or default_structures(elements)
    for atoms in structures.values():
        check_structure(atoms, elements)
    return structures
