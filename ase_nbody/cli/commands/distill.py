"""`nbody distill`: a small network for one system, from a teacher that is slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ase_nbody.cli.options import CalculatorOption, Device, ForceAfresh, ModelOutput, Processes, Threads


@dataclass(frozen=True, kw_only=True)
class DistillOptions:
    """What `nbody distill` is told; None where it is not."""

    structure: Annotated[
        str,
        typer.Argument(
            help="File of any ASE format with one structure, a molecule or crystal known to ASE, such as NaCl.cif or "
            "Si, or smiles:CCO.",
            show_default=False,
        ),
    ]
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            help="A shipped model or a model file, or as nbody label --with: tblite:GFN2-xTB, ase:EMT, MODULE:FACTORY.",
            show_default=False,
        ),
    ]
    output: ModelOutput
    temperature: Annotated[
        list[float] | None,
        typer.Option(help="Of all dynamics, K; repeatable.", show_default="300"),
    ] = None
    minutes: Annotated[float, typer.Option(help="Budget on the wall clock for everything, minutes.")] = 30.0
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the data in each round, in place of --minutes.", show_default=False),
    ] = None
    structures: Annotated[
        int,
        typer.Option(min=20, help="Structures that the student learns, at most; a quarter is the teacher's sample."),
    ] = 1000
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of training and checking, at most.")] = 4
    picoseconds: Annotated[
        float, typer.Option(help="The student's own dynamics in each round and at each temperature, ps.")
    ] = 5.0
    supercell_atoms: Annotated[int, typer.Option(min=1, help="Supercells of crystals have at most so many atoms.")] = 64
    preset: Annotated[str, typer.Option(help="Size of the student: small, medium or large.")] = "small"
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="NAME=VALUE of the student's architecture, such as levels=1; repeatable.", show_default=False
        ),
    ] = None
    option: CalculatorOption = None
    seed: Annotated[int, typer.Option(min=0, help="Seed of all numbers.")] = 0
    device: Annotated[Device, typer.Option(help="Of student and teacher, where that is a model.")] = Device.AUTO
    threads: Threads = None
    processes: Processes = None
    accept_worse: Annotated[
        bool, typer.Option("--accept-worse", help="Write the student also where it is too far from its teacher.")
    ] = False
    force: ForceAfresh = False


def distill(options: DistillOptions) -> None:
    """Make a small network for one STRUCTURE of a TEACHER that is slower.

    The student learns what the teacher's dynamics, displacements and strains show, runs dynamics by itself, is
    compared with the teacher there, and learns next the structures on which it is furthest off, until its error no
    longer falls or the minutes are spent. Labels and students of all rounds stand in STEM.distill; a run that was
    interrupted goes on with the same command. Nothing is written where forces are off by more than 15 % of their mean
    size, or where the student's dynamics explodes.
    """
    try:
        from ase_nbody.cli.runs.distill_run import run_distill
    except ModuleNotFoundError as error:
        raise ValueError(f"distillation needs the package {error.name}: pip install 'ase_nbody[train]'") from error
    run_distill(vars(options))
